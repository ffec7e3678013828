/*
 * kms_policy.h: a KMS key's policy, and calls that only ask whether they would be permitted (AWS
 * KMS API reference: GetKeyPolicy; DryRun, DryRunModifiers). Errors as kms.h. Thread-safe.
 */
#ifndef SEALEDFS_AWS_KMS_POLICY_H
#define SEALEDFS_AWS_KMS_POLICY_H

#include "crypto/base/error.h"
#include "fs/aws/aws.h"

#include <stddef.h>
#include <stdint.h>

/* *ret: KMS's answer, JSON with the member Policy; fresh memory, not NUL-terminated. */
int kms_get_key_policy(struct aws *aws, const char *key_arn, char **ret, size_t *ret_size,
		       struct error *err);

enum kms_dry_run_operation {
	KMS_DRY_RUN_DECRYPT,	  /* without a ciphertext: authorization alone */
	KMS_DRY_RUN_REENCRYPT,	  /* from this key to itself, without a ciphertext */
	KMS_DRY_RUN_CREATE_GRANT, /* of Decrypt, to the key's own account */
	KMS_DRY_RUN_GENERATE_DATA_KEY,
	KMS_DRY_RUN_OPERATIONS,
};

const char *kms_dry_run_name(enum kms_dry_run_operation operation); /* "Decrypt" */

enum kms_dry_run_answer { KMS_DRY_RUN_REFUSED, KMS_DRY_RUN_PERMITTED, KMS_DRY_RUN_IGNORED };

/*
 * Whether the call would be permitted. key_arn: the key's ARN. document: sent as Recipient with
 * Decrypt; size 0: none. *ret: IGNORED when the server did not treat the call as a dry run, and
 * then what it answered is thrown away. *why (may be NULL): KMS's words about a refusal. -EINVAL
 * also when KMS does not know this kind of dry run.
 */
int kms_dry_run(struct aws *aws, const char *key_arn, enum kms_dry_run_operation operation,
		const uint8_t *document, size_t document_size, enum kms_dry_run_answer *ret,
		struct error *why, struct error *err);

#endif
