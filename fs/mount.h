/*
 * mount.h: one FUSE session, from mount(2) to unmount. The only user of libfuse's session calls.
 */
#ifndef SEALEDFS_MOUNT_H
#define SEALEDFS_MOUNT_H

#include "fs/ops.h"

struct mount;

/*
 * Mounts; the kernel queues requests until mount_serve() starts to answer. Blocks SIGINT, SIGTERM
 * and SIGHUP in the calling thread for mount_wait(). ops must outlive the mount; its session is
 * set here.
 */
int mount_start(const struct config *config, struct ops_context *ops, struct mount **ret,
		struct error *err);
/* Starts the threads that answer and returns when the root directory can be looked at. */
int mount_serve(struct mount *m, struct error *err);
/* Returns when the mount point was unmounted (true) or a signal asks to end (false). */
bool mount_wait(struct mount *m);
/*
 * Takes the mount point away, from readers too; those still reading get errors. False: some
 * still hold files, and the threads that answer them run on: the process can only exit.
 */
bool mount_stop(struct mount *m);
void mount_free(struct mount *m);

DEFINE_CLEANUP(struct mount *, mount_free)

#endif
