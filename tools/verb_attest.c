/*
 * sealctl attest: a fresh attestation document of this machine, which shows a relying party which
 * model is answering. The provider compares the document with the request; the relying party
 * verifies AWS's signature.
 */
#include "attest/document.h"
#include "attest/pcr.h"
#include "attest/provider.h"
#include "crypto/base/encode.h"
#include "crypto/base/printable.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/serve/serve.h"
#include "tools/serve/serve_limits.h"
#include "tools/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
	OPTION_NONCE = CLI_LONG,
	OPTION_USER_DATA,
	OPTION_PUBLIC_KEY,
	OPTION_TCTI,
	OPTION_SERVE,
	OPTION_BIND_CERT,
	OPTION_EVENT_LOG,
	OPTION_MODEL_PCR,
	OPTION_REQUIRE,
	OPTION_RATE,
};

static const struct cli_option options[] = {
	{OPTION_NONCE, "nonce", "HEX", "the verifier's nonce, up to 1024 bytes"},
	{OPTION_USER_DATA, "user-data", "FILE", "up to 1024 bytes to be included"},
	{OPTION_PUBLIC_KEY, "public-key", "FILE", "a public key to be included, PEM or DER"},
	{'o', "out", "FILE", "where to write the document; default: standard output"},
	{OPTION_TCTI, "tcti", "TCTI", "which TPM; default: /dev/tpmrm0, /dev/tpm0"},
	{OPTION_SERVE, "serve", "PLACE", "answer verifiers on ADDR:PORT or unix:PATH"},
	{OPTION_BIND_CERT, "bind-cert", "PEM", "vouch for the TLS key of this certificate"},
	{OPTION_EVENT_LOG, "event-log", "FILE", "the mounts' measurement log, if not the default"},
	{OPTION_MODEL_PCR, "model-pcr", "N", "the PCR of the models; default: 15"},
	{OPTION_REQUIRE, "require", "POLICY", "answer only callers whose own evidence fits it"},
	{OPTION_RATE, "rate", "N", "answers in a minute, 1 to 600; default: 120"},
	{0},
};

struct field {
	uint8_t bytes[DOCUMENT_FIELD_MAX];
	size_t size;
};

struct settings {
	struct field nonce, user_data, public_key;
	const char *out;
	struct serve_options serve;
};

static int read_nonce(const char *hex, struct field *ret, struct error *err)
{
	size_t n = strlen(hex) / 2;

	if (n == 0 || n > sizeof(ret->bytes) || hex_decode(hex, ret->bytes, n) < 0)
		return error_set(err, -EINVAL, "--nonce is not 1 to %d bytes in hex",
				 DOCUMENT_FIELD_MAX);
	ret->size = n;
	return 0;
}

static int read_file(const char *path, uint8_t *buf, size_t max, size_t *ret, struct error *err)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	size_t n;

	if (!f)
		return error_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
	n = fread(buf, 1, max, f);
	if (ferror(f))
		return error_set(err, -EIO, "cannot read %s", path);
	if (n == 0 || fgetc(f) != EOF)
		return error_set(err, -EINVAL, "%s does not have 1 to %zu bytes", path, max);
	*ret = n;
	return 0;
}

/* PEM becomes DER; anything else is taken as it is. */
static int read_public_key(const char *path, struct field *ret, struct error *err)
{
	static const char begin[] = "-----BEGIN PUBLIC KEY-----",
			  end[] = "-----END PUBLIC KEY-----";
	char text[2 * DOCUMENT_FIELD_MAX + 1], *from, *to, *out;
	_cleanup_free_ uint8_t *der = NULL;
	size_t n = 0;
	int r = read_file(path, (uint8_t *)text, sizeof(text) - 1, &n, err);

	if (r < 0)
		return r;
	text[n] = '\0';
	from = memmem(text, n, begin, sizeof(begin) - 1);
	if (!from) {
		if (n > sizeof(ret->bytes))
			return error_set(err, -EINVAL, "%s has more than %d bytes", path,
					 DOCUMENT_FIELD_MAX);
		memcpy(ret->bytes, text, n);
		ret->size = n;
		return 0;
	}
	from += sizeof(begin) - 1;
	to = strstr(from, end);
	out = from;
	for (char *p = from; to && p < to; p++)
		if (!strchr(" \t\r\n", *p))
			*out++ = *p;
	*out = '\0';
	if (!to || base64_decode(from, sizeof(ret->bytes), &der, &ret->size) < 0)
		return error_set(err, -EINVAL, "%s is not a public key in PEM", path);
	memcpy(ret->bytes, der, ret->size);
	return 0;
}

static int write_out(const char *path, const uint8_t *bytes, size_t size, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	ssize_t n = fd < 0 ? -1 : write(fd, bytes, size);

	if (n == (ssize_t)size)
		return 0;
	return error_set(err, n < 0 ? -errno : -ENOSPC, "cannot write %s: %s", path,
			 strerror(n < 0 ? errno : ENOSPC));
}

static int read_number(const char *name, const char *text, unsigned min, unsigned max,
		       unsigned *ret, struct error *err)
{
	uint64_t n;

	if (number_parse(text, 10, max, &n) < 0 || n < min)
		return error_set(err, -EINVAL, "--%s is not a number from %u to %u", name, min,
				 max);
	*ret = (unsigned)n;
	return 0;
}

