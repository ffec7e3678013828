/*
 * allowance.h: a byte budget that several parts of a program share. Code whose memory grows with
 * untrusted input takes the bytes before it allocates, so that a hostile or huge input is refused
 * with a message instead of getting the process killed.
 *
 * Counted: the bytes requested from malloc() and ALLOWANCE_OVERHEAD for each block. Threads: any.
 */
#ifndef SEALEDFS_BASE_ALLOWANCE_H
#define SEALEDFS_BASE_ALLOWANCE_H

#include "crypto/base/error.h"

#include <stdatomic.h>
#include <stddef.h>

/* What malloc() adds to a block, on average. */
#define ALLOWANCE_OVERHEAD ((size_t)16)

struct allowance {
	size_t limit; /* bytes */
	atomic_size_t used;
	/* Called after each change, from the thread that made it; may be NULL. */
	void (*changed)(void *arg);
	void *arg;
	/* Sets a hint: how to raise the limit to that size; may be NULL. */
	void (*advise)(size_t limit, void *arg, struct error *err);
	void *advise_arg;
};

/* 0, or -ENOBUFS if fewer bytes are left. a NULL: there is no limit. */
int allowance_take(struct allowance *a, size_t bytes);
/* Returns bytes that were taken. */
void allowance_give(struct allowance *a, size_t bytes);
size_t allowance_left(struct allowance *a);
/*
 * Sets the error after allowance_take() has failed: "WHAT needs 12.3 MB of memory, and 4.0 MB are
 * left", with the advice. Returns -ENOBUFS.
 */
int allowance_refuse(struct allowance *a, size_t bytes, struct error *err, const char *fmt, ...)
	_printf_(4, 5);

#endif
