/*
 * A command line on attest/ for tests/cases/attest_documents.py, attest_pcrs.py, tpm_bus.py and
 * tpm_slot_bus.py: measures, reads PCRs, asks for documents and unseals on the TPM that
 * $SEALEDFS_TCTI names. Prints "ok …" or "error NUMBER MESSAGE | HINT".
 */
#include "attest/pcr.h"
#include "attest/provider.h"
#include "attest/tpm_unseal.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/key_io.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static int fail(const struct error *err, int code)
{
	printf("error %d %s | %s\n", -code, error_text(err, code), err->hint);
	return error_exit_code(code);
}

/* measure LOG PCR MODE NAME VERITY SHA256 SHA384 [foreign] [systemd=LOG] [start=TEXT] */
static int verb_measure(int argc, char **argv)
{
	struct measure_options options = {.log_path = *argv[0] ? argv[0] : NULL};
	struct measure_event event = {.name = argv[3]};
	struct error err = {0};
	int e;

	options.pcr = (unsigned)strtoul(argv[1], NULL, 10);
	if (measure_mode_parse(argv[2], &event.mode) < 0 ||
	    hex_decode(argv[4], event.digests.verity, 32) < 0 ||
	    hex_decode(argv[5], event.digests.sha256, 32) < 0 ||
	    hex_decode(argv[6], event.digests.sha384, 48) < 0)
		return EXIT_CODE_USAGE;
	for (int n = 7; n < argc; n++) {
		if (strcmp(argv[n], "foreign") == 0)
			options.allow_foreign = true;
		else if (strncmp(argv[n], "systemd=", 8) == 0)
			options.systemd_log_path = argv[n] + 8;
		else if (strncmp(argv[n], "start=", 6) == 0)
			options.start = argv[n] + 6;
		else
			return EXIT_CODE_USAGE;
	}
	e = measure_models(&options, &event, 1, &err);
	if (e < 0)
		return fail(&err, e);
	printf("ok %s\n", event.extended ? "extended" : "already");
	return 0;
}

/* digests MODE VERITY SHA256 SHA384: what each bank is extended with, and its PCR from zero */
static int verb_digests(int argc, char **argv)
{
	static const enum digest_alg banks[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384,
						DIGEST_SHA512};
	struct model_digests digests;
	enum measure_mode mode;

	if (argc != 4 || measure_mode_parse(argv[0], &mode) < 0 ||
	    hex_decode(argv[1], digests.verity, 32) < 0 ||
	    hex_decode(argv[2], digests.sha256, 32) < 0 ||
	    hex_decode(argv[3], digests.sha384, 48) < 0)
		return EXIT_CODE_USAGE;
	for (size_t n = 0; n < ARRAY_LEN(banks); n++) {
		uint8_t digest[DIGEST_SIZE_MAX], pcr[DIGEST_SIZE_MAX] = {0};
		char a[2 * DIGEST_SIZE_MAX + 1], b[2 * DIGEST_SIZE_MAX + 1];

		if (measure_bank_digest(mode, &digests, banks[n], digest) < 0 ||
		    pcr_extend_value(banks[n], pcr, digest) < 0)
			return EXIT_CODE_FAILURE;
		hex_encode(digest, digest_size(banks[n]), a);
		hex_encode(pcr, digest_size(banks[n]), b);
		printf("%s %s %s\n", digest_name(banks[n]), a, b);
	}
	return 0;
}

/* pcr NUMBER */
static int verb_pcr(int argc, char **argv)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	struct pcr_values v;
	struct error err = {0};
	int e = tpm_open(NULL, &t, &err);

	if (e == 0)
		e = pcr_read(t, (unsigned)strtoul(argv[0], NULL, 10), &v, &err);
	if (e < 0)
		return fail(&err, e);
	for (size_t n = 0; n < v.bank_count; n++) {
		char hex[2 * DIGEST_SIZE_MAX + 1];

		hex_encode(v.banks[n].value, digest_size(v.banks[n].alg), hex);
		printf("%s %s\n", digest_name(v.banks[n].alg), hex);
	}
	return 0;
}

/* Hexadecimal of any length; "-": absent. */
static int take_field(const char *text, const uint8_t **ret, size_t *ret_size)
{
	size_t size = strlen(text) / 2;
	uint8_t *bytes;

	if (strcmp(text, "-") == 0)
		return 0;
	bytes = malloc(size + 1);
	if (!bytes || hex_decode(text, bytes, size) < 0) {
		free(bytes);
		return -EINVAL;
	}
	*ret = bytes;
	*ret_size = size;
	return 0;
}

