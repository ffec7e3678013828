/*
 * staged.h: a source in front of another one that keeps what was read from it on a local disk:
 * ciphertext of payloads only. README.md says what is kept, for how long, and how it lies there.
 *
 * Listing, stat and everything but payloads are the origin's own: what exists, and in which
 * version, is decided there. A copy is used for exactly the name, version and size that it was made
 * of. Readers do not go at the speed of the disk (stage_writer.h), and a disk that is full or
 * broken is no error for them.
 */
#ifndef SEALEDFS_SOURCE_STAGED_H
#define SEALEDFS_SOURCE_STAGED_H

#include "fs/source/source.h"

#include <stdatomic.h>
#include <sys/types.h>

#define STAGE_SIZE_MIN ((uint64_t)16 << 20)
#define STAGE_MEMORY_MIN ((size_t)8 << 20)

/* Something that the operator should know. From any thread; few lines. */
typedef void stage_notice(void *arg, const char *text);

struct stage_options {
	const char *dir;     /* the user's alone; stage_make_directory() makes it */
	uint64_t size_bytes; /* of everything in it; 0: half of what is free or ours already */
	size_t memory_bytes; /* for what waits to be written; at least STAGE_MEMORY_MIN */
	stage_notice *notice;
	void *arg;
};

/* All since the start but staged_bytes and limit_bytes, which say how it is now. Read them with
 * atomic_load(); each is right by itself. */
struct stage_counters {
	atomic_ullong staged_bytes; /* on the disk, with indices */
	atomic_ullong limit_bytes;  /* stage-size */
	atomic_ullong hits;	    /* reads, and their bytes, that the stage answered */
	atomic_ullong hit_bytes;
	atomic_ullong misses; /* and those that went to the origin */
	atomic_ullong miss_bytes;
	atomic_ullong written_bytes;
	atomic_ullong evicted_bytes; /* to make room */
	atomic_ullong skipped_bytes; /* not staged: the disk was too slow, full or broken */
	atomic_ullong damaged;	     /* chunks whose copy was bad, and fetched again */
};

/*
 * Makes dir, with mode 0700 and for that user, if it is missing; its parent must exist. Before
 * privileges are dropped. -errno.
 */
int stage_make_directory(const char *dir, uid_t uid, gid_t gid, struct error *err);
/*
 * Puts a staged source in the place of *s, which becomes its origin and is freed with it.
 * -EINVAL: dir cannot be a stage; -EEXIST: another process has it; -errno. *s is then as it was.
 */
int source_stage(struct source **s, const struct stage_options *options, struct error *err);
/* NULL: not staged. Valid as long as s. */
const struct stage_counters *source_stage_counters(const struct source *s);

#endif
