/*
 * KMS's JSON. Job: build escaped requests, parse answers strictly. Every buffer that held a
 * plaintext key is wiped here; json.c wipes jansson's own copies. Must never put a plaintext into a
 * message or an unwiped buffer.
 */
#include "fs/aws/kms_json.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "fs/aws/call.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

static void add_member(struct text *out, const char *name, const char *value)
{
	text_printf(out, "%s\"%s\":\"", out->size > 1 ? "," : "", name);
	text_append(out, value);
	text_append(out, "\"");
}

static int add_base64(struct text *out, const char *name, const void *data, size_t size)
{
	char *encoded = base64_encode(data, size);

	if (!encoded)
		return -ENOMEM;
	add_member(out, name, encoded);
	wipe(encoded, strlen(encoded));
	free(encoded);
	return 0;
}

bool kms_key_id_valid(const char *id)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/_.+=,@-";
	size_t size = strlen(id);

	return size > 0 && size <= KMS_ARN_MAX && strspn(id, allowed) == size;
}

int kms_json_request(const struct kms_request *req, struct text *out)
{
	char id[65];
	int r = 0;

	if (req->key_id && !kms_key_id_valid(req->key_id))
		return -EINVAL;
	out->secret = true;
	text_append(out, "{");
	if (req->key_id)
		add_member(out, "KeyId", req->key_id);
	if (req->file_id) {
		hex_encode(req->file_id, 32, id);
		text_printf(out, ",\"EncryptionContext\":{\"sealedfs:file-id\":\"%s\"}", id);
	}
	if (req->key_spec)
		add_member(out, "KeySpec", req->key_spec);
	if (req->blob_size > 0)
		r = add_base64(out, "CiphertextBlob", req->blob, req->blob_size);
	if (r >= 0 && req->plain)
		r = add_base64(out, "Plaintext", secret_data(req->plain), secret_size(req->plain));
	if (r >= 0 && req->document_size > 0) {
		text_append(out, ",\"Recipient\":{\"KeyEncryptionAlgorithm\":"
				 "\"RSAES_OAEP_SHA_256\"");
		r = add_base64(out, "AttestationDocument", req->document, req->document_size);
		text_append(out, "}");
	}
	text_append(out, "}");
	return r < 0 ? r : out->failed ? -ENOMEM : 0;
}

void kms_answer_clear(struct kms_answer *a)
{
	free(a->key_id);
	free(a->blob);
	secret_free(a->plain);
	free(a->recipient);
	*a = (struct kms_answer){0};
}

static int decode_plain(const char *text, struct secret **ret)
{
	uint8_t *plain = NULL;
	size_t size = 0;
	int r = base64_decode(text, KMS_DATA_KEY_SIZE, &plain, &size);

	if (r < 0)
		return r == -ENOMEM ? r : -EPROTO;
	r = size == KMS_DATA_KEY_SIZE ? secret_new_from(plain, size, ret) : -EPROTO;
	wipe(plain, size);
	free(plain);
	return r;
}

int kms_json_answer(const void *data, size_t size, struct kms_answer *ret)
{
	_cleanup_json_ json_t *object = json_object_parse(data, size);
	const char *key_id = json_text(object, "KeyId");
	const char *blob = json_text(object, "CiphertextBlob");
	const char *plain = json_text(object, "Plaintext");
	const char *recipient = json_text(object, "CiphertextForRecipient");
	int r = 0;

	if (!object || !key_id || !kms_key_id_valid(key_id))
		return -EPROTO;
	ret->key_id = strdup(key_id);
	if (!ret->key_id)
		return -ENOMEM;
	if (blob)
		r = base64_decode(blob, KMS_BLOB_MAX, &ret->blob, &ret->blob_size);
	if (r >= 0 && recipient)
		r = base64_decode(recipient, KMS_BLOB_MAX, &ret->recipient, &ret->recipient_size);
	if (r >= 0 && plain)
		r = decode_plain(plain, &ret->plain);
	return r;
}

/* "com.amazonaws.kms#Name" and "Name:http://…" are Name. */
static void copy_type(const char *type, struct call_failure *ret)
{
	const char *hash = strchr(type, '#');

	text_copy(ret->code, sizeof(ret->code), hash ? hash + 1 : type);
	ret->code[strcspn(ret->code, ":")] = '\0';
}

void kms_json_failure(const void *data, size_t size, const char *type, struct call_failure *ret)
{
	_cleanup_json_ json_t *object = size ? json_object_parse(data, size) : NULL;
	const char *in_body = json_text(object, "__type");
	const char *message = json_text(object, "message");

	if (!message)
		message = json_text(object, "Message");
	if (in_body)
		type = in_body;
	if (type)
		copy_type(type, ret);
	if (message)
		text_copy(ret->message, sizeof(ret->message), message);
}
