/*
 * fetch.h: ciphertext for the read engine. A directory is read chunk by chunk. From S3 and what is
 * like it a sequential reader gets runs of chunks, up to whole extents (one ranged GET of 8 MiB =
 * 16 chunks), the next ones fetched ahead by threads, as many at a time as the link is worth
 * (link.h); others get single chunks.
 *
 * Extents lie in buffers of their own until their chunks have been taken. Threads: any.
 */
#ifndef SEALEDFS_FETCH_H
#define SEALEDFS_FETCH_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access;
struct extent;
struct fetch;
struct gguf_map;
struct read_file;

/* extents: buffers of SEAL_EXTENT_SIZE, at least 2. */
int fetch_new(size_t extents, struct fetch **ret);
void fetch_free(struct fetch *t);
void fetch_stop(struct fetch *t);
/* Bytes of its buffers, and of those that are in use. */
void fetch_memory(struct fetch *t, size_t *ret_all, size_t *ret_used);

/*
 * Notes what a reader wants (bytes, size above 0, inside the file) and starts fetching ahead of it.
 * True: take whole extents. background: nobody waits; it gets what readers leave of the link and of
 * the buffers.
 */
bool fetch_note(struct fetch *t, struct read_file *f, uint64_t offset, uint64_t size,
		bool background);
/* Somebody will read the whole file in order, from the start. */
void fetch_expect(struct fetch *t, struct read_file *f);
/* Starts fetching what every reader of a model looks at first: the file's first chunk and its
 * last. */
void fetch_ends(struct fetch *t, struct read_file *f);
/* What is known of the file's inside; owned by the file from here on. Once a file. */
void fetch_set_map(struct fetch *t, struct read_file *f, struct gguf_map *map);
/* The origin asks to be left alone. */
void fetch_throttled(struct fetch *t);

struct fetched {
	const uint8_t *data;   /* the ciphertext of the chunk */
	struct extent *extent; /* where it lies; NULL: it was read into the caller's buffer */
	uint64_t index;
};
/*
 * Ciphertext of one chunk: from an extent that is there or on its way (or that this call fetches
 * when whole_extent), else read into buf. fresh: always from the origin into buf.
 */
int fetch_chunk(struct fetch *t, struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
		uint8_t *buf, struct fetched *ret, struct error *err);
void fetched_done(struct fetch *t, struct fetched *c, size_t size);

/* No fetch of f is under way any more when this returns, and none of its bytes are kept. */
void fetch_forget(struct fetch *t, struct read_file *f);

DEFINE_CLEANUP(struct fetch *, fetch_free)

#endif
