/*
 * FUSE callbacks of open files. Job: hand opens to model.h, which answers them when the model is
 * unlocked without holding a thread, and reads to read.h; turn failures into errnos, and into end
 * of file where an error would keep the kernel asking for ever. Must never answer with bytes that
 * read.h did not release.
 */
#include "fs/ops_parts.h"
#include "fs/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/*
 * An open that a signal interrupts. Only a dying process is let go: Go's runtime and others send
 * themselves signals all the time, and an open that fails with EINTR would surprise them.
 */
static void open_interrupted(fuse_req_t req, void *data)
{
	struct model *m = data;

	if (process_is_dying(fuse_req_ctx(req)->pid) && model_open_cancel(m, req)) {
		struct catalog *catalog = ops_context(req)->catalog;

		fuse_reply_err(req, EINTR);
		catalog_drop_model(catalog, m);
	}
}

static void open_ended(void *arg, struct model *m, int code)
{
	fuse_req_t req = arg;
	struct fuse_file_info fi = {.fh = (uintptr_t)m, .keep_cache = 1};
	struct catalog *catalog = ops_context(req)->catalog;
	int r = code < 0 ? fuse_reply_err(req, -code) : fuse_reply_open(req, &fi);

	/* -ENOENT: interrupted meanwhile. Then there will be no release. */
	if (code < 0 || r < 0)
		catalog_drop_model(catalog, m);
}

/* A file that is no longer in the listing can be opened again (by /proc/PID/fd) as long as it is
 * open; else the name is looked up anew. */
