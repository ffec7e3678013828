/*
 * ops_changes.h: after a reload, what the kernel has to forget.
 */
#ifndef SEALEDFS_OPS_CHANGES_H
#define SEALEDFS_OPS_CHANGES_H

#include "fs/ops.h"

/*
 * Names that mean something else now, or nothing, or something for the first time; listings and
 * attributes that changed. Pages of files that stay are kept. Waits for lookups that are under way:
 * not from a thread that answers requests.
 */
void ops_listing_changed(struct ops_context *c, const struct generation *old,
			 const struct generation *now);

#endif
