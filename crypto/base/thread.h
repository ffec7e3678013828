/*
 * thread.h: the one way to start a thread, and the error when no thread or process can be started.
 * All signals are blocked in a new thread, so that only the main thread handles them.
 */
#ifndef SEALEDFS_BASE_THREAD_H
#define SEALEDFS_BASE_THREAD_H

#include "crypto/base/error.h"

#include <pthread.h>

/* 0, or -ENOMEM with a hint. err may be NULL. The caller joins or detaches the thread. */
int thread_start(pthread_t *ret, void *(*run)(void *arg), void *arg, struct error *err);
/* For fork() that failed with this negative errno. Returns -ENOMEM. */
int error_no_process(struct error *err, int code);

#endif
