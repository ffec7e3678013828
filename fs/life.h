/*
 * life.h: is this daemon getting anywhere? Counts what is asked and what is answered, and decides
 * from that whether the service manager is to be told that all is well (WATCHDOG=1) or that a start
 * goes on (EXTEND_TIMEOUT_USEC). A daemon that merely has a running timer tells nothing.
 *
 * Threads: the counters any; the rest one.
 */
#ifndef SEALEDFS_LIFE_H
#define SEALEDFS_LIFE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A read that waits for the network ends in this time, well or badly, or something hangs: twice the
 * deadline of a request, as what fails its check is fetched once more. */
#define LIFE_STUCK_MS 240000

struct life {
	atomic_ullong started;	/* requests for data */
	atomic_ullong finished; /* answered */
	atomic_ullong events;	/* anything else that shows progress, such as a failed attempt */

	uint64_t answers;	 /* of the source: set it before a look */
	unsigned long long seen; /* sum of finished and events at the last look */
	uint64_t moved_ms;	 /* when that changed last, or nothing was being waited for */
	bool answered;		 /* the mount answered the last probe */
};

void life_start(struct life *l, uint64_t now_ms);
/* True: something was done since the last look. */
bool life_has_moved(struct life *l, uint64_t now_ms);
/*
 * True: alive. While nobody waits for data, the mount answers from outside. While somebody does,
 * all threads may be waiting for a silent network with them; then something has to move in the time
 * that a request may take.
 */
bool life_is_good(struct life *l, uint64_t now_ms);

#endif
