/*
 * mount_point.h: the directory that is mounted on: checks it, and removes dead mounts from it.
 */
#ifndef SEALEDFS_MOUNT_MOUNT_POINT_H
#define SEALEDFS_MOUNT_MOUNT_POINT_H

#include "crypto/base/error.h"

#include <stdbool.h>

/*
 * Removes a dead FUSE mount at `at`, makes the directory if it is missing and `make` is set, and
 * warns if it is not empty. *ret_fd: the directory, by O_PATH, so that the directory that was
 * checked is the one that is mounted on; the caller closes it. *ret_path: absolute, to be freed.
 * -ENOENT, -ENOTDIR; -EEXIST: a file system of this subtype ("sealedfs") is mounted there; -errno.
 */
int mount_point_open(const char *at, bool make, const char *subtype, int *ret_fd, char **ret_path,
		     struct error *err);
/*
 * Removes a mount of this subtype whose daemon has ended. 0 also if there is none. -EINVAL: another
 * type; -EEXIST: its daemon runs; -errno.
 */
int mount_point_remove_dead(const char *at, const char *subtype, struct error *err);
/* Removes the mount at an absolute path, lazily; if this process may not, by the set-uid
 * fusermount3. -EPERM: neither may; -errno. */
int mount_point_detach(const char *at);

#endif
