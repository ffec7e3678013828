/*
 * fetch.h: ciphertext for the read engine. A directory is read chunk by chunk. From S3 and similar
 * sources, a sequential reader gets runs of chunks, up to whole extents (one ranged GET of 8 MiB =
 * 16 chunks), and threads prefetch the next ones, as many at a time as raise the throughput
 * (width.h); other readers get single chunks. readers.h tracks the positions of readers.
 *
 * Extents stay in separate buffers until their chunks have been taken. Threads: any.
 */
#ifndef SEALEDFS_FETCH_FETCH_H
#define SEALEDFS_FETCH_FETCH_H

#include "fs/fetch/readers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct extent;
struct fetch;

/*
 * How long a reader waits for somebody else's fetch or load of its chunk, or for room. Above two
 * operations of the network layer (each ends within its own deadline, 120 s), so that the loader's
 * own error arrives first.
 */
#define FETCH_WAIT_MS 270000

/* extents: buffers of SEAL_EXTENT_SIZE, at least 2. readers must outlive it. */
int fetch_new(size_t extents, struct readers *readers, struct fetch **ret);
void fetch_free(struct fetch *t);
void fetch_stop(struct fetch *t);
/* Bytes of its buffers, and of those that are in use. */
void fetch_memory(struct fetch *t, size_t *ret_all, size_t *ret_used);

/*
 * Starts prefetching for the reader of the noted request. True: take whole extents. In the
 * background it uses only the bandwidth and buffers that readers leave free.
 */
bool fetch_ahead(struct fetch *t, struct payload *p, const struct reader_note *note);
/* Starts fetching the chunks that every reader of a model needs first: the file's first and
 * last. */
void fetch_ends(struct fetch *t, struct payload *p);
/* The origin has asked for fewer requests. */
void fetch_throttled(struct fetch *t);

struct fetched {
	const uint8_t *data;   /* the ciphertext of the chunk */
	struct extent *extent; /* that holds it; NULL: it was read into the caller's buffer */
	uint64_t index;
};
/*
 * Ciphertext of one chunk: from an extent that is ready or being fetched (or that this call fetches
 * if whole_extent), else read into buf. fresh: always from the origin into buf.
 */
int fetch_chunk(struct fetch *t, struct payload *p, uint64_t index, bool whole_extent, bool fresh,
		uint8_t *buf, struct fetched *ret, struct error *err);
void fetched_done(struct fetch *t, struct fetched *c, size_t size);

/* When this returns, no fetch of p is running, and none of its bytes are kept. */
void fetch_forget(struct fetch *t, struct payload *p);

DEFINE_CLEANUP(struct fetch *, fetch_free)

#endif
