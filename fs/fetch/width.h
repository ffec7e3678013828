/*
 * link.h: how many requests to keep under way at a server, from what they bring: more as long as
 * that raises the goodput, fewer when the server says that it is too much (503 SlowDown).
 *
 * Pure: no locks, no clock; times in milliseconds of any clock that only goes forward. The caller
 * guards it.
 */
#ifndef SEALEDFS_LINK_H
#define SEALEDFS_LINK_H

#include <stdbool.h>
#include <stdint.h>

/* 85 to 90 MB/s come by one connection of S3, so this is some 5 Gbit/s, and what a first guess
 * costs a server that is loaded is little. */
#define LINK_START 8
#define LINK_MAX 32
/* More requests must bring this much more, in percent, or they go again. */
#define LINK_GAIN_PERCENT 5
/* What an epoch must hold at least to be believed. */
#define LINK_EPOCH_MS 100
/* After a step that brought nothing, so many epochs pass before the next one is tried. */
#define LINK_HOLD_EPOCHS 20
/* A burst of refusals counts once. */
#define LINK_THROTTLE_MS 1000
/* Nothing is tried so soon after a refusal. */
#define LINK_CALM_MS 5000

struct link {
	unsigned limit; /* requests that may be under way; at least 1 */
	unsigned limit_max;
	uint64_t epoch_start_ms, epoch_bytes;
	unsigned epoch_done; /* requests that ended in this epoch */
	unsigned epoch_busy; /* of them: when more waited because of the limit */
	uint64_t rate;	     /* bytes a second before the last step; 0: not known */
	unsigned stepped;    /* by so much was the limit raised last; 0: it was not */
	unsigned hold;	     /* epochs */
	bool throttled;
	uint64_t throttled_ms; /* the last refusal that counted */
};

/* limit_max: at most LINK_MAX counts. */
void link_init(struct link *l, unsigned limit_max);
/* A request has ended. busy: others waited because of the limit. */
void link_done(struct link *l, uint64_t bytes, bool busy, uint64_t now_ms);
/* The server asks to be left alone. */
void link_throttled(struct link *l, uint64_t now_ms);

#endif
