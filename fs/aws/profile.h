/*
 * profile.h: one named profile out of ~/.aws/config and ~/.aws/credentials (AWS_CONFIG_FILE,
 * AWS_SHARED_CREDENTIALS_FILE), as the AWS CLI finds it: the credentials file wins where both have
 * a value; of several sections that mean one profile the last one counts. Read afresh by each
 * profile_load(), so that rotated keys are seen. Threads: immutable after loading.
 */
#ifndef SEALEDFS_AWS_PROFILE_H
#define SEALEDFS_AWS_PROFILE_H

#include "crypto/base/error.h"

#include <stdbool.h>

#define PROFILE_CHAIN_MAX 5 /* profiles that name each other as source_profile */

struct profile;

/* A missing file or profile is no error: see profile_exists(). -EINVAL, -ENOMEM. */
int profile_load(const char *name, struct profile **ret, struct error *err);
void profile_free(struct profile *p);
bool profile_exists(const struct profile *p);
/* NULL: not set. */
const char *profile_get(const struct profile *p, const char *name);
enum profile_file { PROFILE_CREDENTIALS, PROFILE_CONFIG };
const char *profile_get_from(const struct profile *p, enum profile_file file, const char *name);
/* Another user than root and us owns the file, or every user may write to it. */
bool profile_file_is_others(const struct profile *p, enum profile_file file);
/* A nested setting, like addressing_style under `s3 =`. */
const char *profile_get_nested(const struct profile *p, const char *parent, const char *name);
/* False: the profile names a `services` section that is not there. */
bool profile_has_services(const struct profile *p);
/* endpoint_url of a service ("s3", "kms") in the profile's `services` section. */
const char *profile_get_service(const struct profile *p, const char *service, const char *name);
/* False: the profile names no `sso-session` section, or one that is not there. */
bool profile_has_session(const struct profile *p);
const char *profile_get_session(const struct profile *p, const char *name);
/* Where one of the two files is: the place that its variable names, with variables and "~/"
 * expanded as the CLI does, else in ~/.aws. NULL: no home directory is known. malloc()ed. */
char *profile_file(enum profile_file which);
/*
 * Calls each() with the certificate bundle and the token files that a profile, and those whose keys
 * it uses, name. name: NULL for that of the environment. Ends with the first error of each(), or
 * when there is none left. -EINVAL, -ENOMEM.
 */
int profile_each_file(const char *name, int (*each)(void *arg, const char *path, struct error *err),
		      void *arg, struct error *err);
/* The path of a file in ~/.aws; NULL: no home directory is known. malloc()ed. */
char *profile_path(const char *file);

DEFINE_CLEANUP(struct profile *, profile_free)

#endif
