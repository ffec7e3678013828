/*
 * life.h: signs of life. Counts requests and answers, and decides from them whether to report
 * "alive" (WATCHDOG=1) or "needs more time" (EXTEND_TIMEOUT_USEC) to the service manager. A running
 * timer alone is no sign of life.
 *
 * Threads: the atomic counters any; the rest one.
 */
#ifndef SEALEDFS_SERVICE_LIFE_H
#define SEALEDFS_SERVICE_LIFE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A read that waits for the network ends within this time, with or without success; if not,
 * something hangs. Twice the deadline of a request: a chunk that fails its check is fetched once
 * more. */
#define LIFE_STUCK_MS 240000

struct life {
	atomic_ullong started;	/* requests for data */
	atomic_ullong finished; /* requests that were answered */
	atomic_ullong events;	/* other progress, such as a failed attempt */

	uint64_t answers;	 /* of the source; the caller sets it before each check */
	unsigned long long seen; /* sum of finished, events and answers at the last check */
	uint64_t moved_ms;	 /* when that sum last changed, or no request was waiting */
	bool answered;		 /* the mount answered the last probe */
};

void life_start(struct life *l, uint64_t now_ms);
/* True if there was progress since the last check. */
bool life_has_moved(struct life *l, uint64_t now_ms);
/*
 * True if the daemon is alive. If no request waits for data, the mount must have answered the last
 * probe. If one does, every thread may be blocked on the network; then there must have been
 * progress within LIFE_STUCK_MS.
 */
bool life_is_good(struct life *l, uint64_t now_ms);

#endif
