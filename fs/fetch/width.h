/*
 * width.h: how many parallel requests to send to a server, from the measured goodput: more while
 * that raises the goodput, fewer after the server answers 503 SlowDown.
 *
 * Pure: no locks, no clock; times in milliseconds of any clock that only goes forward. The caller
 * guards it.
 */
#ifndef SEALEDFS_FETCH_WIDTH_H
#define SEALEDFS_FETCH_WIDTH_H

#include <stdbool.h>
#include <stdint.h>

/* One S3 connection delivers 85 to 90 MB/s, so this is some 5 Gbit/s; as a first guess it costs a
 * loaded server little. */
#define LINK_START 8
#define LINK_MAX 32
/* More requests must raise the rate by this many percent, or the step is undone. */
#define LINK_GAIN_PERCENT 5
/* The least content of an epoch for a valid measurement. */
#define LINK_EPOCH_MS 100
/* After a step without gain, this many epochs pass before the next step. */
#define LINK_HOLD_EPOCHS 20
/* A burst of refusals counts once. */
#define LINK_THROTTLE_MS 1000
/* No step is tried for this long after a refusal. */
#define LINK_CALM_MS 5000

struct link {
	unsigned limit; /* requests that may be in flight; at least 1 */
	unsigned limit_max;
	uint64_t epoch_start_ms, epoch_bytes;
	unsigned epoch_done; /* requests that ended in this epoch */
	unsigned epoch_busy; /* of them: when more waited because of the limit */
	uint64_t rate;	     /* bytes a second before the last step; 0: not known */
	unsigned stepped;    /* the last raise of the limit; 0: none */
	unsigned hold;	     /* epochs */
	bool throttled;
	uint64_t throttled_ms; /* the last refusal that counted */
};

/* limit_max: at most LINK_MAX counts. */
void link_init(struct link *l, unsigned limit_max);
/* A request has ended. busy: others waited because of the limit. */
void link_done(struct link *l, uint64_t bytes, bool busy, uint64_t now_ms);
/* The server has asked for fewer requests. */
void link_throttled(struct link *l, uint64_t now_ms);

#endif
