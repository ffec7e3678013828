/*
 * The control directory: ".sealedfs" in the root of the mount, with read-only files that show its
 * state. Found by name and never listed, so that ls -R, find and cp -r see only models.
 *
 * A file's content is made when it is opened and stays the same for that open; the size is shown as
 * 0, as under /proc, and reads bypass the page cache. Must respond while every reader is blocked on
 * the network: it takes no lock that is held during I/O. Permissions are those of the models.
 */
#include "fs/fuse/ops_internal.h"
#include "fs/report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

/* What all open files may take together; further opens fail until others are closed. */
#define CONTROL_BYTES_MAX ((size_t)64 << 20)
#define SNAPSHOT_BYTES_MIN ((size_t)1 << 20)
#define NAMES_TIMEOUT_S 86400.0
#define BLOCK_SIZE 4096

/* Numbers follow VIEW_ROOT_INO. */
#define CONTROL_INO (VIEW_ROOT_INO + 1)
static const struct control_file {
	fuse_ino_t ino;
	const char *name;
	enum report_format format;
	bool seals; /* report_write_seals(), not report_write() */
} files[] = {
	{CONTROL_INO + 1, "metrics", REPORT_PROMETHEUS},
	{CONTROL_INO + 4, "seals.json", REPORT_JSON, true},
	{CONTROL_INO + 2, "status", REPORT_TEXT},
	{CONTROL_INO + 3, "status.json", REPORT_JSON},
};

struct snapshot {
	atomic_uint holds; /* the open file, and reads being answered */
	char *text;
	size_t size;
	size_t taken; /* of control_bytes */
	bool counted; /* and of the allowance */
};

bool control_has_ino(fuse_ino_t ino)
{
	return ino >= CONTROL_INO && ino <= VIEW_RESERVED_INOS;
}

bool control_has_name(fuse_ino_t parent, const char *name)
{
	return parent == CONTROL_INO ||
	       (parent == VIEW_ROOT_INO && strcmp(name, VIEW_CONTROL_NAME) == 0);
}

static const struct control_file *find_file(fuse_ino_t ino)
{
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (files[i].ino == ino)
			return &files[i];
	return NULL;
}

/* The time of change is always now. */
static void fill_stat(const struct ops_context *c, fuse_ino_t ino, struct stat *st)
{
	bool is_file = ino != CONTROL_INO;

	*st = (struct stat){
		.st_ino = ino,
		.st_uid = c->config->uid,
		.st_gid = c->config->gid,
		.st_blksize = BLOCK_SIZE,
		.st_mode = is_file ? S_IFREG | (c->config->mode & 0444)
				   : S_IFDIR | config_directory_mode(c->config),
		.st_nlink = is_file ? 1 : 2,
	};
	(void)clock_gettime(CLOCK_REALTIME, &st->st_mtim);
	st->st_atim = st->st_ctim = st->st_mtim;
}

void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.entry_timeout = NAMES_TIMEOUT_S};

	if (parent == VIEW_ROOT_INO)
		e.ino = CONTROL_INO;
	for (size_t i = 0; parent == CONTROL_INO && i < ARRAY_LEN(files); i++)
		if (strcmp(files[i].name, name) == 0)
			e.ino = files[i].ino;
	if (e.ino)
		fill_stat(ops_context(req), e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

void control_getattr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st;

	if (ino != CONTROL_INO && !find_file(ino)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	fill_stat(ops_context(req), ino, &st);
	fuse_reply_attr(req, &st, 0);
}

void control_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == CONTROL_INO)
		fuse_reply_open(req, fi);
	else
		fuse_reply_err(req, ENOTDIR);
}

/* False: no room left. Inode 0: the kernel must look each name up, because attributes are not
 * cached. */
static bool add_entry(fuse_req_t req, char *at, size_t room, size_t *used, uint64_t position,
		      bool plus)
{
	struct fuse_entry_param e = {0};
	const char *name = ".";
	size_t need;

	fill_stat(ops_context(req), CONTROL_INO, &e.attr);
	if (position == 1) {
		name = "..";
		e.attr.st_ino = VIEW_ROOT_INO;
	} else if (position > 1) {
		name = files[position - 2].name;
		fill_stat(ops_context(req), files[position - 2].ino, &e.attr);
	}
	need = plus ? fuse_add_direntry_plus(req, at, room, name, &e, (off_t)position + 1)
		    : fuse_add_direntry(req, at, room, name, &e.attr, (off_t)position + 1);
	*used += need <= room ? need : 0;
	return need <= room;
}

