/*
 * warm.h: filling the page cache with a file of a mount, as fast as it can be read.
 */
#ifndef SEALEDFS_TOOLS_WARM_H
#define SEALEDFS_TOOLS_WARM_H

#include "tools/progress.h"

/* Reads all of an open file into the page cache, by several threads. -EINTR after Ctrl-C, at once:
 * then fd must stay; else what a read said, -EIO mostly. progress may be NULL. */
int warm_file(int fd, uint64_t size, struct progress *progress);
/* What the page cache may still take: free memory, and what the control groups of this process (to
 * which the pages count) have left. UINT64_MAX: unknown. */
uint64_t warm_room(void);

#endif
