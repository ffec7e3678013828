/*
 * FUSE callbacks for names, attributes and directories. Job: translate, nothing else. Trusts the
 * kernel for inode numbers and file handles. A file never changes, so the kernel may cache
 * everything without a limit: keep_cache and never direct_io, because otherwise each open would
 * drop the pages that a running model has mapped (opens of resident models: passthrough.h).
 */
#include "fs/fuse/ops.h"

#include "crypto/base/log.h"
#include "fs/fuse/ops_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define TIMEOUT_S 86400.0
#define BLOCK_SIZE 4096
#define SECTOR_SIZE 512 /* the unit of st_blocks */
#define NAME_LENGTH_MAX 255
/* Enough for 16 readers with the readahead of session.c and requests of 1 MiB. Smaller requests
 * need less CPU (0.67 instead of 0.71 s/GB) but more wakeups: with 512 KiB the throughput was 0.73
 * of a server that does nothing, with 256 KiB 0.61, with 1 MiB 0.78 (fs/read/README.md). */
#define BACKGROUND_MAX 64

static void fill_stat(const struct ops_context *c, const struct view_node *n, struct stat *st)
{
	*st = (struct stat){
		.st_ino = n->ino,
		.st_uid = c->config->uid,
		.st_gid = c->config->gid,
		.st_blksize = BLOCK_SIZE,
		.st_size = (off_t)n->size,
		.st_blocks = (blkcnt_t)((n->size + SECTOR_SIZE - 1) / SECTOR_SIZE),
		.st_mtim = {n->mtime_ns / 1000000000, n->mtime_ns % 1000000000},
	};
	st->st_atim = st->st_ctim = st->st_mtim;
	if (n->kind != VIEW_DIRECTORY) {
		st->st_mode = S_IFREG | c->config->mode;
		st->st_nlink = n->link_count;
	} else {
		st->st_mode = S_IFDIR | config_directory_mode(c->config);
		st->st_nlink = 2 + n->subdirectory_count;
	}
}

static void fill_entry(const struct ops_context *c, const struct view_node *n,
		       struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){.attr_timeout = TIMEOUT_S, .entry_timeout = TIMEOUT_S};
	if (!n)
		return; /* inode 0: the kernel caches that the name does not exist */
	e->ino = n->ino;
	fill_stat(c, n, &e->attr);
}

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct ops_context *c = userdata;
	uint64_t one = 1;

	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
				  FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable &
		      (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
		       FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_EXPORT_SUPPORT);
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	conn->time_gran = 1;
	if (write(c->begun_fd, &one, sizeof(one)) != sizeof(one))
		log_debug("cannot notify the main thread that the session has started");
}

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, parent);
	const struct view_node *dir = place.node;
	struct fuse_entry_param e;

	if (control_has_name(parent, name)) {
		control_lookup(req, parent, name);
		return;
	}
	/* By a file handle (open_by_handle_at(2), an NFS server), after the kernel has forgotten
	 * the inode: "." is the node itself, of any kind, ".." its directory. */
	if (dir && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)) {
		fill_entry(ops_context(req), name[1] ? dir->parent : dir, &e);
		fuse_reply_entry(req, &e);
		return;
	}
	if (!dir || dir->kind != VIEW_DIRECTORY) {
		fuse_reply_err(req, dir ? ENOTDIR : ESTALE);
		return;
	}
	if (strlen(name) > NAME_LENGTH_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	fill_entry(ops_context(req), view_lookup(dir, name), &e);
	fuse_reply_entry(req, &e);
}

/* Nothing is counted: a node lives as long as its generation, and an unknown inode number is stale,
 * which makes the kernel look up the name again. */
static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	fuse_reply_none(req);
}

static void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, ino);
	struct stat st;

	if (control_has_ino(ino)) {
		control_getattr(req, ino);
		return;
	}
	if (!place.node) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	fill_stat(ops_context(req), place.node, &st);
	fuse_reply_attr(req, &st, TIMEOUT_S);
}

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, ino);
	const struct view_node *n = place.node;

	if (control_has_ino(ino)) {
		control_opendir(req, ino, fi);
		return;
	}
	if (!n || n->kind != VIEW_DIRECTORY) {
		fuse_reply_err(req, n ? ENOTDIR : ESTALE);
		return;
	}
	fi->fh = 0;
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	fuse_reply_open(req, fi);
}

/* The entry after a position, which is set to the entry's own: 0 is the start, 1 and 2 are "." and
 * "..", the others are cookies, which stay valid after a reload. */
static const struct view_node *entry_behind(const struct view_node *dir, uint64_t *position,
					    const char **ret_name)
{
	const struct view_entry *e;

	if (*position < 2) {
		*ret_name = *position == 0 ? "." : "..";
		return ++*position == 1 ? dir : dir->parent;
	}
	e = view_next(dir, *position);
	if (!e)
		return NULL;
	*ret_name = e->name;
	*position = e->cookie;
	return e->node;
}

