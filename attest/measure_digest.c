/*
 * The arithmetic of measuring, without a TPM: which digest a mode extends into which bank, and what
 * a PCR is afterwards. Specification: PCRS.md. Trusts the digests it is given. Must never depend on
 * anything but its arguments: owners predict with it what machines attest.
 */
#include "attest/pcr.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <string.h>

static const char *const mode_names[] = {
	[MEASURE_VERITY] = "verity",	 [MEASURE_SHA384] = "sha384", [MEASURE_SHA256] = "sha256",
	[MEASURE_DECLARED] = "declared", [MEASURE_SET] = "set",	      [MEASURE_NONE] = "none",
};

int measure_mode_parse(const char *text, enum measure_mode *ret)
{
	for (size_t n = 0; n < ARRAY_LEN(mode_names); n++) {
		if (strcmp(text, mode_names[n]) != 0)
			continue;
		*ret = (enum measure_mode)n;
		return 0;
	}
	return -EINVAL;
}

const char *measure_mode_name(enum measure_mode mode)
{
	return (size_t)mode < ARRAY_LEN(mode_names) ? mode_names[mode] : "unknown";
}

bool measure_mode_is_bare(enum measure_mode mode)
{
	return mode == MEASURE_SHA384 || mode == MEASURE_SHA256;
}

int measure_text(enum measure_mode mode, const struct model_digests *digests,
		 char out[MEASURE_TEXT_MAX])
{
	char verity[2 * sizeof(digests->verity) + 1];
	char sha256[2 * sizeof(digests->sha256) + 1];
	char sha384[2 * sizeof(digests->sha384) + 1];
	char set[2 * sizeof(digests->set) + 1];

	hex_encode(digests->verity, sizeof(digests->verity), verity);
	hex_encode(digests->sha256, sizeof(digests->sha256), sha256);
	hex_encode(digests->sha384, sizeof(digests->sha384), sha384);
	hex_encode(digests->set, sizeof(digests->set), set);
	switch (mode) {
	case MEASURE_VERITY:
		(void)snprintf(out, MEASURE_TEXT_MAX, MEASURE_TEXT_PREFIX "verity:sha256:%s",
			       verity);
		return 0;
	case MEASURE_SHA384:
		(void)snprintf(out, MEASURE_TEXT_MAX, MEASURE_TEXT_PREFIX "sha384:%s", sha384);
		return 0;
	case MEASURE_SHA256:
		(void)snprintf(out, MEASURE_TEXT_MAX, MEASURE_TEXT_PREFIX "sha256:%s", sha256);
		return 0;
	case MEASURE_DECLARED:
		(void)snprintf(out, MEASURE_TEXT_MAX,
			       MEASURE_TEXT_PREFIX "declared:sha256:%s,sha384:%s", sha256, sha384);
		return 0;
	case MEASURE_SET:
		(void)snprintf(out, MEASURE_TEXT_MAX, MEASURE_TEXT_PREFIX "set:sha256:%s", set);
		return 0;
	default:
		return -EINVAL;
	}
}

int measure_bank_digest(enum measure_mode mode, const struct model_digests *digests,
			enum digest_alg bank, uint8_t *out)
{
	char text[MEASURE_TEXT_MAX];
	int r = measure_text(mode, digests, text);

	if (r < 0)
		return r;
	if (digest_size(bank) == 0)
		return -EINVAL;
	if (bank == DIGEST_SHA384 && mode == MEASURE_SHA384) {
		memcpy(out, digests->sha384, sizeof(digests->sha384));
		return 0;
	}
	if (bank == DIGEST_SHA256 && measure_mode_is_bare(mode)) {
		memcpy(out, digests->sha256, sizeof(digests->sha256));
		return 0;
	}
	return digest_buffer(bank, text, strlen(text), out);
}

int pcr_extend_value(enum digest_alg bank, uint8_t *value, const uint8_t *digest)
{
	uint8_t joined[2 * DIGEST_SIZE_MAX];
	size_t size = digest_size(bank);

	if (size == 0)
		return -EINVAL;
	memcpy(joined, value, size);
	memcpy(joined + size, digest, size);
	return digest_buffer(bank, joined, 2 * size, value);
}
