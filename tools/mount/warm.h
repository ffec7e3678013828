/*
 * warm.h: filling the page cache with a file of a mount, as fast as it can be read.
 */
#ifndef SEALEDFS_TOOLS_WARM_H
#define SEALEDFS_TOOLS_WARM_H

#include "tools/common/progress.h"

/* Reads all of an open file into the page cache, by several threads. -EINTR immediately after
 * Ctrl-C: then fd must stay open; else the error of a read, usually -EIO. progress may be NULL. */
int warm_file(int fd, uint64_t size, struct progress *progress);

#endif
