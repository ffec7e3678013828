/*
 * serve_limits.h: how often the evidence endpoint answers, and to whom: a rate for all callers and
 * half of it for each one, and nonces that were really given out. Memory does not grow with
 * callers. Time is the caller's, in ms of any clock that does not go back. Threads: one at a time.
 */
#ifndef SEALEDFS_TOOLS_SERVE_LIMITS_H
#define SEALEDFS_TOOLS_SERVE_LIMITS_H

#include "crypto/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define SERVE_RATE_DEFAULT 120 /* answers in a minute */
#define SERVE_RATE_MAX 600
#define SERVE_CALLERS 256

/* Of callers whose numbers collide, one counts for the other. */
struct serve_rate {
	uint64_t interval_us;
	uint64_t seed;
	uint64_t all_us, caller_us[SERVE_CALLERS]; /* when the last answer is paid for */
};

/* per_minute: 1 to SERVE_RATE_MAX. Ten seconds' worth of answers, at least one, may come at once.
 */
void serve_rate_init(struct serve_rate *r, unsigned per_minute, uint64_t seed);
/* caller: bytes of its network address; size 0: not known, so only the rate for all counts.
 * Returns 0, or the seconds after which to ask again. */
unsigned serve_rate_take(struct serve_rate *r, const void *caller, size_t size, uint64_t now_ms);

#define SERVE_OWN_NONCE_SIZE 32
#define SERVE_OWN_NONCE_MS 60000
#define SERVE_USED_MAX ((size_t)2 * SERVE_RATE_MAX)

/* What is given out is not remembered: it carries its time and a MAC. What was used is. */
struct serve_nonces {
	uint8_t key[32]; /* random; no secret of anybody else hangs on it */
	struct {
		uint8_t nonce[SERVE_OWN_NONCE_SIZE];
		uint64_t end_ms; /* of the nonce; 0: unused */
	} used[SERVE_USED_MAX];
};

/* -EIO. */
int serve_nonces_init(struct serve_nonces *n);
int serve_nonce_make(struct serve_nonces *n, uint64_t now_ms, uint8_t out[SERVE_OWN_NONCE_SIZE]);
/* The nonce cannot be used again, whatever becomes of it. -EKEYREJECTED: it is not ours, too old,
 * or was used; -EBUSY: too many were used just now. */
int serve_nonce_use(struct serve_nonces *n, uint64_t now_ms, const uint8_t *nonce, size_t size,
		    struct error *err);

#endif
