/*
 * launch.h: going to the background, so that whoever starts sealedfs returns only when the mount
 * is ready, with the daemon's own exit code when it is not.
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

/* Background: forks; the parent does not return. Threads must not exist yet. */
int launch_start(struct launch *l, bool foreground, struct error *err);
/* Lets the parent end. -EPIPE: it is gone, and so should be the mount. */
int launch_ready(struct launch *l);
/* Passes on the exit code; the caller then exits with it. */
void launch_failed(struct launch *l, enum exit_code code);

#endif
