/*
 * sealctl attest: a fresh attestation document of this machine, for someone who asks which model is
 * answering. The provider compares the document with the request; AWS's signature on it is for the
 * asker to verify.
 */
#include "attest/document.h"
#include "attest/provider.h"
#include "crypto/base/encode.h"
#include "tools/output.h"
#include "tools/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTION_NONCE = CLI_LONG, OPTION_USER_DATA, OPTION_PUBLIC_KEY, OPTION_TCTI };

static const struct cli_option options[] = {
	{OPTION_NONCE, "nonce", "HEX", "the asker's nonce, up to 1024 bytes"},
	{OPTION_USER_DATA, "user-data", "FILE", "up to 1024 bytes to be included"},
	{OPTION_PUBLIC_KEY, "public-key", "FILE", "a public key to be included, PEM or DER"},
	{'o', "out", "FILE", "where to write the document; default: standard output"},
	{OPTION_TCTI, "tcti", "TCTI", "which TPM; default: /dev/tpmrm0, /dev/tpm0"},
	{0},
};

struct field {
	uint8_t bytes[ATTEST_FIELD_MAX];
	size_t size;
};

struct settings {
	struct field nonce, user_data, public_key;
	const char *out, *tcti;
};

static int read_nonce(const char *hex, struct field *ret, struct error *err)
{
	size_t n = strlen(hex) / 2;

	if (n == 0 || n > sizeof(ret->bytes) || hex_decode(hex, ret->bytes, n) < 0)
		return error_set(err, -EINVAL, "--nonce is not 1 to %d bytes in hex",
				 ATTEST_FIELD_MAX);
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
	char text[2 * ATTEST_FIELD_MAX + 1], *from, *to, *out;
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
					 ATTEST_FIELD_MAX);
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

static int take_option(struct settings *s, const struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case OPTION_NONCE:
		return read_nonce(cli->value, &s->nonce, err);
	case OPTION_USER_DATA:
		return read_file(cli->value, s->user_data.bytes, sizeof(s->user_data.bytes),
				 &s->user_data.size, err);
	case OPTION_PUBLIC_KEY:
		return read_public_key(cli->value, &s->public_key, err);
	case OPTION_TCTI:
		s->tcti = cli->value;
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
		printf("%s  %zu bytes, %s\n", s->out, size, time);
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	struct settings s = {0};
	struct attest_request req;
	_cleanup_(attest_provider_freep) struct attest_provider *provider = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, cli, id, err);
	if (r == 0 && cli_operands(cli) > 0)
		r = cli_usage_error(cli, err, "\"%s\" is not expected", cli_operand(cli, 0));
	if (r == 0 && !s.out && (cli->json || isatty(STDOUT_FILENO)))
		r = cli_usage_error(cli, err, "the document is binary: say where to with --out");
	if (r == 0)
		r = attest_provider_new("nitrotpm", s.tcti, &provider, err);
	if (r < 0)
		return r;
	req = (struct attest_request){
		.user_data = s.user_data.size ? s.user_data.bytes : NULL,
		.user_data_size = s.user_data.size,
		.nonce = s.nonce.size ? s.nonce.bytes : NULL,
		.nonce_size = s.nonce.size,
		.public_key = s.public_key.size ? s.public_key.bytes : NULL,
		.public_key_size = s.public_key.size,
	};
	r = attest_document(provider, &req, &bytes, &size, err);
	if (r < 0)
		return r;
	if (!s.out)
		return fwrite(bytes, 1, size, stdout) == size ? 0 : -EIO;
	r = write_out(s.out, bytes, size, err);
	return r < 0 ? r : report(cli, &s, bytes, size, err);
}

const struct verb verb_attest = {
	.name = "attest",
	.summary = "a fresh attestation document of this machine",
	.usage = "[OPTIONS] -o FILE",
	.help = "Asks this machine's NitroTPM for an attestation document with the asker's nonce,\n"
		"compares what came back with what was asked, and writes it. The asker verifies the\n"
		"signature and reads the PCRs; inspect shows them.",
	.options = options,
	.run = run,
};
