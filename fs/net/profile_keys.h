/*
 * profile_keys.h: the keys that a profile leads to: its own, or those of a role that is assumed by
 * a web identity or with the keys of another profile, the environment, the container or the
 * instance ("Assume role credential provider", SDK reference guide). Internal to fs/net.
 * Thread-safe.
 */
#ifndef SEALEDFS_NET_PROFILE_KEYS_H
#define SEALEDFS_NET_PROFILE_KEYS_H

#include "fs/net/sts.h"

/* -ENOENT: it says nothing about keys. -EINVAL: what it says cannot be done. */
int profile_keys(const struct sts *sts, const char *name, struct credentials **ret,
		 struct error *err);
/* AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME. -ENOENT: not set. */
int web_identity_keys(const struct sts *sts, struct credentials **ret, struct error *err);
/* AWS_ACCESS_KEY_ID and its companions. -ENOENT: not set. */
int environment_keys(struct credentials **ret, struct error *err);

#endif
