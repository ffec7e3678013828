/*
 * sealctl inspect: every field of a seal or an attestation document. Needs no key and verifies
 * nothing; check and KMS do that.
 */
#include "attest/document.h"
#include "tools/describe.h"
#include "tools/describe_document.h"
#include "tools/target.h"
#include "tools/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Header and slots of a seal, or a whole document. */
#define HEAD_MAX (SEAL_HEAD_MAX + DOCUMENT_SIZE_MAX)

struct head {
	uint8_t bytes[HEAD_MAX];
	size_t size;
	uint64_t object_size;
};

static int read_file(const char *path, struct head *ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st = {0};
	ssize_t n = -1;
	int code;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			return error_set(err, -EINVAL, "%s is not a file", path);
		n = pread(fd, ret->bytes, sizeof(ret->bytes), 0);
	}
	code = -errno;
	if (n < 0)
		return error_set(err, code, "cannot read %s: %s", path, strerror(-code));
	ret->size = (size_t)n;
	ret->object_size = (uint64_t)MAX(st.st_size, (off_t)n);
	return 0;
}

static int read_s3(struct cli *cli, const char *operand, struct head *ret, struct error *err)
{
	_cleanup_target_ struct target t = {0};
	struct source_object o = {0};
	int r = target_open_object(cli, operand, &t, err);

	if (r == 0)
		r = source_stat(t.source, t.name, &o, err);
	if (r < 0)
		return r;
	ret->object_size = o.size;
	ret->size = (size_t)MIN(o.size, (uint64_t)sizeof(ret->bytes));
	r = source_read(t.source, t.name, o.version, 0, ret->size, ret->bytes, err);
	source_object_clear(&o);
	return r;
}

static int show(const struct cli *cli, const char *label, const struct head *head, json_t **objects,
		struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *doc = NULL;
	_cleanup_seal_ struct seal *seal = NULL;
	json_t *value = NULL;
	int r;

	/* A COSE_Sign1 is an array of four, tagged or not; a seal starts with its magic. */
	if (head->size >= sizeof(SEAL_MAGIC) - 1 &&
	    memcmp(head->bytes, SEAL_MAGIC, sizeof(SEAL_MAGIC) - 1) == 0) {
		r = seal_parse_head(label, head->bytes, head->size, head->object_size, &seal, err);
		if (r == 0 && cli->json)
			value = describe_seal_json(seal, label, head->object_size);
		else if (r == 0)
			describe_seal(seal, label, head->object_size);
	} else if (head->size > 0 && (head->bytes[0] == 0x84 || head->bytes[0] == 0xD2)) {
		r = document_parse(head->bytes, head->size, &doc, err);
		if (r == 0 && cli->json)
			value = describe_document_json(doc, label, head->size);
		else if (r == 0)
			describe_document(doc, label, head->size);
	} else {
		return error_set(err, -EPROTO, "%s is neither a seal nor an attestation document",
				 label);
	}
	if (r < 0)
		return error_prefix(err, r, "%s", label);
	if (cli->json)
		output_append(objects, value);
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	json_t *objects = NULL;
	int r = cli_next(cli, err);

	if (r < 0)
		return r;
	if (cli_operands(cli) == 0)
		return cli_usage_error(cli, err, "give a seal or an attestation document");
	objects = json_array();
	for (int i = 0; r == 0 && i < cli_operands(cli); i++) {
		const char *operand = cli_operand(cli, i);
		struct head head = {.size = 0};

		r = source_spec_is_s3(operand) ? read_s3(cli, operand, &head, err)
					       : read_file(operand, &head, err);
		if (r == 0)
			r = show(cli, operand, &head, &objects, err);
	}
	if (r == 0 && cli->json)
		return output_json(json_pack("{s:o}", "objects", objects));
	json_decref(objects);
	return r;
}

const struct verb verb_inspect = {
	.name = "inspect",
	.summary = "show every field of a seal or an attestation document",
	.usage = "[OPTIONS] FILE|s3://bucket/key…",
	.help = "Shows what a seal (NAME.seal) or an attestation document says: names, lengths,\n"
		"digests, signer and recipients, or module, time, PCRs, certificates and the nonce.\n"
		"No key is needed. Nothing is verified: check does that for a seal.",
	.uses_aws = true,
	.run = run,
};