void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	char buf[2048];
	size_t used = 0;

	size = MIN(size, sizeof(buf));
	for (uint64_t i = (uint64_t)offset; ino == CONTROL_INO && i < 2 + ARRAY_LEN(files); i++)
		if (!add_entry(req, buf + used, size - used, &used, i, plus))
			break;
	fuse_reply_buf(req, buf, used);
}

/*
 * Takes memory for a snapshot: of CONTROL_BYTES_MAX for all, and of the allowance a quarter of what
 * is left, because models need the rest. A mount with few models can be looked at even when nothing
 * is left. -ENFILE: too much is open.
 */
static int take_room(struct ops_context *c, struct snapshot *s)
{
	s->taken = MAX(MIN(allowance_left(c->kept) / 4, CONTROL_BYTES_MAX / 2), SNAPSHOT_BYTES_MIN);
	if (atomic_fetch_add(&c->control_bytes, s->taken) + s->taken > CONTROL_BYTES_MAX) {
		atomic_fetch_sub(&c->control_bytes, s->taken);
		return -ENFILE;
	}
	s->counted = allowance_take(c->kept, s->taken) == 0;
	return 0;
}

/* Only `size` of it is needed from now on. */
static void keep_room(struct ops_context *c, struct snapshot *s, size_t size)
{
	size_t rest = s->taken - MIN(size, s->taken);

	s->taken -= rest;
	atomic_fetch_sub(&c->control_bytes, rest);
	if (s->counted)
		allowance_give(c->kept, rest);
}

static void snapshot_drop(struct ops_context *c, struct snapshot *s)
{
	if (atomic_fetch_sub(&s->holds, 1) > 1)
		return;
	keep_room(c, s, 0);
	free(s->text);
	free(s);
}

/* -ENFILE: too much is open already. */
static int snapshot_new(struct ops_context *c, const struct control_file *f, struct snapshot **ret)
{
	struct report_sources sources = {
		.config = c->config,
		.catalog = c->catalog,
		.engine = c->engine,
		.residents = c->residents,
		.source = c->source,
		.aws = c->aws,
		.late = c->late,
		.started_s = c->started_s,
	};
	const struct ops_reload *reload = atomic_load(&c->reload);
	struct snapshot *s = calloc(1, sizeof(*s));
	FILE *to;
	int r = s ? take_room(c, s) : -ENOMEM;

	if (reload)
		sources.reloads = reload->look(reload->arg, &sources.reload_error);
	if (r < 0) {
		free(s);
		return r;
	}
	atomic_init(&s->holds, 1);
	to = open_memstream(&s->text, &s->size);
	/* The text takes up to four times its size while it grows and is put together. */
	if (!to)
		r = -ENOMEM;
	else if (f->seals)
		r = report_write_seals(&sources, s->taken / 4, to);
	else
		r = report_write(&sources, f->format, s->taken / 4, to);
	if (to && fclose(to) != 0)
		r = -ENOMEM;
	if (r < 0) {
		snapshot_drop(c, s);
		return r;
	}
	keep_room(c, s, s->size);
	*ret = s;
	return 0;
}

void control_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct control_file *f = find_file(ino);
	struct ops_context *c = ops_context(req);
	struct snapshot *s = NULL;
	int r = 0;

	if (!f)
		r = -EISDIR;
	else if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC))
		r = -EROFS;
	else
		r = snapshot_new(c, f, &s);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fi->fh = (uintptr_t)s;
	fi->direct_io = 1;
	/* Interrupted meanwhile: no release follows. */
	if (fuse_reply_open(req, fi) < 0)
		snapshot_drop(c, s);
}

void control_read(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct snapshot *s = (struct snapshot *)(uintptr_t)fi->fh;
	struct ops_context *c = ops_context(req);
	size_t at = offset < 0 || (uint64_t)offset > s->size ? s->size : (size_t)offset;

	/* After the answer, the reader may close the file. */
	atomic_fetch_add(&s->holds, 1);
	fuse_reply_buf(req, s->text + at, MIN(size, s->size - at));
	snapshot_drop(c, s);
}

void control_release(fuse_req_t req, struct fuse_file_info *fi)
{
	struct ops_context *c = ops_context(req);

	fuse_reply_err(req, 0);
	snapshot_drop(c, (struct snapshot *)(uintptr_t)fi->fh);
}
