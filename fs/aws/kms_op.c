/*
 * One KMS call, for all operations. Job: endpoint, region, headers, and the meaning of KMS's
 * errors. Trusts KMS over TLS. Must never put a body into a message.
 */
#include "fs/aws/kms_op.h"

#include "fs/aws/aws_internal.h"
#include "fs/aws/kms_json.h"

#include <errno.h>
#include <string.h>

#define ANSWER_SIZE_MAX 65536

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
	struct kms_op *op = arg;

	op->denied = strcmp(f->code, "AccessDeniedException") == 0;
	op->permitted = op->dry_run && strcmp(f->code, "DryRunOperationException") == 0;
	if (op->permitted)
		return -ECANCELED;
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
	int r = op->key_id ? arn_region(op->key_id, op->call.region) : -ENOENT;

	if (r == -EINVAL)
		return error_set(err, r, "%s: not a key ARN", op->what);
	if (r == 0)
		return 0;
	r = aws_default_region(op->aws, op->call.region, err);
	return r < 0 ? error_prefix(err, r, "%s", op->what) : 0;
}

int kms_op_send(struct kms_op *op, const char *operation, const char *key_id, struct error *err)
{
	int r;

	op->key_id = key_id;
	if (asprintf(&op->what, "KMS %s with %.200s", operation, key_id ? key_id : "any key") < 0)
		op->what = NULL;
	if (asprintf(&op->target, "TrentService.%s", operation) < 0)
		op->target = NULL;
	if (!op->what || !op->target)
		return error_set(err, -ENOMEM, "KMS %s: out of memory", operation);
	r = find_region(op, err);
	if (r == 0 && key_id && !kms_key_id_valid(key_id))
		r = error_set(err, -EINVAL, "%s: not a key id, key ARN or alias", op->what);
	if (r == 0 && op->body.failed)
		r = error_set(err, -ENOMEM, "%s: out of memory", op->what);
	if (r < 0)
		return r;
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
	op->call.check = op->check;
	op->call.map_failure = map_failure;
	op->call.arg = op;
	return call_run(&op->aws->caller, &op->call, &op->resp, NULL, err);
}

void kms_op_clear(struct kms_op *op)
{
	http_response_clear(&op->resp);
	text_clear(&op->body);
	free(op->what);
	free(op->target);
}
