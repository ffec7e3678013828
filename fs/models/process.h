/*
 * process.h: about the process behind a request.
 */
#ifndef SEALEDFS_MODELS_PROCESS_H
#define SEALEDFS_MODELS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* True: the thread has a SIGKILL pending, like every thread of a process that a signal ends. False
 * if unknown. */
bool process_is_dying(pid_t tid);
/* False: no process has this number. True for 0, which means unknown. */
bool process_is_there(pid_t pid);
/* The process that the thread belongs to; the thread's own number when unknown. */
pid_t process_of_thread(pid_t tid);

#endif
