/*
 * The outer layer of OMS bundles. Job: structure as the specification's schema has it, and nothing
 * of the payload. Trusts nothing. Must never pass over a part that would have to be there.
 */
#include "fs/formats/oms_internal.h"

#include "crypto/base/encode.h"
#include "crypto/base/printable.h"

#include <string.h>

#define SIGNATURE_MAX 512
#define CERTIFICATE_MAX 65536
/* Values outside the payload; real bundles have some hundred. */
#define PARTS_MAX 65536

void oms_bundle_free(struct oms_bundle *b)
{
	if (!b)
		return;
	free(b->payload);
	free(b->signature);
	free(b->hint);
	free(b->certificate);
	free(b);
}

/* Every member's name is in names, which NULL ends. */
static bool has_only(const json_t *object, const char *const *names)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		const char *const *name = names;

		while (*name && strcmp(*name, key) != 0)
			name++;
		if (!*name)
			return false;
	}
	return true;
}

static int take_base64(const json_t *object, const char *name, size_t max, uint8_t **ret,
		       size_t *ret_size)
{
	const char *text = json_text(object, name);

	return text ? base64_decode(text, max, ret, ret_size) : -EPROTO;
}

/* An array, absent or null: none; *ret: its elements. */
static bool count_list(const json_t *object, const char *name, size_t *ret)
{
	const json_t *list = json_object_get(object, name);

	*ret = json_array_size(list);
	for (size_t i = 0; i < *ret; i++)
		if (!json_is_object(json_array_get(list, i)))
			return false;
	return !list || json_is_null(list) || json_is_array(list);
}

static int take_certificate(struct oms_bundle *b, const char *label, const json_t *certificate,
			    struct error *err)
{
	int r = take_base64(certificate, "rawBytes", CERTIFICATE_MAX, &b->certificate,
			    &b->certificate_size);

	return r == -ENOMEM || r == 0
		       ? r
		       : oms_refuse(label, err, "its certificate is not base64 of at most %d bytes",
				    CERTIFICATE_MAX);
}

static int take_key(struct oms_bundle *b, const char *label, const json_t *key, struct error *err)
{
	const char *hint = json_text(key, "hint");

	/* Older writers put the key itself here; it says no more than the one that is given. */
	if (!hint && !json_text(key, "rawBytes"))
		return oms_refuse(label, err, "its publicKey has neither hint nor rawBytes");
	if (!hint)
		return 0;
	b->hint = strdup(hint);
	return b->hint ? 0 : -ENOMEM;
}

static int take_chain(struct oms_bundle *b, const char *label, const json_t *chain,
		      struct error *err)
{
	if (!count_list(chain, "certificates", &b->certificates) || b->certificates == 0)
		return oms_refuse(label, err, "its x509CertificateChain has no certificates");
	return take_certificate(b, label, json_array_get(json_object_get(chain, "certificates"), 0),
				err);
}

static int take_material(struct oms_bundle *b, const char *label, const json_t *material,
			 struct error *err)
{
	const json_t *key = json_object_get(material, "publicKey");
	const json_t *chain = json_object_get(material, "x509CertificateChain");
	const json_t *certificate = json_object_get(material, "certificate");
	const json_t *stamps = json_object_get(material, "timestampVerificationData");

	if (!json_is_object(material))
		return oms_refuse(label, err, "it has no verificationMaterial");
	if ((key != NULL) + (chain != NULL) + (certificate != NULL) != 1)
		return oms_refuse(label, err,
				  "its verificationMaterial has not exactly one of publicKey, "
				  "x509CertificateChain and certificate");
	if (!count_list(material, "tlogEntries", &b->log_entries) ||
	    !count_list(stamps, "rfc3161Timestamps", &b->timestamps))
		return oms_refuse(label, err,
				  "its entries of a transparency log are not a list of objects");
	if (key)
		return take_key(b, label, key, err);
	if (chain)
		return take_chain(b, label, chain, err);
	b->certificates = 1;
	if (b->log_entries == 0)
		return oms_refuse(label, err,
				  "its certificate has no entry of a transparency log beside it");
	return take_certificate(b, label, certificate, err);
}

static int take_signature(struct oms_bundle *b, const char *label, const json_t *list,
			  struct error *err)
{
	static const char *const known[] = {"sig", "keyid", NULL};
	const json_t *signature = json_array_get(list, 0);
	const json_t *id = json_object_get(signature, "keyid");
	int r;

