/*
 * sts.h: temporary keys from the AWS Security Token Service (STS API reference, AssumeRole and
 * AssumeRoleWithWebIdentity; version 2011-06-15). Internal to fs/aws. Thread-safe.
 */
#ifndef SEALEDFS_AWS_STS_H
#define SEALEDFS_AWS_STS_H

#include "fs/aws/config.h"
#include "fs/aws/keys.h"
#include "fs/net/http.h"

struct imds;

/* What a call needs; all borrowed. */
struct sts {
	const struct aws_config *config;
	struct http_client *http;
	struct imds *imds; /* for the region, when none is configured; may be NULL */
};

struct sts_role {
	const char *arn;
	const char *session_name; /* NULL: "sealedfs" */
	const char *external_id;  /* NULL: none */
	const char *mfa_serial;	  /* NULL: no MFA */
	const char *mfa_code;
	const char *duration_s; /* NULL: AWS's default, an hour */
};

/*
 * Signed by nobody: the token in the file, read anew each time, says who asks. -EAGAIN there is no
 * such file (yet); -EKEYREJECTED STS refuses; -EREMOTEIO nonsense; -EINVAL; network errors.
 */
int sts_assume_with_token(const struct sts *sts, const struct sts_role *role,
			  const char *token_file, struct credentials **ret, struct error *err);
/* Signed by source. Errors likewise. */
int sts_assume(const struct sts *sts, const struct sts_role *role, struct credentials *source,
	       struct credentials **ret, struct error *err);

/* An answer's XML to keys; source: for messages. -EREMOTEIO. */
int sts_parse_answer(const void *data, size_t size, const char *action, const char *source,
		     struct credentials **ret, struct error *err);

#endif
