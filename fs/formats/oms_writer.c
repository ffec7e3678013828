/*
 * Writing OMS bundles. Job: the canonical form of the specification's sections 5 and 6, for a
 * plain key. Trusts its caller for the digests.
 */
#include "fs/formats/oms_internal.h"

#include "crypto/base/encode.h"

#include <string.h>

static json_t *write_files(const struct oms_statement *s)
{
	json_t *list = json_array();
	char hex[2 * SHA256_SIZE + 1];
	int bad = !list;

	for (size_t i = 0; !bad && i < s->count; i++) {
		hex_encode(s->files[i].sha256, SHA256_SIZE, hex);
		bad |= json_array_append_new(list,
					     json_pack("{s:s, s:s, s:s}", "name", s->files[i].path,
						       "algorithm", "sha256", "digest", hex));
	}
	if (!bad)
		return list;
	json_decref(list);
	return NULL;
}

static json_t *write_ignored(const struct oms_statement *s)
{
	json_t *list = json_array();
	int bad = !list;

	for (size_t i = 0; i < OMS_DEFAULT_IGNORED; i++)
		bad |= json_array_append_new(list, json_string(oms_default_ignored[i]));
	for (size_t i = 0; i < s->ignored_count; i++)
		bad |= json_array_append_new(list, json_string(s->ignored[i]));
	if (!bad)
		return list;
	json_decref(list);
	return NULL;
}

int oms_statement_write(const struct oms_statement *s, char **ret)
{
	char root[2 * SHA256_SIZE + 1];
	_cleanup_json_ json_t *all = NULL;
	int r = oms_root_digest(s->files, s->count, root);

	if (r < 0)
		return r;
	all = json_pack("{s:s, s:[{s:s, s:{s:s}}], s:s, s:{s:o, s:{s:s, s:s, s:b, s:o}}}", "_type",
			OMS_STATEMENT_TYPE, "subject", "name", s->name, "digest", "sha256", root,
			"predicateType", OMS_PREDICATE_TYPE, "predicate", "resources",
			write_files(s), "serialization", "method", "files", "hash_type", "sha256",
			"allow_symlinks", 0, "ignore_paths", write_ignored(s));
	*ret = all ? json_dumps(all, JSON_COMPACT) : NULL;
	return *ret ? 0 : -ENOMEM;
}

int oms_bundle_write(const char *payload, const uint8_t *signature, size_t signature_size,
		     const char *hint, char **ret)
{
	_cleanup_free_ char *text = base64_encode(payload, strlen(payload)), *json = NULL;
	_cleanup_free_ char *sig = base64_encode(signature, signature_size);
	_cleanup_json_ json_t *all = NULL;

	if (!text || !sig)
		return -ENOMEM;
	all = json_pack("{s:s, s:{s:{s:s}, s:[]}, s:{s:s, s:s, s:[{s:s, s:s}]}}", "mediaType",
			OMS_MEDIA_TYPE, "verificationMaterial", "publicKey", "hint", hint,
			"tlogEntries", "dsseEnvelope", "payload", text, "payloadType",
			OMS_PAYLOAD_TYPE, "signatures", "sig", sig, "keyid", "");
	json = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
	if (!json || asprintf(ret, "%s\n", json) < 0)
		return -ENOMEM;
	return 0;
}
