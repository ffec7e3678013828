/*
 * stage.h: the copies in one folder: which there are, how much room they take, who uses them.
 * Private to fs/source.
 *
 * Threads: any. The lock is never held across a read, a write or the origin.
 */
#ifndef SEALEDFS_SOURCE_STAGE_H
#define SEALEDFS_SOURCE_STAGE_H

#include "fs/source/stage_file.h"
#include "fs/source/staged.h"

struct stage_writer;

struct stage {
	char *path;
	int dir_fd, lock_fd;
	stage_notice *notice;
	void *notice_arg;
	struct stage_counters counters;
	struct stage_writer *writer;
	pthread_mutex_t attach_lock; /* one object at a time is looked up or made */
	atomic_bool trouble_told;
	atomic_ullong paused_until_s; /* of CLOCK_MONOTONIC: nothing is written before */

	pthread_mutex_t lock; /* guards what follows, and the files' fields */
	struct stage_file **files;
	size_t count;
	uint64_t limit, used; /* bytes */
	uint64_t tick;
};

/* Opens, locks and reads the folder; makes it fit size_bytes. */
int stage_open(const struct stage_options *options, struct stage **ret, struct error *err);
/* No call may be under way. */
void stage_free(struct stage *s);

/*
 * The object is there in this version: from now on it can be acquired. A copy of another version
 * goes. Failure only means that it is not staged.
 */
void stage_attach(struct stage *s, const char *label, const char *version, uint64_t size);
/* NULL: not staged. */
struct stage_file *stage_acquire(struct stage *s, const char *label, const char *version);
void stage_hold(struct stage *s, struct stage_file *f);
void stage_release(struct stage *s, struct stage_file *f);

/*
 * How many of size bytes at offset are alike, and whether they are here. Those that are stay until
 * stage_unpin() with the same range; they never reach beyond one extent.
 */
size_t stage_pin(struct stage *s, struct stage_file *f, uint64_t offset, size_t size,
		 bool *ret_present);
void stage_unpin(struct stage *s, struct stage_file *f, uint64_t offset);
/* Chunks that turned out to be bad are not here any more. After too many of them, nothing is
 * that an earlier process has left. */
void stage_distrust(struct stage *s, struct stage_file *f, uint64_t offset, size_t size);
/* Writes whole chunks of one extent, unless they are here or there is no room for them; data as in
 * stage_file_write(). For the writer. */
void stage_store(struct stage *s, struct stage_file *f, uint64_t offset, size_t size,
		 uint8_t *data);

/* stage_room.c. The first three under the lock, which is given up while blocks are given back. */
/* False: there is no room, and none can be made without the extents of f (NULL: no exception). */
bool stage_reserve(struct stage *s, const struct stage_file *f, uint64_t bytes);
/* Takes f out of the table, its files out of the folder. */
void stage_detach(struct stage *s, struct stage_file *f);
void stage_free_if_unused(struct stage *s, struct stage_file *f);
/* The disk is full or broken: tells the operator once, and leaves it alone for a while. Without
 * the lock. */
void stage_trouble(struct stage *s, int code);
bool stage_is_paused(struct stage *s);

/* stage_folder.c */
int stage_folder_open(const char *path, int *ret_dir_fd, int *ret_lock_fd, struct error *err);
/* Every copy in the folder; what is none and has such a name is removed. */
int stage_folder_scan(struct stage *s);

DEFINE_CLEANUP(struct stage *, stage_free)

#endif
