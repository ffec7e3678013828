/*
 * ops_internal.h: what the callbacks in names.c, files.c, control.c and xattr.c share.
 */
#ifndef SEALEDFS_FUSE_OPS_INTERNAL_H
#define SEALEDFS_FUSE_OPS_INTERNAL_H

#include "fs/fuse/ops.h"

static inline struct ops_context *ops_context(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* What an inode number means to this request; to be left when the request is answered. */
static inline struct catalog_place ops_place(fuse_req_t req, fuse_ino_t ino)
{
	return catalog_find(ops_context(req)->catalog, ino);
}
#define _cleanup_place_ _cleanup_(catalog_leave)

/* files.c */
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* Of an open file; NULL: it is a directory, or its content is no model. */
struct model *ops_file_model(fuse_ino_t ino, const struct fuse_file_info *fi);

/* control.c: what concerns these inodes and names goes there. */
bool control_has_ino(fuse_ino_t ino);
bool control_has_name(fuse_ino_t parent, const char *name);
void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void control_getattr(fuse_req_t req, fuse_ino_t ino);
void control_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus);
void control_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_read(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi);
void control_release(fuse_req_t req, struct fuse_file_info *fi);

#if FUSE_USE_VERSION < 35
typedef int ops_command;
#else
typedef unsigned ops_command;
#endif
/* ioctl.c: those of mount_root.h. */
void ops_ioctl(fuse_req_t req, fuse_ino_t ino, ops_command command, void *arg,
	       struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
	       size_t out_size);

/* xattr.c */
void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

#endif
