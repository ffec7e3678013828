/*
 * mount_table.h: this mount namespace's mounts, from /proc/self/mountinfo (proc(5)). Asks no file
 * system, so that a dead one cannot hang it.
 */
#ifndef SEALEDFS_MOUNT_TABLE_H
#define SEALEDFS_MOUNT_TABLE_H

#include <limits.h>
#include <stdbool.h>

#define MOUNT_TABLE_DEVICE_SIZE 24
#define MOUNT_TABLE_TYPE_SIZE 64

struct mount_entry {
	char path[PATH_MAX];
	char device[MOUNT_TABLE_DEVICE_SIZE]; /* "major:minor", the file system's own */
	char type[MOUNT_TABLE_TYPE_SIZE];     /* as in "fuse.sealedfs" */
};

/* One line of that file, which is changed. False: it has another form, or is too long. */
bool mount_table_parse(char *line, struct mount_entry *ret);
/* The uppermost mount at an absolute path without symbolic links. -ENOENT: none. */
int mount_table_find(const char *path, struct mount_entry *ret);
/*
 * Takes every mount of this device and type away (lazily). Device numbers are given anew, so with
 * only_dead a mount that answers is another's and stays. 0 also when there was none; -errno.
 */
int mount_table_detach(const struct mount_entry *what, bool only_dead);
/* True: nobody answers there any more. Asks the file system. */
bool mount_is_dead(const char *path);

#endif
