/*
 * clock.h: the time of day, and time for deadlines, which a change of the time of day does not
 * affect: milliseconds of CLOCK_MONOTONIC, and condition variables on that clock.
 */
#ifndef SEALEDFS_BASE_CLOCK_H
#define SEALEDFS_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>

/* Seconds since 1970. */
int64_t clock_now_s(void);

uint64_t monotonic_ms(void);
/* Sleeps that long; signals do not cut it short. */
void monotonic_pause(unsigned ms);
void monotonic_cond_init(pthread_cond_t *cond);
/* 0 or -ETIMEDOUT; may wake up early. The mutex is held before and after. */
int monotonic_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ms);

#endif
