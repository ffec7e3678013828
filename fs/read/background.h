/*
 * background.h: background work, picked by one function and done by one set of threads:
 *
 *   - chunks are decrypted ahead of sequential readers, if the ciphertext is available and the
 *     processor is the bottleneck. The processor is idle whenever a reader processes its data: the
 *     kernel requests no more than its readahead, and with O_DIRECT nothing. A chunk is started
 *     only while no reader waits for an answer, one at a time, so it delays a reader for at most
 *     the time of one chunk. It stays in the engine's buffers until the room is needed. A chunk
 *     that fails here is dropped: the reader that requests it gets the failure itself.
 *   - after a small request, the rest of its decrypted chunk is pushed into the page cache, so that
 *     the next request inside it needs neither the daemon nor the cipher. A thread that answers a
 *     READ only puts the chunk into a short queue after its answer. The queue holds pinned buffers,
 *     never so many that a request could wait for them: including those being pushed, at most
 *     REST_QUEUE_MAX + BACKGROUND_CREW, and a quarter of all. If it is full, or memory is short,
 *     the offer is declined; only a push is lost.
 *   - models are decrypted and pushed into the page cache (fill=).
 *   - a model's header is parsed once for the order of its tensors (gguf_map.h).
 *
 * The first two are for threads that never wait for a network, the others for threads that may.
 * Private to fs/read. Threads: any.
 */
#ifndef SEALEDFS_READ_BACKGROUND_H
#define SEALEDFS_READ_BACKGROUND_H

#include "fs/fetch/readers.h"
#include "fs/read/buffers.h"
#include "fs/read/read.h"

/*
 * fill=auto: only for remote sources, after more of a model than its header was read, and only
 * after a short pause in the readers' requests. A reader that keeps the link or the processors busy
 * is not disturbed; one that computes or jumps finds the pages in the cache. Local files are not
 * filled: pushing during reads was slower than reading (2 cores: 1.0 to 1.6 GB/s against 1.75).
 */
#define FILL_AUTO_READ_BYTES (UINT64_C(16) << 20)
#define FILL_AUTO_PAUSE_MS 5
/* Time until memory is checked again after it ran out. */
#define FILL_FULL_MS 1000
/* Threads of each kind. fill=all works at once, with all of its kind: one pushes some 1.2 GB/s. */
#define BACKGROUND_CREW 2
/* At most so many chunks are decrypted ahead of a reader, and half of the buffers. */
#define AHEAD_CHUNKS_MAX 32
/* A request up to this size has left enough of a chunk. */
#define REST_REQUEST_MAX ((size_t)64 << 10)
#define REST_QUEUE_MAX 16
/* After a push that was refused, none is tried for so long. */
#define REST_REFUSED_MS 1000

struct background;

/* engine, with its buffers, readers and page cache, must outlive it. Threads are started when there
 * is something to do; none decrypts ahead on a machine with one processor. */
int background_new(struct read_engine *e, const struct read_engine_options *options,
		   struct background **ret);
void background_free(struct background *t);
/* Starts no more work and drops the queue. */
void background_stop(struct background *t);
/* False: after wait_ms something is still being pushed. */
bool background_idle(struct background *t, unsigned wait_ms);

/* Somebody has opened the file: from now on the kernel knows it. */
void background_opened(struct background *t, struct read_file *f);
/* The mount shows f now. passed: a flat pass would have left it in the page cache. */
void background_shown(struct background *t, struct read_file *f, bool passed);
/* A reader has sent the request that was noted. */
void background_note(struct background *t, struct read_file *f, uint64_t offset, uint64_t size,
		     uint64_t now_ms, const struct reader_note *note);
/* Nobody waits for an answer now. */
void background_go(struct background *t);
/*
 * b is pinned and loaded, by a request that reserved one place for it; its rest may be pushed.
 * True: pin and place are taken over. False: they stay the caller's. Never blocks.
 */
bool background_offer(struct background *t, struct read_file *f, struct buffer *b);
/* What is queued is dropped: room is wanted. */
void background_drop(struct background *t);
/* Nothing of f is queued or in work any more when this returns, and no reader of it is known. */
void background_forget(struct background *t, struct read_file *f);

DEFINE_CLEANUP(struct background *, background_free)

#endif
