/*
 * breaker.h: ends a read that can never succeed.
 *
 * A page that is populated into a mapping (MAP_POPULATE, mlock) and answered with an error is
 * asked for again at once, some 60,000 times a second, for ever: the kernel's populate loop
 * ignores errors, and nothing but SIGKILL ends it. End of file does end it: the kernel takes the
 * file as that much shorter, and the process gets SIGBUS. So after BREAKER_ERRORS failed reads of
 * one offset within BREAKER_WINDOW_MS the file is cut there: reads at and after that offset give
 * 0 bytes. Ordinary readers see their error long before and never come so far.
 *
 * Two things make that safe. Nobody may open a cut file, so nobody new takes a short file for a
 * whole one. And the kernel keeps pages of zeros for what was answered with end of file; they are
 * out of reach only as long as it believes the shorter size. So every attribute must show that
 * size until those pages are gone: mending goes begin (no more end of file), forget the pages,
 * end (the size is whole again).
 *
 * A push of pages into the kernel's cache would make a file that was cut whole again. So pushes are
 * announced, none begins when reads of the file fail, and none is cut off by a cut.
 *
 * Threads: any. Time is passed in, in milliseconds of any clock that only goes forward.
 */
#ifndef SEALEDFS_BREAKER_H
#define SEALEDFS_BREAKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define BREAKER_ERRORS 1000
#define BREAKER_WINDOW_MS 1000

struct breaker {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t answered;
	uint64_t offset; /* of the failed reads that are being counted */
	uint64_t since_ms;
	unsigned errors;
	uint64_t end;  /* reads from here on get end of file; UINT64_MAX: none do */
	uint64_t size; /* what attributes must not exceed; at most `end` */
	unsigned answering;
	unsigned pushing;
};

void breaker_init(struct breaker *b);
void breaker_done(struct breaker *b);

/* True: answer a read at offset with end of file, then call breaker_answered(). */
bool breaker_is_cut(struct breaker *b, uint64_t offset);
/* The same after a read at offset failed: counts the failure first. */
bool breaker_error(struct breaker *b, uint64_t offset, uint64_t now_ms);
void breaker_answered(struct breaker *b);

/* False: no push may be made. After true, breaker_push_end(). */
bool breaker_push_begin(struct breaker *b);
void breaker_push_end(struct breaker *b);

/* UINT64_MAX: whole. */
uint64_t breaker_size(struct breaker *b);
/* Waits until no end of file is being answered; then pages from breaker_size() on must go. */
void breaker_mend_begin(struct breaker *b);
void breaker_mend_end(struct breaker *b);

#endif
