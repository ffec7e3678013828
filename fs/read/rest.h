/*
 * rest.h: the rest of a chunk that a small request has made the daemon decrypt, given to the
 * kernel's page cache, so that the next request inside it needs neither the daemon nor the cipher.
 *
 * Whoever answers a READ only puts the chunk into a short queue after its answer; threads of this
 * file push (fill.h says why no other may). The queue holds pinned buffers, never so many that a
 * request could wait for them: with its threads at most REST_QUEUE_MAX + REST_THREADS, and a
 * quarter of all. When it is full, or there is no room in memory, the offer is declined and nothing
 * is lost but a push. Threads: any.
 */
#ifndef SEALEDFS_READ_REST_H
#define SEALEDFS_READ_REST_H

#include "fs/read/buffers.h"

struct read_engine;
struct read_file;
struct rest;

/* A request up to this size has left enough of a chunk. */
#define REST_REQUEST_MAX ((size_t)64 << 10)
#define REST_QUEUE_MAX 16
#define REST_THREADS 2
/* After a push that was refused, none is tried for so long. */
#define REST_REFUSED_MS 1000

int rest_new(struct read_engine *e, struct rest **ret);
void rest_free(struct rest *t);
/* What is queued is dropped, and no push begins any more. */
void rest_stop(struct rest *t);
/* False: after wait_ms a thread is still at work. */
bool rest_idle(struct rest *t, unsigned wait_ms);

/*
 * b is pinned and loaded, by a request that reserved one place for it. True: pin and place are
 * taken over. False: they stay the caller's. Never blocks.
 */
bool rest_offer(struct rest *t, struct read_file *f, struct buffer *b);
/* Nothing of f is queued or in work any more when this returns. */
void rest_forget(struct rest *t, const struct read_file *f);

DEFINE_CLEANUP(struct rest *, rest_free)

#endif
