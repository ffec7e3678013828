/*
 * extents.h: a fixed number of buffers for ciphertext, each holding a run of chunks of one file:
 * at most an extent of it, and never across a border between extents, so that a request stays
 * inside one part of a multipart upload.
 *
 * A piece is queued (not being fetched yet), loading, or ready. Its users read from it or wait for
 * it. Eviction order: pieces never used, pieces used up, then the least recently requested. Pure
 * bookkeeping: no locks, no I/O; the caller guards it. The numbers are small, so every search is
 * linear.
 */
#ifndef SEALEDFS_FETCH_EXTENTS_H
#define SEALEDFS_FETCH_EXTENTS_H

#include "crypto/base/error.h"
#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXTENT_CHUNKS (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

/* The purpose of a piece: a waiting reader, a predicted request, or only the page cache. */
enum extent_purpose { EXTENT_DEMAND, EXTENT_AHEAD, EXTENT_FOR_FILL };

enum extent_state { EXTENT_FREE, EXTENT_QUEUED, EXTENT_LOADING, EXTENT_READY, EXTENT_FAILED };

struct extent {
	uint8_t *data; /* SEAL_EXTENT_SIZE */
	enum extent_state state;
	const void *file; /* not while free */
	uint64_t first;	  /* chunk */
	unsigned count;	  /* of chunks, 1 … EXTENT_CHUNKS */
	enum extent_purpose purpose;
	unsigned users;
	uint32_t taken;	 /* bit i: chunk first + i has been used */
	uint64_t order;	 /* queued: smaller goes first; else: when it was last used */
	uint64_t stream; /* for whom it is fetched ahead; 0: for a reader that waits */
	int code;	 /* of EXTENT_FAILED */
	struct error err;
};

struct extent_table {
	struct extent *extents;
	size_t count;
	uint64_t clock; /* counts uses */
	uint8_t *memory;
};

int extent_table_init(struct extent_table *t, size_t count);
void extent_table_done(struct extent_table *t);

/* The piece that holds this chunk or will; NULL. */
struct extent *extent_find(struct extent_table *t, const void *file, uint64_t chunk);
/* The first chunk from `first` on, below `end`, that no piece holds; end when there is none. */
uint64_t extent_gap(struct extent_table *t, const void *file, uint64_t first, uint64_t end);
/*
 * Makes room for chunks first … of file: up to `end`, the extent's border or the next piece,
 * whatever comes first. Chunk `first` must be in no piece. The new piece is queued, without users.
 * Only EXTENT_DEMAND evicts pieces that were fetched for a reader and not used yet, the oldest
 * first. NULL: no room.
 */
struct extent *extent_take(struct extent_table *t, const void *file, uint64_t first, uint64_t end,
			   enum extent_purpose purpose);
/* The queued piece that is first in order; NULL. */
struct extent *extent_next_queued(struct extent_table *t);
void extent_touch(struct extent_table *t, struct extent *e);
void extent_free(struct extent *e);
/* A ready piece is no longer needed: it may be evicted first. It can still be found. */
void extent_give_up(struct extent *e);
bool extent_is_used_up(const struct extent *e);

#endif
