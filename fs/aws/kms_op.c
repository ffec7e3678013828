/*
 * KMS. Job: data keys made, wrapped and unwrapped, always under one file's encryption context and
 * by a named key. Trusts KMS over TLS for what it decrypts, but checks sizes and that the key that
 * answered is the one that was asked. Must never let a plaintext key out of struct secret, nor
 * accept an answer in the clear to an attested request.
 */
#include "fs/net/kms.h"

#include "fs/net/call.h"
#include "fs/net/kms_json.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define ANSWER_SIZE_MAX 65536
#define DOCUMENT_SIZE_MAX 262144

struct kms_op {
	struct aws *aws;
	bool attested;
	struct call call;
	struct http_response resp;
	struct text body;
	char *what;
	char *target;
	struct kms_answer answer;
	const char *key_id;
	bool wants_blob;
	bool wants_plain;
	bool wants_recipient;
};

static int base_url(void *arg, const char *region, char **ret)
{
	const struct kms_op *op = arg;
	const struct aws_config *config = &op->aws->config;
	const struct endpoint_params params = {.service = "kms",
					       .region = region,
					       .override = config->endpoints[AWS_SERVICE_KMS],
					       .fips = config->fips,
					       .dualstack = config->dualstack};

	return endpoint_url(&params, ret);
}

static void parse_failure(const struct http_response *resp, struct call_failure *ret)
{
	kms_json_failure(resp->body, resp->body_size,
			 http_response_header(resp, "x-amzn-errortype"), ret);
}

static const struct {
	const char *code;
	int number;
	const char *hint;
} failures[] = {
	{"AccessDeniedException", -EKEYREJECTED, NULL},
	{"InvalidCiphertextException", -EBADMSG,
	 "the wrapped key belongs to another file, or was damaged"},
	{"IncorrectKeyException", -EKEYREJECTED, "the data key was wrapped by another KMS key"},
	{"NotFoundException", -ENOKEY, "check the key's id, region and account"},
	{"DisabledException", -EKEYREVOKED, "enable the KMS key"},
	{"KMSInvalidStateException", -EKEYREVOKED, "the KMS key is pending deletion or import"},
	{"InvalidKeyUsageException", -EINVAL, "use a symmetric KMS key for encryption"},
	{"InvalidArnException", -EINVAL, NULL},
	{"InvalidGrantTokenException", -EKEYREJECTED, NULL},
	{"ExpiredTokenException", -EKEYREJECTED, "the AWS session keys have expired"},
	{"UnrecognizedClientException", -EKEYREJECTED, "check the AWS keys"},
	{"InvalidClientTokenId", -EKEYREJECTED, "check the AWS keys"},
	{"InvalidSignatureException", -EKEYREJECTED, "check the AWS keys and this machine's clock"},
	{"IncompleteSignatureException", -EKEYREJECTED, NULL},
	{"MissingAuthenticationTokenException", -EKEYREJECTED, NULL},
	{"OptInRequired", -EKEYREJECTED, NULL},
};

static int map_failure(void *arg, const struct call_failure *f, struct error *err)
{
	const struct kms_op *op = arg;

	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		if (strcmp(f->code, failures[i].code) != 0)
			continue;
		if (failures[i].hint)
			error_hint(err, "%s", failures[i].hint);
		return failures[i].number;
	}
	if (strcmp(f->code, "ValidationException") == 0) {
		if (!op->attested)
			return -EINVAL;
		/* KMS takes a document for five minutes only, by its own clock. */
		error_hint(err, "KMS did not take the attestation document: it must be less than "
				"five minutes old and made by this machine's NitroTPM");
		return -EKEYREJECTED;
	}
	if (retry_class_answer(f->status, f->code) == RETRY_THROTTLED) {
		error_hint(err, "KMS limits the rate of requests; try again later");
		return -EAGAIN;
	}
	return f->status == 403 ? -EKEYREJECTED : -EREMOTEIO;
}

static bool is_key_arn(const char *id)
{
	return strncmp(id, "arn:", 4) == 0 && strstr(id, ":key/");
}

static int check_answer(void *arg, const struct http_response *resp, struct error *err)
{
	struct kms_op *op = arg;
	struct kms_answer *a = &op->answer;
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
	if (is_key_arn(op->key_id) && strcmp(op->key_id, a->key_id) != 0)
		return error_set(err, -EBADMSG, "another key answered: %.200s", a->key_id);
	if (op->wants_recipient && !a->recipient)
		return error_set(err, -EREMOTEIO,
				 "the answer has no CiphertextForRecipient; this server does not "
				 "do attestation");
	if ((op->wants_blob && !a->blob_size) || (op->wants_plain && !a->plain))
		return error_set(err, -EREMOTEIO, "the answer lacks the key that was asked for");
	return 0;
}

static void kms_op_clear(struct kms_op *op)
{
	http_response_clear(&op->resp);
	text_clear(&op->body);
	kms_answer_clear(&op->answer);
	free(op->what);
	free(op->target);
}

#define _cleanup_kms_op_ _cleanup_(kms_op_clear)

