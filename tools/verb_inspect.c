/*
 * sealctl inspect: every field of a seal or an attestation document. Needs no key and verifies
 * nothing; check and KMS do that.
 */
#include "attest/document.h"
#include "crypto/base/printable.h"
#include "crypto/base/secret.h"
#include "crypto/name.h"
#include "crypto/sign.h"
#include "crypto/slots.h"
#include "tools/common/target.h"
#include "tools/inspect/describe.h"
#include "tools/inspect/describe_document.h"
#include "tools/inspect/describe_set.h"
#include "tools/verbs.h"
#include "tools/verify/verify_input.h"

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
		return target_cannot_read(path, code, err);
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

enum key_kind { KEY_NONE, KEY_PUBLIC, KEY_PRIVATE, KEY_FILE };

static enum key_kind key_kind(const struct head *head)
{
	static const struct {
		const char *start;
		enum key_kind kind;
	} starts[] = {{"-----BEGIN PUBLIC KEY-----", KEY_PUBLIC},
		      {"-----BEGIN PRIVATE KEY-----", KEY_PRIVATE},
		      {"sealedfs-kek-v1:", KEY_FILE}};

	for (size_t i = 0; i < ARRAY_LEN(starts); i++)
		if (head->size > strlen(starts[i].start) &&
		    memcmp(head->bytes, starts[i].start, strlen(starts[i].start)) == 0)
			return starts[i].kind;
	return KEY_NONE;
}

static void show_key(const struct cli *cli, const char *label, const char *what, const char *name,
		     const uint8_t *id, size_t id_size, json_t **value)
{
	char safe[NAME_PRINTABLE_SIZE];

	if (cli->json) {
		if (!*value)
			*value = json_pack("{s:o, s:s, s:[]}", "file", output_text(label), "type",
					   what, "ids");
		(void)json_array_append_new(json_object_get(*value, "ids"),
					    output_hex_json(id, id_size));
		return;
	}
	name_printable(label, safe);
	print_safely(stdout, "%s: %s\n", safe, what);
	print_safely(stdout, "  %-10s  %s\n", name, OUTPUT_HEX(id, id_size));
}

/* Ids only: never the key. The loaders refuse files that others can read. */
static int describe_key(const struct cli *cli, const char *path, enum key_kind kind, json_t **value,
			struct error *err)
{
	_cleanup_(owner_keys_freep) struct owner_keys *owners = NULL;
	_cleanup_(signing_key_freep) struct signing_key *private = NULL;
	_cleanup_(keyfile_freep) struct keyfile *file = NULL;
	int r;

	switch (kind) {
	case KEY_PUBLIC:
		r = owner_keys_new(&owners);
		if (r == 0)
			r = owner_keys_add_file(owners, path, err);
		for (size_t i = 0; r == 0 && i < owner_keys_count(owners); i++)
			show_key(cli, path, "owner's public key (Ed25519)", "signer id",
				 owner_keys_id(owners, i), SIGNER_ID_SIZE, value);
		return r;
	case KEY_PRIVATE:
		r = signing_key_load(path, &private, err);
		if (r == 0)
			show_key(cli, path, "owner's private key (Ed25519)", "signer id",
				 signing_key_id(private), SIGNER_ID_SIZE, value);
		return r;
	default:
		r = keyfile_load(path, &file, err);
		if (r == 0)
			show_key(cli, path, "key file", "key id", keyfile_id(file),
				 SLOT_KEYFILE_ID_SIZE, value);
		return r;
	}
}

/* A document may be in base64, as in JSON or mail. */
static void decode_base64(struct head *head)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t size = 0;

	if (head->object_size == head->size)
		data = document_from_base64(head->bytes, head->size, &size);
	if (!data)
		return;
	memcpy(head->bytes, data, size);
	head->size = size;
	head->object_size = size;
}

static int show(const struct cli *cli, const char *label, struct head *head, json_t **objects,
		struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *doc = NULL;
	_cleanup_seal_ struct seal *seal = NULL;
	_cleanup_set_ struct set *set = NULL;
	json_t *value = NULL;
	bool fits = false;
	int r;

	/* What holds a key is not copied. */
	if (!key_kind(head))
		decode_base64(head);
	/* A COSE_Sign1 is an array of four, tagged or not; a seal starts with its magic. */
	if (!source_spec_is_s3(label) && key_kind(head)) {
		r = describe_key(cli, label, key_kind(head), &value, err);
	} else if (head->size >= sizeof(SEAL_MAGIC) - 1 &&
		   memcmp(head->bytes, SEAL_MAGIC, sizeof(SEAL_MAGIC) - 1) == 0) {
		r = seal_parse_head(label, head->bytes, head->size, head->object_size, &seal, err);
		if (r == 0)
			fits = seal_check_name(seal, target_operand_name(label), NULL) == 0;
		if (r == 0 && cli->json)
			value = describe_seal_json(seal, label, head->object_size, fits);
		else if (r == 0)
			describe_seal(seal, label, head->object_size, fits);
	} else if (head->size >= sizeof(SET_MAGIC) - 1 &&
		   memcmp(head->bytes, SET_MAGIC, sizeof(SET_MAGIC) - 1) == 0) {
		r = set_parse_head(label, head->bytes, head->size, head->object_size, &set, err);
		if (r == 0 && cli->json)
			value = describe_set_json(set, label);
		else if (r == 0)
			describe_set(set, label);
	} else if (document_begins(head->bytes, head->size)) {
		if (head->object_size > DOCUMENT_SIZE_MAX)
			return error_set(err, -EPROTO,
					 "%s: %llu bytes; an attestation document has at most %d",
					 label, (unsigned long long)head->object_size,
					 DOCUMENT_SIZE_MAX);
		r = document_parse(head->bytes, head->size, &doc, err);
		if (r == 0 && cli->json)
			value = describe_document_json(doc, label, head->size);
		else if (r == 0)
			describe_document(doc, label, head->size);
	} else {
		error_hint(err, "keys are shown, too, if they are local files");
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
		wipe(&head, sizeof(head)); /* it may have been a key */
	}
	if (r == 0 && cli->json)
		return output_json(json_pack("{s:o}", "objects", objects));
	json_decref(objects);
	return r;
}

const struct verb verb_inspect = {
	.name = "inspect",
	.summary = "show every field of a seal or document, and the id of a key",
	.usage = "[OPTIONS] FILE|s3://bucket/key…",
	.help = "Shows what a seal (NAME.seal), a set (sealed.set; its members: sealctl set list)\nor an attestation document says: path, time of\n"
		"sealing, facts, lengths, digests, signer and recipients, or module, time, PCRs,\n"
		"certificates and the nonce. No key is needed. Nothing is verified: check does that for a\n"
		"seal.",
	.uses_aws = true,
	.run = run,
};
