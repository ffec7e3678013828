/*
 * mount.h: one FUSE session, from mount(2) to unmount. The only user of libfuse's session calls.
 */
#ifndef SEALEDFS_MOUNT_H
#define SEALEDFS_MOUNT_H

#include "fs/keeper.h"
#include "fs/ops.h"

struct mount;

/* What keeper_start() is to mount for this configuration; to be cleared. -ENOMEM. */
int mount_plan(const struct config *config, struct keeper_mount *ret);
/*
 * Mounts; the kernel queues requests until mount_serve() starts to answer. keeper: mounts for us;
 * NULL: libfuse does it, by fusermount3 unless we are root. Blocks SIGINT, SIGTERM and SIGHUP in
 * the calling thread for mount_wait(). ops and keeper must outlive the mount; its session is set
 * here.
 */
int mount_start(const struct config *config, struct ops_context *ops, struct keeper *keeper,
		struct mount **ret, struct error *err);
/* Starts the threads that answer and returns when the root directory can be looked at. */
int mount_serve(struct mount *m, struct error *err);

enum mount_event {
	MOUNT_ENDED,	/* unmounted by somebody */
	MOUNT_STOP,	/* SIGINT or SIGTERM */
	MOUNT_HANGUP,	/* SIGHUP */
	MOUNT_READABLE, /* fd has something to say */
	MOUNT_TIMEOUT,
};
/* Waits for one of these; fd: -1 for none; timeout_ms: -1 for ever. */
enum mount_event mount_wait(struct mount *m, int fd, int timeout_ms);
/*
 * Takes the mount point away, from readers too; those still reading get errors. False: some
 * still hold files, and the threads that answer them run on: the process can only exit.
 */
bool mount_stop(struct mount *m);
void mount_free(struct mount *m);

DEFINE_CLEANUP(struct mount *, mount_free)

#endif
