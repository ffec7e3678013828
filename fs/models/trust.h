/*
 * trust.h: the files that decide whom a daemon trusts beside those that its options name.
 */
#ifndef SEALEDFS_TRUST_H
#define SEALEDFS_TRUST_H

#include "crypto/base/error.h"

/*
 * The shared AWS files, token files and certificate bundles that the environment and the profile
 * (NULL: the environment's) name, or AWS's tools would look for: where one is there, nobody else
 * may change it (crypto/base/trust_file.h). -EINVAL. Whoever may change none of the directories on
 * the way cannot exchange it later either.
 */
int trust_aws_files(const char *profile, struct error *err);

#endif
