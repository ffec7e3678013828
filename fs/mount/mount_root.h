/*
 * mount_root.h: from a path that a user names to the root of a mount of ours, or a clear refusal.
 *
 * What a model is called and what is in it proves nothing: a folder may hold a file
 * ".sealedfs/status.json", too. So the kernel is asked which mount a descriptor belongs to (its
 * mount id, and mountinfo's entry of that id: proc(5)), of which type that is ("fuse.sealedfs"),
 * and whether it is mounted whole; and then the daemon, by an extended attribute that it gives its
 * root directory only and no model can have. A user who may mount FUSE file systems can still
 * imitate all of that: what is read from a mount is validated by whoever reads it.
 */
#ifndef SEALEDFS_MOUNT_ROOT_H
#define SEALEDFS_MOUNT_ROOT_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

#define MOUNT_TYPE "fuse.sealedfs"
/* Of the root: "COUNT ok" or "COUNT failed MESSAGE": how many reloads have ended, and how the last
 * one did. */
#define MOUNT_ATTRIBUTE "user.sealedfs.listing"
#define MOUNT_ATTRIBUTE_MAX 2048
/* Of the root: begins a reload, and returns the count that MOUNT_ATTRIBUTE has when it is over. For
 * root and the daemon's own user, else EPERM. EAGAIN: not now. */
#define MOUNT_IOCTL_RELOAD _IOR(0xF5, 1, uint32_t)

/* Of an open model: how far it is resident (sealedfs(8), option resident). EOPNOTSUPP:
 * resident=off. */
enum mount_residency_state {
	MOUNT_NOT_RESIDENT, /* the report has the reason */
	MOUNT_WAITING,
	MOUNT_FILLING,
	MOUNT_RESIDENT,
	MOUNT_LEAVING,
};
struct mount_residency {
	uint32_t begin; /* 1: it shall be resident */
	uint32_t state; /* enum mount_residency_state; set by the answer, like the next */
	uint64_t bytes; /* in memory */
};
#define MOUNT_IOCTL_WARM _IOWR(0xF5, 2, struct mount_residency)
/* Of the root: models leave memory. For root and the daemon's own user, else EPERM. */
struct mount_eviction {
	uint64_t inode;	 /* 0: all */
	uint32_t in_use; /* leave when their last reader closes them; set by the answer, like the
			    next */
	uint32_t leaving;
	uint64_t bytes; /* of both, and of those that left now */
};
#define MOUNT_IOCTL_EVICT _IOWR(0xF5, 3, struct mount_eviction)

struct mount_root {
	int fd;	      /* the root directory, open for reading */
	char *path;   /* where it is mounted */
	uint64_t ino; /* of the file that was named; 0: the root was */
};

/*
 * path: the mount point. With may_be_file, also a file in the mount. The caller clears *ret also
 * after an error. -EINVAL: it is no mount of ours, or a part of one (the hint names the mount
 * point); -EHOSTUNREACH: its daemon is gone; -errno.
 */
int mount_root_open(const char *path, bool may_be_file, struct mount_root *ret, struct error *err);
void mount_root_clear(struct mount_root *r);
/* Opens a name below the root, O_CLOEXEC: without symbolic links, "..", or another mount. -errno.
 */
int mount_root_open_below(const struct mount_root *r, const char *name, int flags);
/* MOUNT_ATTRIBUTE's value, NUL-terminated. -errno. */
int mount_root_attribute(const struct mount_root *r, char out[MOUNT_ATTRIBUTE_MAX]);

#endif
