/*
 * profile.h: one named profile out of ~/.aws/config and ~/.aws/credentials (AWS_CONFIG_FILE,
 * AWS_SHARED_CREDENTIALS_FILE). The credentials file wins where both have a value. Read afresh by
 * each profile_load(), so that rotated keys are seen. Threads: immutable after loading.
 */
#ifndef SEALEDFS_NET_PROFILE_H
#define SEALEDFS_NET_PROFILE_H

#include "crypto/base/error.h"

#include <stdbool.h>

struct profile;

/* A missing file or profile is no error: see profile_exists(). -EPROTO, -E2BIG, -ENOMEM. */
int profile_load(const char *name, struct profile **ret, struct error *err);
void profile_free(struct profile *p);
bool profile_exists(const struct profile *p);
/* NULL: not set. */
const char *profile_get(const struct profile *p, const char *name);
/* A nested setting, like addressing_style under `s3 =`. */
const char *profile_get_nested(const struct profile *p, const char *parent, const char *name);
/* endpoint_url of a service ("s3", "kms") in the profile's `services` section. */
const char *profile_get_service(const struct profile *p, const char *service, const char *name);

DEFINE_CLEANUP(struct profile *, profile_free)

#endif
