/*
 * signals.h: SIGINT, SIGTERM and SIGHUP, read from a descriptor. The daemon blocks them before it
 * starts its first thread, and threads inherit the mask: no thread is ever interrupted or ends the
 * process, whichever library starts it.
 */
#ifndef SEALEDFS_SIGNALS_H
#define SEALEDFS_SIGNALS_H

#include "crypto/base/error.h"

/* *ret_fd: a non-blocking descriptor, the caller's. */
int signals_block(int *ret_fd, struct error *err);
/* The number of the signal that arrived; 0: none. */
int signals_read(int fd);
/* Ends the process by this signal, so that its parent sees the cause: a shell ends its loop only if
 * its child died of SIGINT. */
_Noreturn void signals_die(int number);

#endif
