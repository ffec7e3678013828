/*
 * keeper.h: a small process with the privilege to mount and unmount, so that the daemon, which
 * talks to the network and parses its data, needs none.
 *
 * It is started before there are secrets in memory, mounts one file system in one place that is
 * fixed from the start, and unmounts it on request or when the daemon has ended for any reason: a
 * daemon killed by SIGKILL leaves no dead mount. It also probes the mount from outside, which the
 * daemon itself must never do.
 *
 * Threads: keeper_start() before there are any; keeper_backing_*() any, also beside the others; the
 * rest by one thread at a time.
 */
#ifndef SEALEDFS_KEEPER_H
#define SEALEDFS_KEEPER_H

#include "fs/mount/keeper_process.h"

struct keeper;

/*
 * Checks the mount point as mount_point_open() does and forks the keeper. Needs
 * privileges_can_mount(). -ENOENT, -ENOTDIR, -errno.
 */
int keeper_start(const struct keeper_mount *what, struct keeper **ret, struct error *err);
/* Mounts; *ret_fd is the connection (/dev/fuse). Requests wait until the daemon answers there. */
int keeper_mount(struct keeper *k, int *ret_fd, struct error *err);
/* Returns when the mount has answered a request; the first time, raises its read-ahead too. */
int keeper_probe(struct keeper *k, struct error *err);
/* Sends the question of keeper_probe() only; keeper_fd() becomes readable with the answer. */
int keeper_ask(struct keeper *k);
int keeper_take_answer(struct keeper *k);
int keeper_fd(const struct keeper *k);
/* Detaches the mount from the name space; open files stay usable. */
int keeper_detach(struct keeper *k, struct error *err);
/*
 * FUSE passthrough: registers a memory file that is sealed against every change with the
 * connection; *ret, above 0, is what an open is answered with. -EPERM: this kernel or container
 * does not let the keeper do it.
 */
int keeper_backing_open(struct keeper *k, int connection, int fd, uint32_t *ret, struct error *err);
void keeper_backing_close(struct keeper *k, int connection, uint32_t id);
/* Already unmounted by someone else: the keeper has nothing to unmount. */
void keeper_forget(struct keeper *k);
/* Ends the keeper, which unmounts if that is not done yet. */
void keeper_free(struct keeper *k);

/* What to do if /dev/fuse is missing or cannot be opened. */
void keeper_hint_no_fuse(struct error *err);

DEFINE_CLEANUP(struct keeper *, keeper_free)

#endif
