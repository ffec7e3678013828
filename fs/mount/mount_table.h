/*
 * mount_table.h: this mount namespace's mounts, from /proc/self/mountinfo (proc(5)). Does not
 * call any file system, so that a dead one cannot block it.
 */
#ifndef SEALEDFS_MOUNT_TABLE_H
#define SEALEDFS_MOUNT_TABLE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define MOUNT_TABLE_DEVICE_SIZE 24
#define MOUNT_TABLE_TYPE_SIZE 64

struct mount_entry {
	char path[PATH_MAX];
	char device[MOUNT_TABLE_DEVICE_SIZE]; /* "major:minor", the file system's own */
	char type[MOUNT_TABLE_TYPE_SIZE];     /* as in "fuse.sealedfs" */
	uint64_t id;			      /* of the mount, in this name space */
	bool whole;			      /* false: a bind mount of a part of it */
	/* Of FUSE: who mounted it (user_id=), as the kernel or fusermount3 recorded it; UINT32_MAX:
	 * not said. */
	uint32_t user;
};

/* One line of that file, which is changed. False: it has another form, or is too long. */
bool mount_table_parse(char *line, struct mount_entry *ret);
/* The uppermost mount at an absolute path without symbolic links. -ENOENT: none. */
int mount_table_find(const char *path, struct mount_entry *ret);
/* Calls each() for every mount of this type. -errno; what each() returns below 0 ends it. */
int mount_table_each(const char *type, int (*each)(void *arg, const struct mount_entry *entry),
		     void *arg);
/* The mount with this id (/proc/PID/fdinfo). -ENOENT: none. */
int mount_table_find_id(uint64_t id, struct mount_entry *ret);
/*
 * Unmounts every mount of this device and type, lazily. Device numbers are reused, so with
 * only_dead a mount that answers belongs to someone else and stays. The mount itself is detached by
 * descriptor, never something that replaced it. 0 also if there is none; -EBUSY: another mount lies
 * over it, or its path keeps changing; -errno.
 */
int mount_table_detach(const struct mount_entry *what, bool only_dead);
/* The id of the mount that an open file lies in. -errno. */
int mount_id_of(int fd, uint64_t *ret);
/* Sets the readahead of the file system with this device, which is 128 KiB unless its own device
 * has another limit. If that cannot be set (/sys read-only), reads are only slower. -errno. */
int mount_raise_readahead(const char *device);
/* True if its daemon has ended. Calls the file system. */
bool mount_is_dead(const char *path);

#endif
