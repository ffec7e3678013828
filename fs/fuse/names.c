/*
 * FUSE callbacks that read: names, attributes, directories, data. Job: translate, nothing else.
 * Trusts the kernel for inode numbers and file handles. The mount is immutable, so the kernel may
 * keep everything as long as it likes; keep_cache and never direct_io, or each open by anybody
 * would throw away the pages that a running model has mapped.
 */
#include "fs/ops.h"

#include "fs/ops_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define TIMEOUT_S 86400.0
#define BLOCK_SIZE 4096
#define SECTOR_SIZE 512 /* the unit of st_blocks */
#define NAME_LENGTH_MAX 255
/* 16 readers with the readahead of fs/mount.c, at 1 MiB a request. Smaller requests need less CPU
 * (0.67 against 0.71 s/GB) but more waking up: 512 KiB gave 0.73 of a server that does nothing, 256
 * KiB 0.61, and 1 MiB 0.78 (fs/read/README.md). */
#define BACKGROUND_MAX 64

struct ops_context *ops_context(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct catalog_place ops_place(fuse_req_t req, fuse_ino_t ino)
{
	return catalog_find(ops_context(req)->catalog, ino);
}

static void fill_stat(const struct ops_context *c, const struct generation *g,
		      const struct view_node *n, struct stat *st)
{
	uint64_t size = n->kind == VIEW_FILE ? model_size(generation_model(g, n)) : n->size;
	*st = (struct stat){
		.st_ino = n->ino,
		.st_uid = c->config->uid,
		.st_gid = c->config->gid,
		.st_blksize = BLOCK_SIZE,
		.st_size = (off_t)size,
		.st_blocks = (blkcnt_t)((size + SECTOR_SIZE - 1) / SECTOR_SIZE),
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

static void fill_entry(const struct ops_context *c, const struct generation *g,
		       const struct view_node *n, struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){.attr_timeout = TIMEOUT_S, .entry_timeout = TIMEOUT_S};
	if (!n)
		return; /* inode 0: remember that there is nothing */
	e->ino = n->ino;
	fill_stat(c, g, n, &e->attr);
}

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	/* Not FUSE_CAP_EXPLICIT_INVAL_DATA: when a cut file grows back, the kernel drops its pages.
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
				  FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable &
		      (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
		       FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	conn->time_gran = 1;
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
	if (!dir || dir->kind != VIEW_DIRECTORY) {
		fuse_reply_err(req, dir ? ENOTDIR : ESTALE);
		return;
	}
	if (strlen(name) > NAME_LENGTH_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	fill_entry(ops_context(req), place.generation, view_lookup(dir, name), &e);
	fuse_reply_entry(req, &e);
}

/* Nothing is counted: a node lives as long as its generation, and an inode number that nobody knows
 * any more is stale, which has the kernel look up the name again. */
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
	fill_stat(ops_context(req), place.generation, place.node, &st);
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

/* Position 0 is ".", 1 is "..", then the children. */
static const struct view_node *entry_at(const struct view_node *dir, uint64_t position,
					const char **ret_name)
{
	if (position < 2) {
		*ret_name = position == 0 ? "." : "..";
		return position == 0 ? dir : dir->parent;
	}
	if (position - 2 >= dir->child_count)
		return NULL;
	*ret_name = dir->children[position - 2].name;
	return dir->children[position - 2].node;
}

struct listing {
	fuse_req_t req;
	const struct generation *generation;
	bool plus;
	char *buf;
	size_t size, used;
};

/* False: no room left. */
static bool add_entry(struct listing *l, const struct view_node *n, const char *name, uint64_t next)
{
	struct fuse_entry_param e;
	char *at = l->buf + l->used;
	size_t room = l->size - l->used, need;

	fill_entry(ops_context(l->req), l->generation, n, &e);
	/* "." and ".." are not looked up, and so must not be. */
	if (l->plus && next <= 2)
		e.ino = 0;
	need = l->plus ? fuse_add_direntry_plus(l->req, at, room, name, &e, (off_t)next)
		       : fuse_add_direntry(l->req, at, room, name, &e.attr, (off_t)next);
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
	struct listing l = {req, place.generation, plus, buf, size, 0};
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
	while ((n = entry_at(dir, position, &name)) && add_entry(&l, n, name, position + 1))
		position++;
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

/* Permissions are the kernel's to check (default_permissions); this one comes without it. */
static void ops_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	fuse_reply_err(req, (mask & W_OK) ? EROFS : 0);
}

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
