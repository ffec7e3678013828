/*
 * keeper.h: a small process that may mount and unmount, so that the daemon, which talks to the
 * network and parses what comes from there, need not.
 *
 * It is started before anything secret is in memory, mounts one file system in one place, fixed
 * from the start, and takes it away when it is told to or when the daemon has ended, in whatever
 * way: a daemon killed by SIGKILL leaves no dead mount. It also asks the mount whether it answers:
 * from outside, as the daemon itself never must.
 *
 * Threads: keeper_start() before there are any; the rest by one thread at a time.
 */
#ifndef SEALEDFS_KEEPER_H
#define SEALEDFS_KEEPER_H

#include "crypto/base/error.h"

#include <stdbool.h>

struct keeper;

struct keeper_mount {
	const char *path;    /* borrowed */
	bool make_directory; /* make the mount point when it is missing (its parent exists) */
	char *source;	     /* what df shows */
	char *type;	     /* "fuse.sealedfs" */
	unsigned long flags; /* MS_* */
	bool allow_other;
};

/* Where the program's arguments are, before anybody has moved them: the keeper shows its own name
 * there, so that nobody takes it for the daemon. */
void keeper_title_area(int argc, char *const *argv);
void keeper_mount_clear(struct keeper_mount *what);

/*
 * Checks the mount point, takes a dead FUSE mount from it, and forks the keeper. Needs
 * privileges_can_mount(). -ENOENT, -ENOTDIR, -errno.
 */
int keeper_start(const struct keeper_mount *what, struct keeper **ret, struct error *err);
/* Mounts; *ret_fd is the connection (/dev/fuse). Requests wait until somebody answers there. */
int keeper_mount(struct keeper *k, int *ret_fd, struct error *err);
/* Returns when the mount has answered a request; the first time, raises its read-ahead too. */
int keeper_probe(struct keeper *k, struct error *err);
/* Sends the question of keeper_probe() only; keeper_fd() becomes readable with the answer. */
int keeper_ask(struct keeper *k);
int keeper_take_answer(struct keeper *k);
int keeper_fd(const struct keeper *k);
/* Takes the mount away from the name space; open files stay with those who have them. */
int keeper_detach(struct keeper *k, struct error *err);
/* Somebody else has unmounted: there is nothing left to take away. */
void keeper_forget(struct keeper *k);
/* Ends the keeper, which unmounts unless that is done. */
void keeper_free(struct keeper *k);

/*
 * Takes away a mount at path that a daemon left behind. 0 also where there is none; -EEXIST: its
 * daemon lives; -errno.
 */
int keeper_remove_dead_mount(const char *path, struct error *err);

DEFINE_CLEANUP(struct keeper *, keeper_free)

#endif