static bool may_open(const struct catalog_place *place, struct model *m)
{
	struct generation *now = catalog_acquire(place->catalog);
	bool is_current = now == place->generation;

	catalog_release(place->catalog, now);
	return is_current || model_is_open(m);
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	_cleanup_place_ struct catalog_place place = ops_place(req, ino);
	const struct view_node *n = place.node;
	struct model *m;

	if (control_has_ino(ino)) {
		control_open(req, ino, fi);
		return;
	}
	if (!n || n->kind == VIEW_DIRECTORY) {
		fuse_reply_err(req, n ? EISDIR : ESTALE);
		return;
	}
	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (n->kind == VIEW_BYTES) {
		ops_bytes_open(req, &place, fi);
		return;
	}
	m = generation_model(place.generation, n);
	if (!may_open(&place, m)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	catalog_hold_model(place.catalog, m);
	fuse_req_interrupt_func(req, open_interrupted, m);
	model_open(m, open_ended, req);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct catalog *catalog = ops_context(req)->catalog;

	if (ops_bytes_is(fi)) {
		ops_bytes_release(req, fi);
		return;
	}
	if (control_has_ino(ino)) {
		control_release(req, fi);
		return;
	}
	fuse_reply_err(req, 0);
	catalog_drop_model(catalog, (struct model *)(uintptr_t)fi->fh);
}

static void reply_pieces(fuse_req_t req, const struct read_result *result, struct stats *stats)
{
	struct iovec iov[READ_PIECES_MAX];
	uint64_t since = stats_now(), size = 0;

	for (size_t i = 0; i < result->count; i++) {
		iov[i] = (struct iovec){(void *)(uintptr_t)result->pieces[i].data,
					result->pieces[i].size};
		size += result->pieces[i].size;
	}
	/* Before the answer, after which the reader may look. */
	stats_add(stats, STAT_READS, 1);
	stats_add(stats, STAT_DELIVERED_BYTES, size);
	fuse_reply_iov(req, iov, (int)result->count);
	stats_lap(stats, STAT_REPLY_NS, since);
}

static void reply_end(fuse_req_t req, struct model *m)
{
	fuse_reply_buf(req, NULL, 0);
	model_answered(m);
}

static void read_data(fuse_req_t req, size_t size, off_t offset, struct model *m, bool direct,
		      struct stats *stats)
{
	struct read_result result = {0};
	struct error err = {0};
	int r = -ECANCELED;

	if (offset < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (model_is_cut(m, (uint64_t)offset)) {
		reply_end(req, m);
		return;
	}
	if (!atomic_load(&ops_context(req)->leaving))
		r = read_file_read(model_file(m), (uint64_t)offset, size, &result, &err);
	if (r == 0) {
		reply_pieces(req, &result, stats);
		if (direct)
			read_result_clear(&result);
		else
			read_result_spread(&result);
	} else if (model_read_failed(m, (uint64_t)offset, r, &err)) {
		reply_end(req, m);
	} else {
		fuse_reply_err(req, r == -ENOMEM ? ENOMEM : EIO);
	}
}

void ops_forget_pages(void *arg, uint64_t ino, uint64_t offset)
{
	struct ops_context *c = arg;

	(void)fuse_lowlevel_notify_inval_inode(c->session, ino, (off_t)offset, 0);
}

int ops_store_pages(void *arg, uint64_t ino, uint64_t offset, const uint8_t *data, size_t size)
{
	struct fuse_bufvec pages = FUSE_BUFVEC_INIT(size);
	struct ops_context *c = arg;

	/* Before the mount there is nobody to give it to. */
	if (!c->session || atomic_load(&c->leaving))
		return -ENOTCONN;
	pages.buf[0].mem = (void *)(uintptr_t)data;
	return fuse_lowlevel_notify_store(c->session, ino, (off_t)offset, &pages,
					  FUSE_BUF_NO_SPLICE);
}

/* Through the mount, as anybody would: the answer comes from one of our own threads. */
int ops_introduce(void *arg, const char *path)
{
	_cleanup_free_ char *full = NULL;
	struct ops_context *c = arg;
	struct stat st;

	if (!c->mountpoint)
		return -ENOENT;
	if (asprintf(&full, "%s/%s", c->mountpoint, path) < 0) {
		full = NULL;
		return -ENOMEM;
	}
	return stat(full, &st) < 0 ? -errno : 0;
}

static void read_and_count(fuse_req_t req, size_t size, off_t offset, struct model *m, bool direct)
{
	struct stats *stats = read_file_stats(model_file(m));
	struct ops_context *c = ops_context(req);

	/* Once it is answered, the reader may close the file and a reload may free the model. */
	catalog_hold_model(c->catalog, m);
	stats_begin(stats);
	read_data(req, size, offset, m, direct, stats);
	stats_end(stats);
	catalog_drop_model(c->catalog, m);
	atomic_fetch_add(&c->life->finished, 1);
}

struct read_job {
	fuse_req_t req;
	size_t size;
	off_t offset;
	struct model *model;
	bool direct; /* past the page cache */
};

static void run_read(void *arg)
{
	struct read_job *job = arg;

	read_and_count(job->req, job->size, job->offset, job->model, job->direct);
	free(job);
}

/*
 * Reads are answered in the loop's threads, which is fastest. But all of them may wait for a silent
 * network, and then nobody could so much as ask why: so some of these threads are kept free.
 */
static bool read_elsewhere(fuse_req_t req, size_t size, off_t offset, struct model *m, bool direct)
{
	struct ops_context *c = ops_context(req);
	struct read_job *job = malloc(sizeof(*job));

	if (!job)
		return false;
	*job = (struct read_job){req, size, offset, m, direct};
	if (pool_submit(c->more_readers, run_read, job) == 0)
		return true;
	free(job);
	return false;
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct life *life = ops_context(req)->life;
	struct model *m = (struct model *)(uintptr_t)fi->fh;
	bool direct = (fi->flags & O_DIRECT) != 0;
	unsigned long long waiting;

	if (ops_bytes_is(fi)) {
		ops_bytes_read(req, ino, size, offset, fi);
		return;
	}
	if (control_has_ino(ino)) {
		control_read(req, size, offset, fi);
		return;
	}
	waiting = atomic_fetch_add(&life->started, 1) - atomic_load(&life->finished);
	if (waiting < OPS_READS_IN_LOOP || !read_elsewhere(req, size, offset, m, direct))
		read_and_count(req, size, offset, m, direct);
}