struct listing {
	fuse_req_t req;
	bool plus;
	char *buf;
	size_t size, used;
};

/* False: no room left. */
static bool add_entry(struct listing *l, const struct view_node *n, const char *name,
		      uint64_t position)
{
	struct fuse_entry_param e;
	char *at = l->buf + l->used;
	size_t room = l->size - l->used, need;

	fill_entry(ops_context(l->req), n, &e);
	/* "." and ".." are not looked up: inode 0. */
	if (l->plus && position <= 2)
		e.ino = 0;
	need = l->plus ? fuse_add_direntry_plus(l->req, at, room, name, &e, (off_t)position)
		       : fuse_add_direntry(l->req, at, room, name, &e.attr, (off_t)position);
	if (need > room)
		return false;
	l->used += need;
	return true;
}

static void reply_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, ino);
	const struct view_node *dir = place.node, *n;
	_cleanup_free_ char *buf = malloc(size);
	struct listing l = {req, plus, buf, size, 0};
	uint64_t position = (uint64_t)offset;
	const char *name = NULL;

	if (control_has_ino(ino)) {
		control_readdir(req, ino, size, offset, plus);
		return;
	}
	if (!dir || !buf) {
		fuse_reply_err(req, dir ? ENOMEM : ESTALE);
		return;
	}
	while ((n = entry_behind(dir, &position, &name)) && add_entry(&l, n, name, position))
		;
	fuse_reply_buf(req, buf, l.used);
}

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			struct fuse_file_info *fi)
{
	reply_directory(req, ino, size, offset, false);
}

static void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			    struct fuse_file_info *fi)
{
	reply_directory(req, ino, size, offset, true);
}

static void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, VIEW_ROOT_INO);
	const struct view *v = generation_view(place.generation);
	struct statvfs st = {
		.f_bsize = BLOCK_SIZE,
		.f_frsize = BLOCK_SIZE,
		.f_blocks = v->total_size / BLOCK_SIZE + (v->total_size % BLOCK_SIZE != 0),
		.f_files = v->node_count,
		.f_namemax = NAME_LENGTH_MAX,
		.f_flag = ST_RDONLY,
	};

	fuse_reply_statfs(req, &st);
}

/* The kernel checks permissions (default_permissions); this is called without it. */
static void ops_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	fuse_reply_err(req, (mask & W_OK) ? EROFS : 0);
}

/*
 * Callbacks that would write: EROFS for each, also where the kernel's own read-only flag would have
 * refused first, so that no program can mistake the mount for a writable one.
 */
#define READ_ONLY(name, ...)                          \
	static void name(fuse_req_t req, __VA_ARGS__) \
	{                                             \
		fuse_reply_err(req, EROFS);           \
	}

READ_ONLY(ops_setattr, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
READ_ONLY(ops_mknod, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
READ_ONLY(ops_mkdir, fuse_ino_t parent, const char *name, mode_t mode)
READ_ONLY(ops_unlink, fuse_ino_t parent, const char *name)
READ_ONLY(ops_rmdir, fuse_ino_t parent, const char *name)
READ_ONLY(ops_symlink, const char *link, fuse_ino_t parent, const char *name)
READ_ONLY(ops_rename, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	  const char *new_name, unsigned flags)
READ_ONLY(ops_link, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
READ_ONLY(ops_write, fuse_ino_t ino, const char *buf, size_t size, off_t offset,
	  struct fuse_file_info *fi)
READ_ONLY(ops_create, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
READ_ONLY(ops_setxattr, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
READ_ONLY(ops_removexattr, fuse_ino_t ino, const char *name)
READ_ONLY(ops_fallocate, fuse_ino_t ino, int mode, off_t offset, off_t length,
	  struct fuse_file_info *fi)

const struct fuse_lowlevel_ops sealedfs_ops = {
	.init = ops_init,
	.lookup = ops_lookup,
	.forget = ops_forget,
	.forget_multi = ops_forget_multi,
	.getattr = ops_getattr,
	.access = ops_access,
	.statfs = ops_statfs,
	.opendir = ops_opendir,
	.readdir = ops_readdir,
	.readdirplus = ops_readdirplus,
	.releasedir = ops_releasedir,
	.open = ops_open,
	.read = ops_read,
	.release = ops_release,
	.ioctl = ops_ioctl,
	.getxattr = ops_getxattr,
	.listxattr = ops_listxattr,
	.setattr = ops_setattr,
	.mknod = ops_mknod,
	.mkdir = ops_mkdir,
	.unlink = ops_unlink,
	.rmdir = ops_rmdir,
	.symlink = ops_symlink,
	.rename = ops_rename,
	.link = ops_link,
	.write = ops_write,
	.create = ops_create,
	.setxattr = ops_setxattr,
	.removexattr = ops_removexattr,
	.fallocate = ops_fallocate,
};
