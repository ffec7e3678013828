/*
 * launch.h: background start. The command returns when the mount is ready, or with the daemon's
 * exit code if it failed.
 *
 * The child keeps standard error, working directory and session until it is ready: its messages
 * reach the terminal, relative paths work, and Ctrl-C ends both.
 */
#ifndef SEALEDFS_LAUNCH_H
#define SEALEDFS_LAUNCH_H

#include "crypto/base/error.h"

#include <stdbool.h>

struct launch {
	int report_fd; /* -1 in the foreground */
};

/* In the background: forks, and the parent does not return. Before the first thread. */
int launch_start(struct launch *l, bool foreground, struct error *err);
/* Lets the parent end. -EPIPE: the parent has ended already, so the mount must end, too. */
int launch_ready(struct launch *l);
/* Passes the exit code to the parent; the caller then exits with it. */
void launch_failed(struct launch *l, enum exit_code code);

#endif
