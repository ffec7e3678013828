/*
 * The arithmetic of measuring, without a TPM: which digest a mode extends into which bank, and what
 * a PCR is afterwards. Specification: PCRS.md. Trusts the digests it is given. Must never depend
 * on anything but its arguments: owners predict with it what machines will attest.
 */
#include "attest/pcr.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <string.h>

static const char *const mode_names[] = {
	[MEASURE_VERITY] = "verity",	 [MEASURE_SHA384] = "sha384", [MEASURE_SHA256] = "sha256",
	[MEASURE_DECLARED] = "declared", [MEASURE_NONE] = "none",
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

int measure_text(enum measure_mode mode, const struct model_digests *digests,
		 char out[MEASURE_TEXT_MAX])
{
	char hex[2 * sizeof(digests->sha384) + 1];
	const char *prefix;

	switch (mode) {
	case MEASURE_VERITY:
		prefix = "sealedfs:verity:sha256:";
		hex_encode(digests->verity, sizeof(digests->verity), hex);
		break;
	case MEASURE_SHA384:
	case MEASURE_DECLARED:
		prefix = "sealedfs:sha384:";
		hex_encode(digests->sha384, sizeof(digests->sha384), hex);
		break;
	case MEASURE_SHA256:
		prefix = "sealedfs:sha256:";
		hex_encode(digests->sha256, sizeof(digests->sha256), hex);
		break;
	default:
		return -EINVAL;
	}
	(void)snprintf(out, MEASURE_TEXT_MAX, "%s%s", prefix, hex);
	return 0;
}

int measure_bank_digest(enum measure_mode mode, const struct model_digests *digests,
			enum digest_alg bank, uint8_t *out)
{
	bool whole = mode == MEASURE_SHA384 || mode == MEASURE_DECLARED;
	char text[MEASURE_TEXT_MAX];
	int e = measure_text(mode, digests, text);

	if (e < 0)
		return e;
	if (digest_size(bank) == 0)
		return -EINVAL;
	if (bank == DIGEST_SHA384 && whole) {
		memcpy(out, digests->sha384, sizeof(digests->sha384));
		return 0;
	}
	if (bank == DIGEST_SHA256 && (whole || mode == MEASURE_SHA256)) {
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
