/*
 * share.h: the chunks that one request must load, over processors that have nothing to do. Whoever
 * reads with one small request at a time (O_DIRECT, the first pages of a file, the last request
 * of a window of readahead) would otherwise use one processor and leave the others idle. With as
 * many requests at work as there are processors nothing is handed out.
 *
 * Threads: any; each request has its own.
 */
#ifndef SEALEDFS_SHARE_H
#define SEALEDFS_SHARE_H

#include "fs/read/file.h"

struct shared_load {
	struct read_file *file;
	struct buffer *const *buffers; /* one for each chunk, pinned by the request */
	const bool *load;	       /* which of them are the request's to load */
	uint64_t first;		       /* chunk */
	size_t count;
	bool whole_extent;
};

/*
 * Loads what is to be loaded and tells the buffer cache of each. After a failure the rest is given
 * back with -ECANCELED for others to load; returns the first failure. Nobody works on it any more
 * when this returns.
 */
int share_load(const struct shared_load *l, struct error *err);

#endif
