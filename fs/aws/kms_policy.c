/*
 * Permissions in KMS. Job: GetKeyPolicy and dry runs. Trusts KMS's verdict. Must never make a call
 * that changes something or returns a key, even if a server does not support dry runs: none of
 * these has a ciphertext, and the only answer that could hold a key is wiped unread.
 */
#include "fs/aws/kms_policy.h"

#include "crypto/base/encode.h"
#include "fs/aws/kms_arn.h"
#include "fs/aws/kms_json.h"
#include "fs/aws/kms_op.h"

#include <errno.h>
#include <string.h>

/* Asked beside the matter, often to explain a failure that waits for it. */
#define POLICY_ATTEMPTS 2
#define POLICY_DEADLINE_MS 10000
#define DOCUMENT_BYTES_MAX 262144 /* KMS's limit */

int kms_get_key_policy(struct aws *aws, const char *key_arn, char **ret, size_t *ret_size,
		       struct error *err)
{
	_cleanup_kms_op_ struct kms_op op = {.aws = aws};
	int r;

	text_printf(&op.body, "{\"KeyId\":\"%s\",\"PolicyName\":\"default\"}",
		    kms_key_id_valid(key_arn) ? key_arn : "");
	op.call.max_attempts = POLICY_ATTEMPTS;
	op.call.deadline_ms = POLICY_DEADLINE_MS;
	r = kms_op_send(&op, "GetKeyPolicy", key_arn, err);
	if (r < 0)
		return r;
	if (!op.resp.body || op.resp.body_size == 0)
		return error_set(err, -EREMOTEIO, "%s: an empty answer", op.what);
	*ret = malloc(op.resp.body_size);
	if (!*ret)
		return error_set(err, -ENOMEM, "%s: out of memory", op.what);
	memcpy(*ret, op.resp.body, op.resp.body_size);
	*ret_size = op.resp.body_size;
	return 0;
}

const char *kms_dry_run_name(enum kms_dry_run_operation operation)
{
	static const char *const names[KMS_DRY_RUN_OPERATIONS] = {
		[KMS_DRY_RUN_DECRYPT] = "Decrypt",
		[KMS_DRY_RUN_REENCRYPT] = "ReEncrypt",
		[KMS_DRY_RUN_CREATE_GRANT] = "CreateGrant",
		[KMS_DRY_RUN_GENERATE_DATA_KEY] = "GenerateDataKey",
	};

	return names[operation];
}

static int put_document(struct text *body, const uint8_t *document, size_t size)
{
	_cleanup_free_ char *encoded = NULL;

	if (size == 0)
		return 0;
	encoded = base64_encode(document, size);
	if (!encoded)
		return -ENOMEM;
	text_append(body, ",\"Recipient\":{\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\","
			  "\"AttestationDocument\":\"");
	text_append(body, encoded);
	text_append(body, "\"}");
	return 0;
}

/* The members of the operation; whom a grant would be for is the key's account, which exists. */
static void put_members(struct text *body, enum kms_dry_run_operation operation,
			const char *key_arn, const struct kms_arn *arn)
{
	static const char no_blob[] = ",\"DryRunModifiers\":[\"IGNORE_CIPHERTEXT\"]";

	text_append(body, "{\"DryRun\":true");
	switch (operation) {
	case KMS_DRY_RUN_REENCRYPT:
		text_printf(body, ",\"SourceKeyId\":\"%s\",\"DestinationKeyId\":\"%s\"%s", key_arn,
			    key_arn, no_blob);
		return;
	case KMS_DRY_RUN_CREATE_GRANT:
		text_printf(body,
			    ",\"KeyId\":\"%s\",\"Operations\":[\"Decrypt\"],"
			    "\"GranteePrincipal\":\"arn:%s:iam::%s:root\"",
			    key_arn, arn->partition, arn->account);
		return;
	case KMS_DRY_RUN_GENERATE_DATA_KEY:
		text_printf(body, ",\"KeyId\":\"%s\",\"KeySpec\":\"AES_256\"", key_arn);
		return;
	default:
		text_printf(body, ",\"KeyId\":\"%s\"%s", key_arn, no_blob);
	}
}

int kms_dry_run(struct aws *aws, const char *key_arn, enum kms_dry_run_operation operation,
		const uint8_t *document, size_t document_size, enum kms_dry_run_answer *ret,
		struct error *why, struct error *err)
{
	_cleanup_kms_op_ struct kms_op op = {
		.aws = aws, .dry_run = true, .attested = document_size > 0};
	struct error e = {0};
	struct kms_arn arn;
	int r;

	if (kms_arn_parse(key_arn, &arn) < 0)
		return error_set(err, -EINVAL, "\"%.200s\" is not the ARN of a KMS key", key_arn);
	if (document_size > DOCUMENT_BYTES_MAX)
		return error_set(err, -EINVAL, "the attestation document is too large");
	/* Whatever it answers is wiped: a key, should it not know dry runs. */
	op.body.secret = true;
	put_members(&op.body, operation, key_arn, &arn);
	if (put_document(&op.body, document, document_size) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	text_append(&op.body, "}");
	r = kms_op_send(&op, kms_dry_run_name(operation), key_arn, &e);
	if (r == 0) {
		*ret = KMS_DRY_RUN_IGNORED;
		return 0;
	}
	if (r == -ECANCELED && op.permitted) {
		*ret = KMS_DRY_RUN_PERMITTED;
		return 0;
	}
	if (op.denied) {
		*ret = KMS_DRY_RUN_REFUSED;
		if (why)
			*why = e;
		return 0;
	}
	if (err)
		*err = e;
	return r;
}
