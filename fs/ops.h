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

/* Of the loop's threads (mount.c) so many may be reading; more reads go to more_readers. */
#define OPS_READS_IN_LOOP 24
#define OPS_MORE_READERS 64

/* The session's user data. Everything but what is atomic, and `life`, is immutable once the loop
 * runs. */
struct ops_context {
	const struct config *config;
	struct catalog *catalog;
	struct fuse_session *session; /* for notifications */
	char *mountpoint;	      /* absolute; NULL: not known */
	struct life *life;	      /* counts reads */
	atomic_uint reloads;	      /* that ended; and how the last one did */
	atomic_bool reload_failed;
	struct pool *more_readers;
	struct read_engine *engine; /* this and the next three: for the control directory */
	const struct source *source;
	const struct aws *aws;		     /* NULL: none */
	int64_t started_s;		     /* since 1970 */
	atomic_uint_least64_t control_bytes; /* of its open files */
	atomic_bool leaving;		     /* unmounting: reads fail from now on */
};

extern const struct fuse_lowlevel_ops sealedfs_ops;

/* For struct models_options; arg: the context. */
void ops_forget_pages(void *arg, uint64_t ino, uint64_t offset);
int ops_store_pages(void *arg, uint64_t ino, uint64_t offset, const uint8_t *data, size_t size);
int ops_introduce(void *arg, const char *path);

#endif
