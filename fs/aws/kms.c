/*
 * KMS. Job: data keys made, wrapped and unwrapped, always under one file's encryption context and
 * by a named key, except those that another program made. Trusts KMS over TLS for the decrypted
 * data, but checks sizes and that the answer names the requested key. Must never let a plaintext
 * key out of struct secret, nor accept an answer in the clear to an attested request.
 */
#include "fs/aws/kms.h"

#include "fs/aws/kms_json.h"
#include "fs/aws/kms_op.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define DOCUMENT_SIZE_MAX 262144

struct key_call {
	struct kms_op op; /* first: see kms_op.h */
	struct kms_answer answer;
	bool wants_blob;
	bool wants_plain;
	bool wants_recipient;
};

static bool is_key_arn(const char *id)
{
	return id && strncmp(id, "arn:", 4) == 0 && strstr(id, ":key/");
}

static int check_answer(void *arg, const struct http_response *resp, struct error *err)
{
	struct key_call *c = arg;
	struct kms_answer *a = &c->answer;
	int r;

	kms_answer_clear(a);
	r = resp->status == 200 && resp->body ? kms_json_answer(resp->body, resp->body_size, a)
					      : -EPROTO;
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	if (r < 0) {
		error_set(err, -EREMOTEIO, "the answer (%d) makes no sense: %s", resp->status,
			  strerror(-r));
		return RETRY_TRANSIENT;
	}
	if (is_key_arn(c->op.key_id) && strcmp(c->op.key_id, a->key_id) != 0)
		return error_set(err, -EBADMSG, "another key answered: %.200s", a->key_id);
	if (c->wants_recipient && !a->recipient)
		return error_set(err, -EREMOTEIO,
				 "the answer has no CiphertextForRecipient; this server does not "
				 "do attestation");
	if ((c->wants_blob && !a->blob_size) || (c->wants_plain && !a->plain))
		return error_set(err, -EREMOTEIO, "the answer lacks the key that was asked for");
	return 0;
}

static void key_call_clear(struct key_call *c)
{
	kms_op_clear(&c->op);
	kms_answer_clear(&c->answer);
}

#define _cleanup_key_call_ _cleanup_(key_call_clear)

static int kms_run(struct key_call *c, const char *operation, const struct kms_request *req,
		   struct error *err)
{
	int r = kms_json_request(req, &c->op.body);

	if (r < 0)
		return error_set(err, r, "KMS %s with %.200s: %s", operation,
				 req->key_id ? req->key_id : "any key",
				 r == -EINVAL ? "not a key id, key ARN or alias" : strerror(-r));
	c->op.attested = req->document_size > 0;
	c->op.check = check_answer;
	return kms_op_send(&c->op, operation, req->key_id, err);
}

/* Hands the wrapped key and the key's ARN to the caller. */
static void hand_over_blob(struct key_call *c, uint8_t *ret_blob, size_t *ret_blob_size,
			   char **ret_arn)
{
	memcpy(ret_blob, c->answer.blob, c->answer.blob_size);
	*ret_blob_size = c->answer.blob_size;
	if (ret_arn)
		*ret_arn = steal_ptr(c->answer.key_id);
}

int kms_generate_data_key(struct aws *aws, const char *key_id, const uint8_t file_id[32],
			  struct secret **ret_key, uint8_t *ret_blob, size_t *ret_blob_size,
			  char **ret_arn, struct error *err)
{
	_cleanup_key_call_ struct key_call c = {
		.op.aws = aws, .wants_blob = true, .wants_plain = true};
	const struct kms_request req = {
		.key_id = key_id, .file_id = file_id, .key_spec = "AES_256"};
	int r = kms_run(&c, "GenerateDataKey", &req, err);

	if (r < 0)
		return r;
	hand_over_blob(&c, ret_blob, ret_blob_size, ret_arn);
	*ret_key = steal_ptr(c.answer.plain);
	return 0;
}

int kms_encrypt(struct aws *aws, const char *key_id, const uint8_t file_id[32],
		const struct secret *plain, uint8_t *ret_blob, size_t *ret_blob_size,
		char **ret_arn, struct error *err)
{
	_cleanup_key_call_ struct key_call c = {.op.aws = aws, .wants_blob = true};
	const struct kms_request req = {.key_id = key_id, .file_id = file_id, .plain = plain};
	int r = kms_run(&c, "Encrypt", &req, err);

	if (r < 0)
		return r;
	hand_over_blob(&c, ret_blob, ret_blob_size, ret_arn);
	return 0;
}

static int check_blob_size(const char *key_arn, size_t blob_size, struct error *err)
{
	if (blob_size > 0 && blob_size <= KMS_BLOB_MAX)
		return 0;
	return error_set(err, -EINVAL, "KMS Decrypt with %.200s: a wrapped key has 1 to %d bytes",
			 key_arn, KMS_BLOB_MAX);
}

int kms_decrypt(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
		const uint8_t *blob, size_t blob_size, struct secret **ret_key, struct error *err)
{
	_cleanup_key_call_ struct key_call c = {.op.aws = aws, .wants_plain = true};
	const struct kms_request req = {
		.key_id = key_arn, .file_id = file_id, .blob = blob, .blob_size = blob_size};
	int r = check_blob_size(key_arn, blob_size, err);

	if (r >= 0)
		r = kms_run(&c, "Decrypt", &req, err);
	if (r < 0)
		return r;
	*ret_key = steal_ptr(c.answer.plain);
	return 0;
}

int kms_decrypt_foreign(struct aws *aws, const char *key_id, const uint8_t *blob, size_t blob_size,
			struct secret **ret_key, char **ret_arn, struct error *err)
{
	_cleanup_key_call_ struct key_call c = {.op.aws = aws, .wants_plain = true};
	const struct kms_request req = {.key_id = key_id, .blob = blob, .blob_size = blob_size};
	int r = check_blob_size(key_id ? key_id : "any key", blob_size, err);

	if (r >= 0)
		r = kms_run(&c, "Decrypt", &req, err);
	if (r < 0)
		return r;
	*ret_key = steal_ptr(c.answer.plain);
	*ret_arn = steal_ptr(c.answer.key_id);
	return 0;
}

int kms_decrypt_attested(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
			 const uint8_t *blob, size_t blob_size, const uint8_t *document,
			 size_t document_size, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_key_call_ struct key_call c = {.op.aws = aws, .wants_recipient = true};
	const struct kms_request req = {.key_id = key_arn,
					.file_id = file_id,
					.blob = blob,
					.blob_size = blob_size,
					.document = document,
					.document_size = document_size};
	int r = check_blob_size(key_arn, blob_size, err);

	if (r < 0)
		return r;
	if (document_size == 0 || document_size > DOCUMENT_SIZE_MAX)
		return error_set(err, -EINVAL,
				 "KMS Decrypt with %.200s: an attestation document has 1 to %d "
				 "bytes",
				 key_arn, DOCUMENT_SIZE_MAX);
	r = kms_run(&c, "Decrypt", &req, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(c.answer.recipient);
	*ret_size = c.answer.recipient_size;
	return 0;
}
