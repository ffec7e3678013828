/*
 * runtime_dir.h: where this machine's processes meet: the measurement log and the mailbox lock.
 * Contents live until the machine boots.
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

/*
 * flock(LOCK_EX) with a deadline. -ETIMEDOUT when another process kept it that long.
 */
int runtime_lock(int fd, unsigned deadline_ms);

#endif