/* The region in a key or alias ARN; 0, or -ENOENT when there is none. */
static int arn_region(const char *id, char ret[ENDPOINT_REGION_MAX])
{
	const char *p = id;
	size_t size;

	if (strncmp(id, "arn:", 4) != 0)
		return -ENOENT;
	for (int colons = 0; colons < 3; colons++) {
		p = strchr(p, ':');
		if (!p)
			return -EINVAL;
		p++;
	}
	size = strcspn(p, ":");
	if (size == 0 || size >= ENDPOINT_REGION_MAX || p[size] != ':')
		return -EINVAL;
	memcpy(ret, p, size);
	ret[size] = '\0';
	return endpoint_region_valid(ret) ? 0 : -EINVAL;
}

static int find_region(struct kms_op *op, struct error *err)
{
	int r = arn_region(op->key_id, op->call.region);

	if (r == -EINVAL)
		return error_set(err, r, "%s: not a key ARN", op->what);
	if (r == 0)
		return 0;
	r = aws_default_region(op->aws, op->call.region, err);
	return r < 0 ? error_prefix(err, r, "%s", op->what) : 0;
}

static int kms_run(struct kms_op *op, const char *operation, const struct kms_request *req,
		   struct error *err)
{
	int r;

	op->key_id = req->key_id;
	op->attested = req->document_size > 0;
	if (asprintf(&op->what, "KMS %s with %.200s", operation, req->key_id) < 0)
		op->what = NULL;
	if (asprintf(&op->target, "TrentService.%s", operation) < 0)
		op->target = NULL;
	if (!op->what || !op->target)
		return error_set(err, -ENOMEM, "KMS %s: out of memory", operation);
	r = find_region(op, err);
	if (r < 0)
		return r;
	r = kms_json_request(req, &op->body);
	if (r < 0)
		return error_set(err, r, "%s: %s", op->what,
				 r == -EINVAL ? "not a key id, key ARN or alias" : strerror(-r));
	op->call.service = AWS_SERVICE_KMS;
	op->call.what = op->what;
	op->call.method = "POST";
	op->call.base_url = base_url;
	op->call.path = "/";
	op->call.headers[0] = (struct http_header){"Content-Type", "application/x-amz-json-1.1"};
	op->call.headers[1] = (struct http_header){"X-Amz-Target", op->target};
	op->call.header_count = 2;
	op->call.body = op->body.data;
	op->call.body_size = op->body.size;
	op->call.body_max = ANSWER_SIZE_MAX;
	op->call.secret = !op->attested;
	op->call.parse_failure = parse_failure;
	op->call.check = check_answer;
	op->call.map_failure = map_failure;
	op->call.arg = op;
	return call_run(op->aws, &op->call, &op->resp, NULL, err);
}

/* Hands the wrapped key and the key's ARN to the caller. */
static void hand_over_blob(struct kms_op *op, uint8_t *ret_blob, size_t *ret_blob_size,
			   char **ret_arn)
{
	memcpy(ret_blob, op->answer.blob, op->answer.blob_size);
	*ret_blob_size = op->answer.blob_size;
	if (ret_arn)
		*ret_arn = steal_ptr(op->answer.key_id);
}

int kms_generate_data_key(struct aws *aws, const char *key_id, const uint8_t file_id[32],
			  struct secret **ret_key, uint8_t *ret_blob, size_t *ret_blob_size,
			  char **ret_arn, struct error *err)
{
	_cleanup_kms_op_ struct kms_op op = {.aws = aws, .wants_blob = true, .wants_plain = true};
	const struct kms_request req = {
		.key_id = key_id, .file_id = file_id, .key_spec = "AES_256"};
	int r = kms_run(&op, "GenerateDataKey", &req, err);

	if (r < 0)
		return r;
	hand_over_blob(&op, ret_blob, ret_blob_size, ret_arn);
	*ret_key = steal_ptr(op.answer.plain);
	return 0;
}

int kms_encrypt(struct aws *aws, const char *key_id, const uint8_t file_id[32],
		const struct secret *plain, uint8_t *ret_blob, size_t *ret_blob_size,
		char **ret_arn, struct error *err)
{
	_cleanup_kms_op_ struct kms_op op = {.aws = aws, .wants_blob = true};
	const struct kms_request req = {.key_id = key_id, .file_id = file_id, .plain = plain};
	int r = kms_run(&op, "Encrypt", &req, err);

	if (r < 0)
		return r;
	hand_over_blob(&op, ret_blob, ret_blob_size, ret_arn);
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
	_cleanup_kms_op_ struct kms_op op = {.aws = aws, .wants_plain = true};
	const struct kms_request req = {
		.key_id = key_arn, .file_id = file_id, .blob = blob, .blob_size = blob_size};
	int r = check_blob_size(key_arn, blob_size, err);

	if (r >= 0)
		r = kms_run(&op, "Decrypt", &req, err);
	if (r < 0)
		return r;
	*ret_key = steal_ptr(op.answer.plain);
	return 0;
}

int kms_decrypt_attested(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
			 const uint8_t *blob, size_t blob_size, const uint8_t *document,
			 size_t document_size, uint8_t **ret, size_t *ret_size, struct error *err)
{
	_cleanup_kms_op_ struct kms_op op = {.aws = aws, .wants_recipient = true};
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
	r = kms_run(&op, "Decrypt", &req, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(op.answer.recipient);
	*ret_size = op.answer.recipient_size;
	return 0;
}
