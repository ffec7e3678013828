/*
 * FUSE callbacks of open files whose content lies in memory. Job: keep the content until the last
 * close, whatever a reload does meanwhile. It never changes under one inode, so the kernel may keep
 * its pages. Trusts the view for the bytes.
 */
#include "fs/ops_parts.h"

#include <errno.h>

/* Set in a file handle; other handles are pointers to structures, which are even. */
#define IS_BYTES ((uint64_t)1)

struct open_bytes {
	struct generation *generation; /* held */
	const uint8_t *data;
	size_t size;
};

bool ops_bytes_is(const struct fuse_file_info *fi)
{
	return fi->fh & IS_BYTES;
}

static struct open_bytes *open_bytes(const struct fuse_file_info *fi)
{
	return (struct open_bytes *)(uintptr_t)(fi->fh & ~IS_BYTES);
}

static void let_go(fuse_req_t req, struct open_bytes *o)
{
	catalog_release(ops_context(req)->catalog, o->generation);
	free(o);
}

void ops_bytes_open(fuse_req_t req, struct catalog_place *place, struct fuse_file_info *fi)
{
	struct open_bytes *o = malloc(sizeof(*o));

	if (!o) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*o = (struct open_bytes){
		.generation = steal_ptr(place->generation),
		.data = place->node->bytes,
		.size = (size_t)place->node->size,
	};
	fi->fh = (uintptr_t)o | IS_BYTES;
	fi->keep_cache = 1;
	/* Interrupted meanwhile: there will be no release. */
	if (fuse_reply_open(req, fi) < 0)
		let_go(req, o);
}

void ops_bytes_read(fuse_req_t req, size_t size, off_t offset, const struct fuse_file_info *fi)
{
	const struct open_bytes *o = open_bytes(fi);
	size_t at = MIN((size_t)MAX(offset, 0), o->size);

	fuse_reply_buf(req, (const char *)o->data + at, MIN(size, o->size - at));
}

void ops_bytes_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct open_bytes *o = open_bytes(fi);

	catalog_release(ops_context(req)->catalog, o->generation);
	free(o);
	fuse_reply_err(req, 0);
}
