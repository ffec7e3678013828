/*
 * process.h: about the process behind a request.
 */
#ifndef SEALEDFS_PROCESS_H
#define SEALEDFS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* True when the thread has a SIGKILL pending, as every thread of a process that a signal is
 * ending has. False when unknown. */
bool process_is_dying(pid_t tid);

#endif
