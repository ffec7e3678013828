/*
 * clock.h: time for deadlines: milliseconds of CLOCK_MONOTONIC, and condition variables on it.
 */
#ifndef SEALEDFS_CLOCK_H
#define SEALEDFS_CLOCK_H

#include <pthread.h>
#include <stdint.h>

uint64_t clock_now_ms(void);
void clock_cond_init(pthread_cond_t *cond);
/* 0 or -ETIMEDOUT; may wake up early. The mutex is held before and after. */
int clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ms);

#endif