static int take_serve_option(struct settings *s, const struct cli *cli, int id, struct error *err)
{
	struct serve_site_options *site = &s->serve.site;

	switch (id) {
	case OPTION_SERVE:
		s->serve.place = cli->value;
		return 0;
	case OPTION_BIND_CERT:
		site->bind_cert = cli->value;
		return 0;
	case OPTION_REQUIRE:
		site->require = cli->value;
		return 0;
	case OPTION_EVENT_LOG:
		site->evidence.event_log = cli->value;
		return 0;
	case OPTION_MODEL_PCR:
		return read_number("model-pcr", cli->value, 0, 15, &site->evidence.pcr, err);
	default:
		return read_number("rate", cli->value, 1, SERVE_RATE_MAX, &site->rate_per_minute,
				   err);
	}
}

static int take_option(struct settings *s, const struct cli *cli, int id, struct error *err)
{
	if (id >= OPTION_SERVE)
		return take_serve_option(s, cli, id, err);
	switch (id) {
	case OPTION_NONCE:
		return read_nonce(cli->value, &s->nonce, err);
	case OPTION_USER_DATA:
		return read_file(cli->value, s->user_data.bytes, sizeof(s->user_data.bytes),
				 &s->user_data.size, err);
	case OPTION_PUBLIC_KEY:
		return read_public_key(cli->value, &s->public_key, err);
	case OPTION_TCTI:
		s->serve.site.evidence.tcti = cli->value;
		return 0;
	default:
		s->out = cli->value;
		return 0;
	}
}

static int report(const struct cli *cli, const struct settings *s, const uint8_t *bytes,
		  size_t size, struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *doc = NULL;
	char time[OUTPUT_TIME_SIZE];
	int r = document_parse(bytes, size, &doc, err);

	if (r < 0)
		return r;
	output_time_ms((int64_t)doc->timestamp_ms, time);
	if (cli->json)
		return output_json(json_pack("{s:o, s:i, s:o, s:s}", "document",
					     output_text(s->out), "size", (int)size, "module_id",
					     output_text(doc->module_id), "timestamp", time));
	if (!cli->quiet)
		print_safely(stdout, "%s  %zu bytes, %s\n", s->out, size, time);
	return 0;
}

/* One document, to a file. */
static int attest_once(struct cli *cli, const struct settings *s, struct error *err)
{
	struct attest_request req = {
		.user_data = s->user_data.size ? s->user_data.bytes : NULL,
		.user_data_size = s->user_data.size,
		.nonce = s->nonce.size ? s->nonce.bytes : NULL,
		.nonce_size = s->nonce.size,
		.public_key = s->public_key.size ? s->public_key.bytes : NULL,
		.public_key_size = s->public_key.size,
	};
	_cleanup_(attest_provider_freep) struct attest_provider *provider = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int r = 0;

	if (!s->out && (cli->json || isatty(STDOUT_FILENO)))
		r = cli_usage_error(cli, err, "the document is binary: name a file with --out");
	if (r == 0)
		r = interrupt_setup();
	if (r == 0)
		r = attest_provider_new(s->serve.site.evidence.tcti, &provider, err);
	if (r == 0)
		r = attest_document(provider, &req, &bytes, &size, err);
	if (r < 0)
		return r;
	if (!s->out)
		return fwrite(bytes, 1, size, stdout) == size ? 0 : -EIO;
	r = write_out(s->out, bytes, size, err);
	return r < 0 ? r : report(cli, s, bytes, size, err);
}

static int run(struct cli *cli, struct error *err)
{
	struct settings s = {.serve.site = {.cli = cli,
					    .evidence.pcr = PCR_DEFAULT,
					    .rate_per_minute = SERVE_RATE_DEFAULT}};
	bool for_once = false, for_serve = false;
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0) {
		for_serve |= id > OPTION_SERVE;
		for_once |= id > 0 && id < OPTION_SERVE && id != OPTION_TCTI;
		r = id < 0 ? id : take_option(&s, cli, id, err);
	}
	if (r == 0 && cli_operands(cli) > 0)
		r = cli_usage_error(cli, err, "\"%s\" is not expected", cli_operand(cli, 0));
	if (r == 0 && s.serve.place ? for_once || cli->json : for_serve)
		r = cli_usage_error(cli, err,
				    "with --serve callers say what they want; and without it there "
				    "is nothing to say about them");
	if (r < 0)
		return r;
	return s.serve.place ? serve_run(&s.serve, err) : attest_once(cli, &s, err);
}

const struct verb verb_attest = {
	.name = "attest",
	.summary = "a fresh attestation document of this machine",
	.usage = "[OPTIONS] -o FILE\n--serve ADDR:PORT|unix:PATH [OPTIONS]",
	.help = "Requests an attestation document with the verifier's nonce from this machine's NitroTPM,\n"
		"compares it with the request, and writes it. The verifier checks the signature and reads\n"
		"the PCRs; inspect shows them.\n"
		"\n"
		"With --serve, answers verifiers over HTTP until it is stopped, each with a fresh\n"
		"document for its nonce, the measurement logs and the public parts of the seals of\n"
		"what is mounted: all that sealctl verify --from asks for.",
	.options = options,
	.own_signals = true,
	.run = run,
};
