/*
 * pool.h: a bounded set of threads that run jobs in the order given. Threads start on demand.
 * A job must not wait for another job of the same pool.
 */
#ifndef SEALEDFS_POOL_H
#define SEALEDFS_POOL_H

#include "crypto/base/cleanup.h"

struct pool;

int pool_new(unsigned threads_max, struct pool **ret);
/* Runs what is queued to its end, then returns. No pool_submit() may come any more. */
void pool_free(struct pool *p);
/* 0; -ENOMEM or -EAGAIN: the job will not run. */
int pool_submit(struct pool *p, void (*run)(void *arg), void *arg);
/* Only if a thread can begin at once, else -EBUSY. */
int pool_submit_idle(struct pool *p, void (*run)(void *arg), void *arg);

DEFINE_CLEANUP(struct pool *, pool_free)

#endif
