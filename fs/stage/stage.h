/*
 * stage.h: the staged extents of one folder, their sizes, and the order of eviction. Private to
 * fs/stage.
 *
 * The table in memory is a cache of the folder's names. A missing or damaged file is detected when
 * it is read, so a file can be removed without waiting for readers.
 *
 * Threads: any, except stage_store(). The lock is never held across a system call.
 */
#ifndef SEALEDFS_STAGE_STAGE_H
#define SEALEDFS_STAGE_STAGE_H

#include "crypto/base/error.h"
#include "fs/stage/extent.h"
#include "fs/stage/types.h"

#include <pthread.h>
#include <sys/queue.h>

/* The most extents in the table, about 100 bytes each. 8 TiB in whole extents. */
#define STAGE_EXTENTS_MAX ((size_t)1 << 20)

struct stage_extent {
	struct extent_key key; /* first */
	uint16_t chunks;       /* bit n: chunk n of the extent is in the file */
	bool touched;	       /* its file's time is of this process */
	uint64_t bytes;	       /* on the disk */
	TAILQ_ENTRY(stage_extent) use;
};

/* A payload that this process has been asked about; lives as long as the stage. */
struct stage_payload {
	uint64_t id, size;
	uint64_t waited_ms; /* guarded by the writer's lock */
	struct stage_payload *next;
};

struct stage {
	char *path;
	int dir_fd, lock_fd;
	stage_notice *notice;
	void *notice_arg;
	struct stage_counters counters;
	atomic_bool trouble_told;
	atomic_ullong paused_until_ms; /* nothing is written before */

	pthread_mutex_t lock;				/* guards what follows */
	void *extents;					/* tsearch() tree by key */
	TAILQ_HEAD(stage_extents, stage_extent) by_use; /* first: not used for longest */
	size_t count;
	uint64_t limit, used; /* bytes; used includes what is being written */
	struct stage_payload *payloads;
};

/* The state of some chunks of an extent at the time of stage_look(). */
struct stage_place {
	struct extent_key key;
	uint16_t chunks; /* of the whole extent; 0: these chunks are not here */
	bool touch;
};

/* Opens, locks and reads the folder; makes it fit size_bytes. */
int stage_open(const struct stage_options *options, struct stage **ret, struct error *err);
/* No call may be running. */
void stage_free(struct stage *s);

/* The payload of this id has this size: from now on it can be found. NULL: no memory. */
struct stage_payload *stage_attach(struct stage *s, uint64_t id, uint64_t size);
struct stage_payload *stage_payload_find(struct stage *s, uint64_t id);

/* How many of size bytes at offset have the same state: in one extent, and all staged or none. */
size_t stage_look(struct stage *s, const struct stage_payload *p, uint64_t offset, size_t size,
		  struct stage_place *ret);
/* A range that stage_look() found here. -errno: stage_drop() it. */
int stage_read(struct stage *s, const struct stage_place *at, uint64_t offset, size_t size,
	       uint8_t *buf);
/* Removes the extent, unless it has changed since stage_look(). */
void stage_drop(struct stage *s, const struct stage_place *at);
/* Writes whole chunks of one extent, unless they are here or there is no room for them; data as in
 * extent_add(). For one thread, the writer. */
void stage_store(struct stage *s, const struct stage_payload *p, uint64_t offset, size_t size,
		 uint8_t *data);
/* The disk is full or broken; it is not written to for a while. */
bool stage_is_paused(const struct stage *s);

DEFINE_CLEANUP(struct stage *, stage_free)

#endif
