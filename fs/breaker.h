/*
 * breaker.h: ends a read that can never succeed.
 *
 * A page that is populated into a mapping (MAP_POPULATE, mlock) and answered with an error is
 * asked for again at once, some 60,000 times a second, for ever: the kernel's populate loop
 * ignores errors, and nothing but SIGKILL ends it. End of file does end it: the kernel takes the
 * file as that much shorter, and the process gets SIGBUS. So after BREAKER_ERRORS failed reads of
 * one offset within BREAKER_WINDOW_MS the file is cut there: reads at and after that offset give
 * 0 bytes. Ordinary readers see their error long before and never come so far. A cut file must not
 * be opened again before the cut is undone, so that nobody new takes a short file for a whole one.
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
	uint64_t offset;      /* of the failed reads that are being counted */
	uint64_t since_ms;
	unsigned errors;
	uint64_t cut; /* UINT64_MAX: whole */
};

void breaker_init(struct breaker *b);
void breaker_done(struct breaker *b);
/* A read at offset failed. True: answer it with end of file. */
bool breaker_error(struct breaker *b, uint64_t offset, uint64_t now_ms);
/* True: offset lies behind the cut. */
bool breaker_is_cut(struct breaker *b, uint64_t offset);
/* Makes the file whole again; true when it was cut. */
bool breaker_reset(struct breaker *b);

#endif
