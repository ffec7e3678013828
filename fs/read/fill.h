/*
 * fill.h: models put into the kernel's page cache ahead of their readers, by threads of its own.
 *
 * A push waits for pages that a READ under way has locked, so no thread that answers a READ may
 * push, and nothing that a READ waits for is held while pushing but one buffer. Filling keeps a
 * distance to where readers are, stops when memory ends (room.h), when the file is poisoned, when
 * the kernel does not know the file, and for good on fill_stop().
 *
 * The same threads look into a model's header once for the order of its tensors (gguf_map.h).
 * Threads: any.
 */
#ifndef SEALEDFS_FILL_H
#define SEALEDFS_FILL_H

#include "fs/read/read.h"

/*
 * fill=auto: only for sources that are far away, once so much of a model was read that it is more
 * than a look at its header, and only while no reader has asked for anything for a moment. A reader
 * that keeps the link or the processors busy by itself is not disturbed; one that computes or
 * jumps finds the pages there. Local files are left alone: pushing beside reading was slower than
 * reading (2 cores: 1.0 to 1.6 GB/s against 1.75).
 */
#define FILL_AUTO_READ_BYTES (UINT64_C(16) << 20)
#define FILL_AUTO_PAUSE_MS 5
/* fill=all works at once, with so many threads: one pushes some 1.2 GB/s. */
#define FILL_THREADS_MAX 2
/* From a reader's place: the kernel has up to 4 MiB of readahead there, and locked. */
#define FILL_DISTANCE_CHUNKS 24
/* How long a place counts. */
#define FILL_PLACE_MS 2000
#define FILL_PLACES 8
/* Left free for the daemon's own buffers and for others. */
#define FILL_MARGIN ((uint64_t)64 << 20)
/* How often memory is looked at, and how soon again when it has ended. */
#define FILL_ROOM_MS 100
#define FILL_FULL_MS 1000

struct fill;

/* What fill.c keeps of each file; part of struct read_file. Guarded by the lock of fill.c. */
struct fill_file {
	struct read_file *next;
	bool listed;
	bool wanted;		/* to be filled */
	unsigned introductions; /* how often the kernel was made to look it up */
	bool map_wanted, map_tried;
	bool ended;	/* fill_forget() waits */
	unsigned users; /* threads at work on it */
	uint8_t *held;	/* bit of each chunk that the kernel was given */
	uint64_t held_count, cursor;
	uint64_t read_bytes;
	uint64_t last_end; /* of the last request */
	struct {
		uint64_t chunk, ms;
	} places[FILL_PLACES];
	unsigned place;
};

/* options and engine must outlive it. Threads are started when there is something to do. */
int fill_new(struct read_engine *e, const struct read_engine_options *options, struct fill **ret);
void fill_free(struct fill *t);
/* No push begins any more. */
void fill_stop(struct fill *t);
/* False: after wait_ms a thread is still at work. */
bool fill_idle(struct fill *t, unsigned wait_ms);

/* Somebody has opened the file: from now on the kernel knows it. */
void fill_opened(struct fill *t, struct read_file *f);
/* A reader asks for this range. True: it does not go on where the last one ended, so the rest of
 * its chunk may be offered to rest.h. */
bool fill_note(struct fill *t, struct read_file *f, uint64_t offset, uint64_t size);
/* Hands a checked chunk to the kernel, if there is room; for the flat pass. False: no more. */
bool fill_chunk(struct fill *t, struct read_file *f, uint64_t index, const uint8_t *data,
		size_t size);
/*
 * The same for a chunk of which a reader that jumps about wanted a little: only as long as the
 * whole file has room beside what is there. Else what nobody may ask for would drive out what
 * others use.
 */
bool fill_rest(struct fill *t, struct read_file *f, uint64_t index, const uint8_t *data,
	       size_t size);
/* Nothing of f is in work any more when this returns. */
void fill_forget(struct fill *t, struct read_file *f);

DEFINE_CLEANUP(struct fill *, fill_free)

#endif
