/*
 * ops_parts.h: the callbacks that live in files of their own, and what they share. For fs/ops*.c
 * only.
 */
#ifndef SEALEDFS_OPS_PARTS_H
#define SEALEDFS_OPS_PARTS_H

#include "fs/ops.h"

struct ops_context *ops_context(fuse_req_t req);
/* What an inode number means to this request, to be left when it is answered. */
struct catalog_place ops_place(fuse_req_t req, fuse_ino_t ino);
#define _cleanup_place_ _cleanup_(catalog_leave)

/* ops_file.c */
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ops_bytes.c: open files whose content lies in memory (VIEW_BYTES). */
bool ops_bytes_is(const struct fuse_file_info *fi);
void ops_bytes_open(fuse_req_t req, struct catalog_place *place, struct fuse_file_info *fi);
void ops_bytes_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    const struct fuse_file_info *fi);
void ops_bytes_release(fuse_req_t req, struct fuse_file_info *fi);

/* ops_control.c: what concerns these inodes and names goes there. */
bool control_has_ino(fuse_ino_t ino);
bool control_has_name(fuse_ino_t parent, const char *name);
void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void control_getattr(fuse_req_t req, fuse_ino_t ino);
void control_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus);
void control_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void control_read(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi);
void control_release(fuse_req_t req, struct fuse_file_info *fi);

/* ops_xattr.c */
void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* ops_write.c: all of them answer EROFS. */
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		 struct fuse_file_info *fi);
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		const char *new_name, unsigned flags);
void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void ops_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
	       struct fuse_file_info *fi);
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *fi);
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags);
void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		   struct fuse_file_info *fi);

#endif
