/*
 * session.h: one FUSE session, from mount(2) to unmount. The only user of libfuse's session calls.
 */
#ifndef SEALEDFS_FUSE_SESSION_H
#define SEALEDFS_FUSE_SESSION_H

#include "fs/fuse/ops.h"
#include "fs/mount/keeper.h"

struct mount;

/*
 * Mounts; the kernel queues requests until mount_serve() starts to answer. keeper: mounts for us;
 * NULL: libfuse does it, by fusermount3 unless we are root. signal_fd: of signals_block(), for
 * mount_wait(). ops, keeper and signal_fd must outlive the mount; its session is set here.
 */
int mount_start(const struct config *config, struct ops_context *ops, struct keeper *keeper,
		int signal_fd, struct mount **ret, struct error *err);
/* Starts as many answering threads as possible, and returns when the root directory can be read.
 * -ENOMEM: no thread could be started. */
int mount_serve(struct mount *m, struct error *err);

enum mount_event {
	MOUNT_ENDED,	/* unmounted from outside, or failed */
	MOUNT_STOP,	/* SIGINT or SIGTERM */
	MOUNT_HANGUP,	/* SIGHUP */
	MOUNT_READABLE, /* fd is readable */
	MOUNT_TIMEOUT,
};
/* Waits for one of these events. fd: -1: none; timeout_ms: -1: no timeout. */
enum mount_event mount_wait(struct mount *m, int fd, int timeout_ms);
/* True: mount_wait() got a SIGINT. */
bool mount_interrupted(void);
/* The error of a session that failed, for example without memory. */
int mount_result(const struct mount *m, struct error *err);
/* Removes the mount point; open files stay readable. True: no file was open any more within
 * wait_ms. */
bool mount_detach(struct mount *m, unsigned wait_ms);
/*
 * Removes the mount point and ends the session. False: files are still open, and the threads that
 * answer their readers still run: the process can only exit.
 */
bool mount_stop(struct mount *m);
void mount_free(struct mount *m);

DEFINE_CLEANUP(struct mount *, mount_free)

#endif
