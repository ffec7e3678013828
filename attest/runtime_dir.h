/*
 * runtime_dir.h: the directory that the processes of this machine share: the measurement log and
 * the mailbox lock. Its content is lost at boot.
 */
#ifndef SEALEDFS_RUNTIME_DIR_H
#define SEALEDFS_RUNTIME_DIR_H

#include "crypto/base/error.h"

/* $SEALEDFS_RUNTIME_DIR, else /run/sealedfs. Not created. Valid as long as the environment. */
const char *runtime_dir(void);

/*
 * Creates path's parent directory (one level, mode 0755) when it is missing, and checks that nobody
 * but root and this user can put files into it under other names. 0, -EPERM, -errno.
 */
int runtime_parent_make(const char *path, struct error *err);

#endif
