/*
 * sso.h: keys from IAM Identity Center (SSO Portal API, GetRoleCredentials; SDK reference
 * guide, "IAM Identity Center credential provider"), with the token that `aws sso login` left in
 * ~/.aws/sso/cache. Internal to fs/aws. Thread-safe.
 */
#ifndef SEALEDFS_AWS_SSO_H
#define SEALEDFS_AWS_SSO_H

#include "fs/aws/profile.h"
#include "fs/aws/sts.h"

/* -ENOENT: the profile does not configure SSO. -EINVAL: a setting is missing, or every
 * user may write to the token file. -EKEYREJECTED: there is no
 * token, or it has expired. -EREMOTEIO; network errors. */
int sso_credentials(const struct sts *sts, const struct profile *p, const char *name,
		    struct credentials **ret, struct error *err);

#endif
