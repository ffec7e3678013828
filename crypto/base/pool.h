/*
 * pool.h: a bounded set of threads that run jobs in the order given. Threads start on demand.
 * A job must not wait for another job of the same pool.
 */
#ifndef SEALEDFS_POOL_H
#define SEALEDFS_POOL_H

#include "crypto/base/error.h"

/* How many CPUs this process may use (its affinity mask, so taskset and cpusets count); 1 or more.
 */
unsigned cpu_count(void);

struct pool;

int pool_new(unsigned threads_max, struct pool **ret);
/* Starts the first thread now: from then on a job that is given will run. */
int pool_start(struct pool *p, struct error *err);
/* Runs all queued jobs, then returns. pool_submit() must not be called any more. */
void pool_free(struct pool *p);
/* 0; -ENOMEM: the job will not run. */
int pool_submit(struct pool *p, void (*run)(void *arg), void *arg);

DEFINE_CLEANUP(struct pool *, pool_free)

#endif
