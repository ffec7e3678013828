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

enum supervise_reason {
	SUPERVISE_END,	  /* the mount was taken away, or a signal asks to end */
	SUPERVISE_RELOAD, /* a signal asks to read the listing again */
};

/*
 * The main thread of a mount that serves; called again after each reload has begun. keeper: NULL:
 * nobody looks at the mount from outside.
 */
enum supervise_reason supervise(const struct supervision *what, struct mount *mount,
				struct keeper *keeper);

DEFINE_CLEANUP(struct supervisor *, supervise_start_over)

#endif
