/*
 * monotonic.h: time for deadlines: milliseconds of CLOCK_MONOTONIC, and condition variables on it.
 */
#ifndef SEALEDFS_MONOTONIC_H
#define SEALEDFS_MONOTONIC_H

#include <pthread.h>
#include <stdint.h>

uint64_t monotonic_ms(void);
void monotonic_cond_init(pthread_cond_t *cond);
/* 0 or -ETIMEDOUT; may wake up early. The mutex is held before and after. */
int monotonic_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ms);

#endif
