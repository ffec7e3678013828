/*
 * folder.h: the folder of a stage, apart from its extents. Private to fs/stage.
 */
#ifndef SEALEDFS_STAGE_FOLDER_H
#define SEALEDFS_STAGE_FOLDER_H

#include "crypto/base/error.h"
#include "fs/stage/extent.h"

/* Checks that nobody else can change the folder, and that no other process uses it. -EINVAL,
 * -EEXIST, -errno. */
int folder_open(const char *path, int *ret_dir_fd, int *ret_lock_fd, struct error *err);

struct folder_entry {
	struct extent_key key;
	uint16_t chunks;
	uint64_t bytes;	 /* on the disk */
	int64_t used_ns; /* when it was last written or touched */
};
/*
 * The extents in the folder, the least recently used first; at most count_max. Removes all unusable
 * files with an extent's name, leftovers of an interrupted write, and files of an older version;
 * *ret_removed is their number. Other files stay. *ret is malloc()ed.
 */
int folder_list(int dir_fd, size_t count_max, struct folder_entry **ret, size_t *ret_count,
		size_t *ret_removed);

#endif
