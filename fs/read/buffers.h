/*
 * buffers.h: a fixed number of equal buffers, each holding one numbered piece of one file: chunks
 * of plaintext, or extents of ciphertext. The engine has one cache of each.
 *
 * Single flight: the first caller that pins a missing piece must load it; all others wait for that
 * load. Room: a caller that needs n buffers reserves n first, in one step, so that nobody holds a
 * buffer while waiting for another one, and a reserved pin never fails. Nothing here is held across
 * I/O: the lock guards tables only.
 *
 * A buffer without pins stays until its room is needed: first those whose bytes have all been
 * served (the most recently used first: it is still in the CPU's cache), then the least recently
 * used.
 * Threads: any.
 */
#ifndef SEALEDFS_BUFFERS_H
#define SEALEDFS_BUFFERS_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer_cache;

struct buffer {
	uint8_t *data; /* buffer_size bytes; written by the loader only, read once loaded */
	uint64_t index;
	size_t filled; /* bytes that hold data; set by the loader */
	bool offered;  /* background.c's; false for each new piece */
	/* The rest is private to buffers.c. */
	struct buffer_private *private;
};

/* count at least 2. Memory is mapped, not touched; locked, where the limit allows. */
int buffer_cache_new(size_t count, size_t buffer_size, struct buffer_cache **ret);
void buffer_cache_free(struct buffer_cache *c);
size_t buffer_cache_count(struct buffer_cache *c);
/*
 * Sets the number of buffers: at least 2 and at most the initial count. If it shrinks, memory is
 * released at once, or when it is unpinned.
 */
void buffer_cache_limit(struct buffer_cache *c, size_t count);
/* False: plaintext may reach swap. */
bool buffer_cache_is_locked(const struct buffer_cache *c);
/* Number of buffers that are pinned or reserved. */
size_t buffer_cache_reserved(struct buffer_cache *c);
/* Makes every wait, now and later, end with -ECANCELED. */
void buffer_cache_stop(struct buffer_cache *c);

/* Waits for room until deadline_ms (of monotonic_ms()); 0: does not wait, -EAGAIN. -ETIMEDOUT,
 * -ECANCELED. n must not exceed the count: else the wait cannot succeed. */
int buffer_cache_reserve(struct buffer_cache *c, size_t n, uint64_t deadline_ms);
void buffer_cache_unreserve(struct buffer_cache *c, size_t n);

/*
 * Pins piece `index` of `owner`, using up one reserved place until it is unpinned and unreserved.
 * *ret_load: the caller must fill it and call buffer_cache_loaded(). Never blocks, never NULL.
 */
struct buffer *buffer_cache_pin(struct buffer_cache *c, const void *owner, uint64_t index,
				bool *ret_load);
/* code 0 or negative; err (copied) is given to all waiters of this load. */
void buffer_cache_loaded(struct buffer_cache *c, struct buffer *b, int code,
			 const struct error *err);
/* 0 once loaded; the loader's error; -ETIMEDOUT; -ECANCELED if the load was abandoned or the
 * cache stopped. */
int buffer_cache_wait(struct buffer_cache *c, struct buffer *b, uint64_t deadline_ms,
		      struct error *err);
/* served: bytes of it that this pin has used up. */
void buffer_cache_unpin(struct buffer_cache *c, struct buffer *b, size_t served);
/* Forgets all pieces of owner; none may be pinned. */
void buffer_cache_forget(struct buffer_cache *c, const void *owner);

DEFINE_CLEANUP(struct buffer_cache *, buffer_cache_free)

#endif
