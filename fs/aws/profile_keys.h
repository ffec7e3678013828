/*
 * profile_keys.h: the keys that a profile leads to, in the order of the AWS CLI: a role that is
 * assumed with the keys of another profile, the environment, the container or the instance; a web
 * identity, of the environment first; SSO; the profile's keys in the credentials file;
 * credential_process; its keys in the config file ("Standardized credential providers", SDK
 * reference guide). Internal to fs/aws.
 * Thread-safe.
 */
#ifndef SEALEDFS_AWS_PROFILE_KEYS_H
#define SEALEDFS_AWS_PROFILE_KEYS_H

#include "fs/aws/sts.h"

/* -ENOENT: it has no settings for keys. -EINVAL: its settings cannot be used. */
int profile_keys(const struct sts *sts, const char *name, struct credentials **ret,
		 struct error *err);
/* AWS_ACCESS_KEY_ID and its companions. -ENOENT: not set. */
int environment_keys(struct credentials **ret, struct error *err);

#endif
