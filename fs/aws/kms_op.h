/*
 * kms_op.h: one call to KMS: the endpoint, messages of failures. kms.c and kms_policy.c say what is
 * asked and what an answer means. Internal to fs/aws.
 */
#ifndef SEALEDFS_AWS_KMS_OP_H
#define SEALEDFS_AWS_KMS_OP_H

#include "fs/aws/aws.h"
#include "fs/aws/call.h"
#include "fs/net/text.h"

struct kms_op {
	struct aws *aws;
	bool attested; /* the answer has no plaintext; a ValidationException is about the document
			*/
	bool dry_run;  /* DryRunOperationException is -ECANCELED */
	struct text body; /* JSON */
	/* As struct call's; arg is the struct kms_op, the first member of the caller's own. */
	int (*check)(void *arg, const struct http_response *resp, struct error *err);
	/* made by kms_op_send() */
	bool denied;	/* AccessDeniedException, nothing about keys or clocks */
	bool permitted; /* a dry run would have succeeded */
	struct call call;
	struct http_response resp;
	char *what, *target;
	const char *key_id; /* NULL: KMS finds it by the wrapped key */
};

/* key_id may be NULL for Decrypt. Errors as kms.h. */
int kms_op_send(struct kms_op *op, const char *operation, const char *key_id, struct error *err);
void kms_op_clear(struct kms_op *op);

#define _cleanup_kms_op_ _cleanup_(kms_op_clear)

#endif
