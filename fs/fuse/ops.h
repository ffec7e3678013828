/*
 * ops.h: the FUSE low-level callbacks: from requests of the kernel to view, models and reads, and
 * back. Each request is answered exactly once. Writing fails with EROFS. names.c, files.c, xattr.c
 * and control.c have the callbacks.
 */
#ifndef SEALEDFS_FUSE_OPS_H
#define SEALEDFS_FUSE_OPS_H

#include "fs/config/config.h"
#include "fs/models/catalog.h"
#include "fs/models/late.h"
#include "fs/mount/keeper.h"
#include "fs/mount/mount_root.h"
#include "fs/resident/resident.h"
#include "fs/service/life.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>

/* The number of the loop's threads (session.c) that may read at once; more reads go to
 * more_readers. */
#define OPS_READS_IN_LOOP 24
#define OPS_MORE_READERS 64

/* Reading the listing again, on request through the mount. */
struct ops_reload {
	/* Begins one; *ret: its number, counted from 1. -EAGAIN: not possible now. */
	int (*begin)(void *arg, uint32_t *ret);
	/* Returns how many have ended; *ret: the error of the last one, with code 0 if it
	 * succeeded. */
	uint32_t (*look)(void *arg, struct error *ret);
	void *arg;
};

/* The session's user data. Everything but what is atomic, and `life`, is immutable once the loop
 * runs. */
struct ops_context {
	const struct config *config;
	struct catalog *catalog;
	struct fuse_session *session;		   /* for notifications */
	char *mountpoint;			   /* absolute; NULL: not known */
	struct life *life;			   /* counts reads */
	_Atomic(const struct ops_reload *) reload; /* NULL: not yet; borrowed */
	struct pool *more_readers;
	struct late *late;	    /* failed reads that wait for their answer */
	struct read_engine *engine; /* this and the next three: for the control directory */
	const struct source *source;
	struct allowance *kept;		     /* same; NULL: no limit */
	const struct aws *aws;		     /* NULL: none */
	int64_t started_s;		     /* since 1970 */
	atomic_uint_least64_t control_bytes; /* of its open files */
	struct residents *residents;	     /* NULL: resident=off */
	struct keeper *keeper;		     /* NULL: none */
	atomic_uint_least64_t init_request;  /* number of the kernel's first request; 0: answered */
	atomic_bool passthrough_offered;     /* by it */
	int begun_fd;			     /* an event for session.c: the session has begun */
	atomic_bool leaving;		     /* unmounting: reads fail from now on */
};

extern const struct fuse_lowlevel_ops sealedfs_ops;
extern const struct late_calls ops_late_calls; /* requests are fuse_req_t */

/* How models tell the kernel; c is borrowed. */
struct kernel_ops ops_kernel(struct ops_context *c);

#endif
