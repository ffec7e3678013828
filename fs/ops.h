/*
 * ops.h: the FUSE low-level callbacks: from requests of the kernel to view, models and reads, and
 * back. Every callback answers each request exactly once. Writing is always EROFS.
 */
#ifndef SEALEDFS_OPS_H
#define SEALEDFS_OPS_H

#include "fs/catalog.h"
#include "fs/config.h"
#include "fs/life.h"

#include <fuse_lowlevel.h>
#include <stdatomic.h>

/* The session's user data. Everything but what is atomic, and `life`, is immutable once the loop
 * runs. */
struct ops_context {
	const struct config *config;
	struct catalog *catalog;
	struct fuse_session *session; /* for notifications */
	struct life *life;	      /* counts reads */
	atomic_uint reloads;	      /* that ended; and how the last one did */
	atomic_bool reload_failed;
	atomic_bool leaving; /* unmounting: reads fail from now on */
};

extern const struct fuse_lowlevel_ops sealedfs_ops;

/* For struct models_options; arg: the context. */
void ops_forget_pages(void *arg, uint64_t ino, uint64_t offset);

#endif
