/*
 * invalidate.h: what the kernel must forget after a reload.
 */
#ifndef SEALEDFS_FUSE_INVALIDATE_H
#define SEALEDFS_FUSE_INVALIDATE_H

#include "fs/fuse/ops.h"

/*
 * Invalidates names that were added, removed or exchanged, and changed listings and attributes.
 * Pages of files that stay are kept. Waits for lookups in progress: must not be called from a
 * thread that answers requests.
 */
void ops_listing_changed(struct ops_context *c, const struct generation *old,
			 const struct generation *now);

#endif
