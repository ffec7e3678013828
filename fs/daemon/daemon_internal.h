/*
 * daemon_internal.h: the parts of a mount, and the steps that make them. For this room only.
 */
#ifndef SEALEDFS_DAEMON_DAEMON_INTERNAL_H
#define SEALEDFS_DAEMON_DAEMON_INTERNAL_H

#include "fs/daemon/reload.h"
#include "fs/fuse/session.h"
#include "fs/models/means.h"
#include "fs/service/notify.h"

struct daemon {
	const struct config *config;
	struct notify *notify; /* borrowed */
	struct life life;
	struct keeper *keeper; /* NULL: we may not mount; libfuse does it by fusermount3 */
	struct means means;
	struct residents *residents; /* NULL: resident=off */
	bool unstaged;		     /* the disk for copies is full */
	struct ops_context ops;
	struct mount *mount;
	int signal_fd; /* -1: signals are not blocked yet */
	struct reload *reload;
};

/* parts.c, in this order, after means_plan(). Owner keys, AWS, attestation, keys and source:
 * everything that may need root's files. */
int parts_open(struct daemon *d, struct error *err);
/* Makes the stage's directory for this user; NULL: this process's. */
int parts_make_stage_directory(struct daemon *d, const char *user, struct error *err);
/* Stage, read engine and catalog, as the user that the daemon is from now on. */
int parts_finish(struct daemon *d, struct error *err);

/* user.c: drops the privileges that are not needed any more, changes the user, and confines the
 * process. */
int daemon_drop_privileges(struct daemon *d, struct error *err);

/* open_models.c: reads the listing and does what the option ready= asks for, and waits for what is
 * not reachable yet as long as the option wait= allows. */
int daemon_open_models(struct daemon *d, struct error *err);

#endif
