/*
 * supervise.h: what a service manager wants of a daemon while it starts and while it serves: signs
 * of life that mean something, and a status line that is true.
 */
#ifndef SEALEDFS_SUPERVISE_H
#define SEALEDFS_SUPERVISE_H

#include "fs/life.h"
#include "fs/mount.h"
#include "fs/status.h"

struct supervisor;

/* Everything is borrowed. source: may be NULL until supervise(). */
struct supervision {
	struct notify *notify;
	struct status *status;
	struct life *life;
	const struct source *source;
};

/*
 * While a start takes long, asks the manager for more time as long as something moves. Starts a
 * thread where a manager listens. *ret may be NULL.
 */
int supervise_start(const struct supervision *what, struct supervisor **ret);
void supervise_start_over(struct supervisor *s);

/*
 * The main thread of a mount that serves. Returns when the mount was taken away (true) or a signal
 * asks to end (false). keeper: NULL: nobody looks at the mount from outside.
 */
bool supervise(const struct supervision *what, struct mount *mount, struct keeper *keeper);

DEFINE_CLEANUP(struct supervisor *, supervise_start_over)

#endif
