/*
 * FUSE callbacks of open files whose content lies in memory. Job: keep the content until the last
 * close, whatever a reload does meanwhile. It never changes under one inode, so the kernel may keep
 * its pages. Trusts the view for the bytes.
 */
#include "fs/ops_parts.h"

#include <errno.h>

/* Set in a file handle; other handles are pointers to structures, which are even. */
#define IS_BYTES ((uint64_t)1)

bool ops_bytes_is(const struct fuse_file_info *fi)
{
	return fi->fh & IS_BYTES;
}

/* The handle is the generation, held. Nothing is allocated: at unmounting the last releases may
 * never come. */
static struct generation *held(const struct fuse_file_info *fi)
{
	return (struct generation *)(uintptr_t)(fi->fh & ~IS_BYTES);
}

void ops_bytes_open(fuse_req_t req, struct catalog_place *place, struct fuse_file_info *fi)
{
	struct generation *g = steal_ptr(place->generation);

	fi->fh = (uintptr_t)g | IS_BYTES;
	fi->keep_cache = 1;
	/* Interrupted meanwhile: there will be no release. */
	if (fuse_reply_open(req, fi) < 0)
		catalog_release(place->catalog, g);
}

void ops_bytes_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    const struct fuse_file_info *fi)
{
	const struct view_node *n = view_by_ino(generation_view(held(fi)), ino);
	size_t at;

	if (!n || offset < 0) {
		fuse_reply_err(req, n ? EINVAL : ESTALE);
		return;
	}
	at = (size_t)MIN((uint64_t)offset, n->size);
	fuse_reply_buf(req, (const char *)n->bytes + at, MIN(size, (size_t)n->size - at));
}

void ops_bytes_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct catalog *catalog = ops_context(req)->catalog;

	fuse_reply_err(req, 0);
	catalog_release(catalog, held(fi));
}
