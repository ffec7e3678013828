/*
 * round.h: one attempt at each of many things that wait for a network, several at a time.
 */
#ifndef SEALEDFS_MODELS_ROUND_H
#define SEALEDFS_MODELS_ROUND_H

#include "crypto/base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* What happens between two attempts. again(): after a failure, waits and returns true if another
 * attempt may succeed. */
struct round_pause {
	bool (*again)(void *arg, int code, const struct error *err);
	void *arg;
};

/* pause: NULL: there is no second attempt. */
static inline bool round_again(const struct round_pause *pause, int code, const struct error *err)
{
	return pause && pause->again(pause->arg, code, err);
}

/* True: what failed may succeed later without a change of the configuration: the network, a server
 * or a device is not there yet. */
bool round_may_pass(int code);

struct round {
	size_t count;
	/* Called under the lock. False: there is nothing to do for this index. */
	bool (*begin)(void *arg, size_t index);
	/* Called without the lock. 0 or negative errno with *err set. */
	int (*attempt)(void *arg, size_t index, struct error *err);
	/* Called under the lock. True: this is the round's failure. *stop: start no more attempts.
	 */
	bool (*end)(void *arg, size_t index, int code, struct error *err, bool *stop);
	void *arg;

	/* Of the round that ran last. */
	pthread_mutex_t lock; /* PTHREAD_MUTEX_INITIALIZER; guards what follows */
	size_t next;
	bool stop;
	size_t failed;	  /* the index whose failure is the round's; count: none */
	struct error err; /* of it, with its code */
};

/*
 * Attempts every index once. 0, or the failure that tells most: a refusal before one that may pass
 * by itself, then the lowest index. Also -ENOMEM and the like with failed == count: no thread.
 */
int round_run(struct round *r, struct error *err);

#endif
