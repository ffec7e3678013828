/*
 * serve.h: a daemon while it starts and while it serves: signals, signs of life and a current
 * status line for the service manager.
 */
#ifndef SEALEDFS_SUPERVISE_H
#define SEALEDFS_SUPERVISE_H

#include "fs/fuse/session.h"
#include "fs/models/catalog.h"
#include "fs/service/life.h"
#include "fs/service/notify.h"

struct supervisor;

/* Everything is borrowed. source: may be NULL until supervise(). */
struct supervision {
	struct notify *notify;
	struct life *life;
	const struct source *source;
	void (*tidy)(void *arg); /* called every few seconds while the mount serves */
	void *tidy_arg;
	struct catalog *catalog; /* its measurements are checked; NULL: nothing is measured */
};

/*
 * During the start: a thread that asks the service manager for more time as long as there is
 * progress, and ends the process on a signal (signal_fd: of signals_block(), borrowed).
 */
int supervise_start(const struct supervision *what, int signal_fd, struct supervisor **ret,
		    struct error *err);
void supervise_start_over(struct supervisor *s);

enum supervise_reason {
	SUPERVISE_END,	  /* unmounted, or a signal to end */
	SUPERVISE_RELOAD, /* a signal to read the listing again */
};

/*
 * The main thread while the mount serves; called again after each reload has begun. keeper: probes
 * the mount from outside; NULL: no probes.
 */
enum supervise_reason supervise(const struct supervision *what, struct mount *mount,
				struct keeper *keeper);

DEFINE_CLEANUP(struct supervisor *, supervise_start_over)

#endif
