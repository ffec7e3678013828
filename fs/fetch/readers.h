/*
 * readers.h: tracks the positions of readers. From the requested ranges it derives which parts of
 * which files are being read sequentially, and predicts each reader's next chunks. Prefetching,
 * decrypting ahead and filling the page cache all use this one tracker.
 *
 * Several readers may read one file, and the kernel's requests arrive slightly out of order, so
 * there is one table of streams, each a position in a file that moves forward. No clock, no I/O;
 * times are milliseconds of any monotonic clock. Positions are in chunks. Threads: any. Its lock
 * is taken last and held briefly.
 */
#ifndef SEALEDFS_FETCH_READERS_H
#define SEALEDFS_FETCH_READERS_H

#include "fs/fetch/payload.h"

#include <stdbool.h>
#include <stdint.h>

#define STREAMS_MAX 32
/* A range that starts this near a stream's end continues it: the kernel has up to 4 MiB of
 * readahead in flight. Behind it twice that: while one thread is slow to note its request, others
 * note later ones, up to the end of the kernel's next 4 MiB. */
#define STREAM_SLACK 8
#define STREAM_LATE 16
/* A reader is sequential after this many chunks in order, or after one request for more than one
 * chunk: the kernel sends those only for large reads or after a run of sequential reads. */
#define STREAM_RUN_MIN 4
/* A stream unused for this long gets no share of the room. */
#define STREAM_ACTIVE_MS 5000
/* A stream is considered abandoned after this many requests of others for its file without one of
 * its own: its queued fetches are not needed. A reader's readahead comes in bursts of 4. If there
 * were several readers before, they may only be taking turns. */
#define STREAM_LEFT_NOTES 4
#define STREAM_LEFT_NOTES_SEVERAL 128
/* Chunks ahead of a new stream; then four more for each chunk that it moves. A reader that begins
 * at the file's start with a big request is assumed to read all of it. */
#define STREAM_WINDOW_FIRST 32
#define STREAM_WINDOW_GROWTH 4
#define STREAM_RANGES_MAX 4
/* Decrypting ahead starts after this many chunks in requests of at least a chunk each. */
#define STREAM_DECRYPT_MIN 16
/* From a sequential reader's position: the kernel has up to 4 MiB of readahead there, with locked
 * pages. And how long a position remains valid. */
#define STREAM_DISTANCE 24
#define STREAM_NEAR_MS 2000

struct readers;

/* Result of readers_note() for one request. */
struct reader_note {
	uint64_t stream; /* of the reader; 0: not noted */
	bool background; /* no reader waits for it */
	bool jumped;	 /* it begins neither at 0 nor where a request of this file has ended */
	bool decrypt;	 /* its next chunks are available and should be decrypted ahead */
};

/* Ranges to prefetch for a reader, in this order. */
struct reader_plan {
	bool sequential;
	unsigned range_count;
	struct {
		uint64_t first, end; /* chunks */
	} ranges[STREAM_RANGES_MAX];
};

int readers_new(struct readers **ret);
void readers_free(struct readers *t);

/*
 * Notes a request for bytes offset … offset + size - 1 of p (size above 0, inside it). Once for
 * each READ. background: no reader waits; not noted if the ciphertext is available.
 */
void readers_note(struct readers *t, struct payload *p, uint64_t offset, uint64_t size,
		  uint64_t now_ms, bool background, struct reader_note *ret);
/* A reader will read all of p in order, from the start. */
void readers_expect(struct readers *t, struct payload *p, uint64_t now_ms);
/* Sets the map of p's inner structure; p owns it from here on. Once. */
void readers_set_map(struct readers *t, struct payload *p, struct gguf_map *map);
/* p has no readers any more. */
void readers_forget(struct readers *t, const struct payload *p);

/*
 * room: chunks that all streams may have in flight or unread. Nothing is planned for readers that
 * jump, or if there are so many streams that one extent for each is too much.
 */
void readers_plan(struct readers *t, uint64_t stream, uint64_t now_ms, uint64_t room,
		  struct reader_plan *ret);
/* The chunk after the furthest one requested by the reader that requested this chunk lately; 0:
 * none did. */
uint64_t readers_asked(struct readers *t, const struct payload *p, uint64_t chunk);
/* True: the stream is gone, or its reader has jumped elsewhere. */
bool readers_have_left(struct readers *t, uint64_t stream);
/* Number of chunks from this one on that are too near to readers to be pushed; 0: none. */
uint64_t readers_near(struct readers *t, const struct payload *p, uint64_t chunk, uint64_t now_ms);
/*
 * The next chunk to decrypt ahead, at most `distance` beyond its reader; of the eligible readers,
 * for the one with the latest request. Each chunk once. False: none.
 */
bool readers_decrypt_next(struct readers *t, uint64_t distance, struct payload **ret,
			  uint64_t *ret_chunk);

DEFINE_CLEANUP(struct readers *, readers_free)

#endif
