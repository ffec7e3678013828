/*
 * keeper_process.h: the keeper's side: its mount, and its protocol. Others use keeper.h.
 *
 * One byte is a request, one struct the answer; a file descriptor comes with the answer to
 * KEEPER_MOUNT.
 */
#ifndef SEALEDFS_MOUNT_KEEPER_PROCESS_H
#define SEALEDFS_MOUNT_KEEPER_PROCESS_H

#include "crypto/base/error.h"

#include <stdbool.h>

/* The mount options for SELinux: context, fscontext, defcontext, rootcontext. */
#define KEEPER_LABELS 4
extern const char *const keeper_label_names[KEEPER_LABELS];

/* Always read-only, nosuid, nodev, noexec, noatime. */
struct keeper_mount {
	const char *path;    /* borrowed */
	bool make_directory; /* make the mount point if it is missing (its parent exists) */
	char *source;	     /* shown by df */
	const char *subtype; /* "sealedfs", for the type "fuse.sealedfs"; borrowed */
	bool allow_other;
	bool unconfined;
	const char *labels[KEEPER_LABELS]; /* values of keeper_label_names; borrowed, NULL: none */
};
void keeper_mount_clear(struct keeper_mount *what);

enum keeper_op { KEEPER_MOUNT = 1, KEEPER_PROBE, KEEPER_DETACH, KEEPER_FORGET };

struct keeper_answer {
	int code; /* 0 or negative errno */
	char text[512];
};

/* The program's arguments, before they are changed: the keeper overwrites them with its own name,
 * so that it is not mistaken for the daemon. */
void keeper_title_area(int argc, char *const *argv);
/* The keeper. fd: to the daemon; backing_fd: too, for keeper_backing.h; dir_fd: the mount point, by
 * O_PATH; what->path: absolute, for messages. Ends after the daemon has ended. */
_Noreturn void keeper_process(const struct keeper_mount *what, int fd, int backing_fd, int dir_fd);

#endif