/* document USER_DATA NONCE PUBLIC_KEY */
static int verb_document(int argc, char **argv)
{
	_cleanup_(attest_provider_freep) struct attest_provider *p = NULL;
	_cleanup_free_ uint8_t *document = NULL;
	_cleanup_free_ char *hex = NULL;
	struct attest_request req = {0};
	struct error err = {0};
	size_t size = 0;
	int e;

	if (take_field(argv[0], &req.user_data, &req.user_data_size) < 0 ||
	    take_field(argv[1], &req.nonce, &req.nonce_size) < 0 ||
	    take_field(argv[2], &req.public_key, &req.public_key_size) < 0)
		return EXIT_CODE_USAGE;
	e = attest_provider_new(NULL, &p, &err);
	if (e == 0)
		e = attest_document(p, &req, &document, &size, &err);
	free((void *)(uintptr_t)req.user_data);
	free((void *)(uintptr_t)req.nonce);
	free((void *)(uintptr_t)req.public_key);
	if (e < 0)
		return fail(&err, e);
	hex = malloc(2 * size + 1);
	if (!hex)
		return EXIT_CODE_FAILURE;
	hex_encode(document, size, hex);
	printf("ok %s\n", hex);
	return 0;
}

/* unseal SLOT [SIGNATURES]: SLOT is a file with a slot of a seal */
static int verb_unseal(int argc, char **argv)
{
	const struct tpm_unseal_options options = {.signatures = argc > 1 ? argv[1] : NULL};
	_cleanup_secret_ struct secret *file = NULL, *key = NULL;
	char hex[2 * SEAL_DATA_KEY_SIZE + 1];
	struct seal_slot slot;
	struct tpm_slot tpm;
	struct error err = {0};
	int e = key_io_read(argv[0], TRUST_UNCHANGED, &file, &err);

	if (e < 0 || secret_size(file) != SEAL_SLOT_SIZE || slot_load(secret_data(file), &slot))
		return EXIT_CODE_USAGE;
	e = slot_parse_tpm(&slot, &tpm, &err);
	if (e == 0)
		e = tpm_unseal(&options, &tpm, &key, &err);
	if (e < 0)
		return fail(&err, e);
	hex_encode(secret_data(key), SEAL_DATA_KEY_SIZE, hex);
	printf("ok %s\n", hex);
	return 0;
}

static int one_pcr(struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	struct pcr_values v;
	int e = tpm_open(NULL, &t, err);

	return e < 0 ? e : pcr_read(t, PCR_DEFAULT, &v, err);
}

static int one_document(struct error *err)
{
	_cleanup_(attest_provider_freep) struct attest_provider *p = NULL;
	_cleanup_free_ uint8_t *document = NULL;
	struct attest_request req = {0};
	size_t size;
	int e = attest_provider_new(NULL, &p, err);

	return e < 0 ? e : attest_document(p, &req, &document, &size, err);
}

/* rounds NUMBER pcr|document: the same again and again, in one process */
static int verb_rounds(int argc, char **argv)
{
	unsigned long rounds = strtoul(argv[0], NULL, 10);
	struct error err = {0};

	for (unsigned long n = 0; n < rounds; n++) {
		int e = strcmp(argv[1], "pcr") == 0 ? one_pcr(&err) : one_document(&err);

		if (e < 0)
			return fail(&err, e);
	}
	puts("ok done");
	return 0;
}

static const struct {
	const char *name;
	int argc;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"measure", 7, verb_measure},	{"digests", 4, verb_digests}, {"pcr", 1, verb_pcr},
	{"document", 3, verb_document}, {"rounds", 2, verb_rounds},   {"unseal", 1, verb_unseal},
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	log_setup("attest_tool", getenv("ATTEST_TOOL_DEBUG") ? LOG_DEBUG : LOG_NOTICE, false);
	for (size_t n = 0; argc > 1 && n < ARRAY_LEN(verbs); n++)
		if (strcmp(argv[1], verbs[n].name) == 0 && argc - 2 >= verbs[n].argc)
			return verbs[n].run(argc - 2, argv + 2);
	fprintf(stderr, "usage: attest_tool measure|digests|pcr|document|rounds|unseal …\n");
	return EXIT_CODE_USAGE;
}
