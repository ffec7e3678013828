/*
 * types.h: options and counters of a stage, and its folder. Part of the room's interface
 * (staged.h).
 */
#ifndef SEALEDFS_STAGE_TYPES_H
#define SEALEDFS_STAGE_TYPES_H

#include "crypto/base/error.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STAGE_SIZE_MIN ((uint64_t)16 << 20)
#define STAGE_MEMORY_MIN ((size_t)8 << 20)

/* A message for the operator. From any thread; few lines. */
typedef void stage_notice(void *arg, const char *text);

struct stage_options {
	const char *dir;     /* the user's alone; stage_make_directory() makes it */
	uint64_t size_bytes; /* of everything in it; 0: half of the space that is free or ours */
	size_t memory_bytes; /* for data waiting to be written; at least STAGE_MEMORY_MIN */
	stage_notice *notice;
	void *arg;
};

/* All since the start, except staged_bytes and limit_bytes, which are current values. Read them
 * with atomic_load(); they are not a snapshot of one moment. */
struct stage_counters {
	atomic_ullong staged_bytes; /* blocks on the disk */
	atomic_ullong limit_bytes;  /* stage-size */
	atomic_ullong hits;	    /* reads, and their bytes, that the stage answered */
	atomic_ullong hit_bytes;
	atomic_ullong misses; /* and those that went to the origin */
	atomic_ullong miss_bytes;
	atomic_ullong written_bytes;
	atomic_ullong evicted_bytes; /* to make room */
	atomic_ullong skipped_bytes; /* not staged: the disk was too slow, full or broken */
	atomic_ullong damaged;	     /* chunks whose copy was bad; its extent was dropped */
};

/*
 * Makes dir, with mode 0700 and for that user, if it is missing; its parent must exist. Before
 * privileges are dropped. -errno.
 */
int stage_make_directory(const char *dir, uid_t uid, gid_t gid, struct error *err);

#endif