	if (json_array_size(list) != 1)
		return oms_refuse(label, err, "it has %zu signatures, and not one",
				  json_array_size(list));
	if (!has_only(signature, known) || (id && !json_is_null(id) && !json_is_string(id)))
		return oms_refuse(label, err, "its signature has unknown members");
	r = take_base64(signature, "sig", SIGNATURE_MAX, &b->signature, &b->signature_size);
	return r == -ENOMEM || r == 0 ? r : oms_refuse(label, err, "its signature is not base64");
}

static int take_envelope(struct oms_bundle *b, const char *label, const json_t *envelope,
			 struct error *err)
{
	static const char *const known[] = {"payload", "payloadType", "signatures", NULL};
	const char *type = json_text(envelope, "payloadType");
	char printable[NAME_PRINTABLE_SIZE];
	int r;

	if (!json_is_object(envelope) || !has_only(envelope, known))
		return oms_refuse(label, err, "it has no dsseEnvelope of the known form");
	name_printable(type, printable);
	if (!type || strcmp(type, OMS_PAYLOAD_TYPE) != 0)
		return oms_refuse(label, err,
				  "its payload is of type \"%s\", not " OMS_PAYLOAD_TYPE,
				  printable);
	r = take_base64(envelope, "payload", OMS_BUNDLE_MAX, &b->payload, &b->payload_size);
	if (r < 0)
		return r == -ENOMEM ? r : oms_refuse(label, err, "its payload is not base64");
	return take_signature(b, label, json_object_get(envelope, "signatures"), err);
}

static bool known_media_type(const char *type)
{
	static const char *const known[] = {
		OMS_MEDIA_TYPE,
		"application/vnd.dev.sigstore.bundle+json;version=0.1",
		"application/vnd.dev.sigstore.bundle+json;version=0.2",
		"application/vnd.dev.sigstore.bundle+json;version=0.3",
	};

	for (size_t i = 0; type && i < ARRAY_LEN(known); i++)
		if (strcmp(type, known[i]) == 0)
			return true;
	return false;
}

/* Before memory is taken for them: nothing of the bundle was checked yet. */
static bool has_many_parts(const char *text, size_t size)
{
	size_t parts = 0;

	for (size_t i = 0; i < size && parts <= PARTS_MAX; i++)
		parts += text[i] == ',' || text[i] == '{' || text[i] == '[';
	return parts > PARTS_MAX;
}

int oms_bundle_parse(const char *label, const void *bytes, size_t size, struct oms_bundle **ret,
		     struct error *err)
{
	static const char *const known[] = {"mediaType", "verificationMaterial", "dsseEnvelope",
					    NULL};
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = calloc(1, sizeof(*b));
	_cleanup_json_ json_t *root = NULL;
	char printable[NAME_PRINTABLE_SIZE];
	int r;

	if (!b)
		return -ENOMEM;
	if (has_many_parts(bytes, size))
		return oms_refuse(label, err, "it has more than %d parts", PARTS_MAX);
	root = json_object_parse(bytes, size);
	if (!root)
		return oms_refuse(label, err, "it is not one whole JSON object");
	name_printable(json_text(root, "mediaType"), printable);
	if (!known_media_type(json_text(root, "mediaType")))
		return oms_refuse(label, err, "its mediaType is \"%s\"", printable);
	if (!has_only(root, known))
		return oms_refuse(label, err, "it has members that no bundle of OMS 1.0 has");
	r = take_material(b, label, json_object_get(root, "verificationMaterial"), err);
	if (r == 0)
		r = take_envelope(b, label, json_object_get(root, "dsseEnvelope"), err);
	if (r == 0)
		*ret = steal_ptr(b);
	return r;
}

int oms_signed_bytes(const void *payload, size_t size, uint8_t **ret, size_t *ret_size)
{
	char head[96];
	int n = snprintf(head, sizeof(head), "DSSEv1 %zu %s %zu ", strlen(OMS_PAYLOAD_TYPE),
			 OMS_PAYLOAD_TYPE, size);
	uint8_t *all = malloc((size_t)n + size);

	if (!all)
		return -ENOMEM;
	memcpy(all, head, (size_t)n);
	memcpy(all + n, payload, size);
	*ret = all;
	*ret_size = (size_t)n + size;
	return 0;
}
