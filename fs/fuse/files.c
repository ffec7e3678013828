/*
 * FUSE callbacks of open files. Job: pass opens to model.h, which answers them when the model is
 * unlocked, without occupying a thread, and reads to read.h; turn failures into errnos, by late.h
 * if the kernel would ask again at once. Must never return bytes that read.h did not release, nor
 * fewer bytes than requested inside the file: the kernel would fill the rest with zeros.
 */
#include "fs/fuse/ops_internal.h"
#include "fs/fuse/passthrough.h"
#include "fs/models/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/*
 * Only opens of a dying process end early: Go's runtime and others send themselves signals all the
 * time and do not expect EINTR from open().
 */
static bool is_killed(fuse_req_t req)
{
	return process_is_dying(fuse_req_ctx(req)->pid);
}

/* A signal interrupts an open. */
static void open_interrupted(fuse_req_t req, void *data)
{
	struct model *m = data;

	if (is_killed(req) && model_open_cancel(m, req)) {
		struct catalog *catalog = ops_context(req)->catalog;

		fuse_reply_err(req, EINTR);
		catalog_drop_model(catalog, m);
	}
}

/* A signal that came before the open was queued: open_interrupted() did not find it. */
static bool open_left(void *arg)
{
	return fuse_req_interrupted(arg) && is_killed(arg);
}

/* Set in file handles; they are pointers to large objects, whose lowest bits are 0. */
#define IS_BYTES ((uint64_t)1)
#define IS_ATTACHED ((uint64_t)2)

static struct model *opened_model(const struct fuse_file_info *fi)
{
	return (struct model *)(uintptr_t)(fi->fh & ~IS_ATTACHED);
}

static void close_model(struct model *m, bool attached)
{
	if (model_resident(m))
		resident_closed(model_resident(m), attached);
	model_close(m);
}

static void open_ended(void *arg, struct model *m, int code)
{
	fuse_req_t req = arg;
	struct fuse_file_info fi = {.fh = (uintptr_t)m, .keep_cache = 1};
	struct catalog *catalog = ops_context(req)->catalog;
	uint32_t id = code == 0 && model_resident(m) ? resident_opened(model_resident(m)) : 0;
	int r;

	if (code < 0)
		r = fuse_reply_err(req, -code);
	else if (id != 0)
		r = passthrough_reply_open(req, fi.fh | IS_ATTACHED, id);
	else
		r = fuse_reply_open(req, &fi);
	/* -ENOENT: interrupted meanwhile. Then no release follows. */
	if (code == 0 && r < 0)
		close_model(m, id != 0);
	if (code < 0 || r < 0)
		catalog_drop_model(catalog, m);
}

/*
 * Open files whose content lies in memory (VIEW_BYTES). It never changes under one inode, so the
 * kernel may keep its pages, and it stays until the last close, also after a reload.
 */

static bool is_bytes(const struct fuse_file_info *fi)
{
	return fi->fh & IS_BYTES;
}

/* The handle is the held generation. Nothing is allocated, because the last releases may never come
 * when the mount is removed. */
static struct generation *held(const struct fuse_file_info *fi)
{
	return (struct generation *)(uintptr_t)(fi->fh & ~IS_BYTES);
}

static void open_bytes(fuse_req_t req, struct catalog_place *place, struct fuse_file_info *fi)
{
	struct generation *g = steal_ptr(place->generation);

	fi->fh = (uintptr_t)g | IS_BYTES;
	fi->keep_cache = 1;
	/* Interrupted meanwhile: no release follows. */
	if (fuse_reply_open(req, fi) < 0)
		catalog_release(place->catalog, g);
}

static void read_bytes(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
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

static void release_bytes(fuse_req_t req, struct fuse_file_info *fi)
{
	struct catalog *catalog = ops_context(req)->catalog;

	fuse_reply_err(req, 0);
	catalog_release(catalog, held(fi));
}

/* A file that is no longer in the listing can be opened again (by /proc/PID/fd) while it is open;
 * otherwise the kernel must look up the name again. */
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
		open_bytes(req, &place, fi);
		return;
	}
	m = generation_model(place.generation, n);
	if (!may_open(&place, m)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	catalog_hold_model(place.catalog, m);
	fuse_req_interrupt_func(req, open_interrupted, m);
	model_open(m, open_ended, open_left, req);
}

struct model *ops_file_model(fuse_ino_t ino, const struct fuse_file_info *fi)
{
	return fi->fh == 0 || control_has_ino(ino) || is_bytes(fi) ? NULL : opened_model(fi);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct catalog *catalog = ops_context(req)->catalog;

	if (is_bytes(fi)) {
		release_bytes(req, fi);
		return;
	}
	if (control_has_ino(ino)) {
		control_release(req, fi);
		return;
	}
	fuse_reply_err(req, 0);
	close_model(opened_model(fi), fi->fh & IS_ATTACHED);
	catalog_drop_model(catalog, opened_model(fi));
}

struct read_job {
	fuse_req_t req;
	size_t size;
	off_t offset;
	struct model *model;
	bool direct; /* bypasses the page cache */
};

static void reply_pieces(fuse_req_t req, const struct read_result *result, struct stats *stats)
{
	struct iovec iov[READ_PIECES_MAX];
	uint64_t since = stats_now(), size = 0;

	for (size_t i = 0; i < result->count; i++) {
		iov[i] = (struct iovec){(void *)(uintptr_t)result->pieces[i].data,
					result->pieces[i].size};
		size += result->pieces[i].size;
	}
	/* Before the answer: the reader may look at the counters right after it. */
	stats_add(stats, STAT_READS, 1);
	stats_add(stats, STAT_DELIVERED_BYTES, size);
	fuse_reply_iov(req, iov, (int)result->count);
	stats_lap(stats, STAT_REPLY_NS, since);
}

static void read_interrupted(fuse_req_t req, void *data)
{
	late_interrupt(data, req);
}

static void reply_failure(fuse_req_t req, const struct read_job *job, int code,
			  const struct error *err)
{
	struct late *late = ops_context(req)->late;
	struct deferral_look who;
	struct deferred read = {
		.ino = model_ino(job->model),
		.offset = (uint64_t)job->offset,
		.size = job->size,
		.reader = fuse_req_ctx(req)->pid,
		.request = req,
		.code = code == -ENOMEM ? -ENOMEM : -EIO,
	};

	model_read_failed(job->model, code, err);
	fuse_req_interrupt_func(req, read_interrupted, late);
	if (late_fail(late, &read, &who))
		model_readers_wait(job->model, read.offset, &who);
}

static void answer_late(void *request, int code)
{
	fuse_reply_err(request, -code);
}

static bool is_interrupted(void *request)
{
	return fuse_req_interrupted(request);
}

const struct late_calls ops_late_calls = {answer_late, is_interrupted};

/* From a model's plaintext in memory, or what is there of it. */
static bool read_resident(const struct read_job *job, struct stats *stats)
{
	struct resident *resident = model_resident(job->model);
	uint64_t length = read_file_length(model_file(job->model));
	struct read_result result = {.count = 1};

	if (!resident || (uint64_t)job->offset >= length || job->size == 0)
		return false;
	result.pieces[0].size = (size_t)MIN((uint64_t)job->size, length - (uint64_t)job->offset);
	if (!resident_read(resident, (uint64_t)job->offset, result.pieces[0].size,
			   &result.pieces[0].data))
		return false;
	reply_pieces(job->req, &result, stats);
	resident_read_done(resident);
	return true;
}

static void read_data(const struct read_job *job, struct stats *stats)
{
	struct ops_context *c = ops_context(job->req);
	struct read_result result = {0};
	struct error err = {0};
	bool leaving = atomic_load(&c->leaving);
	int r = -ECANCELED;

	if (!leaving && read_resident(job, stats))
		return;
	if (!leaving)
		r = read_file_read(model_file(job->model), (uint64_t)job->offset, job->size,
				   &result, &err);
	if (r < 0) {
		reply_failure(job->req, job, r, &err);
		return;
	}
	reply_pieces(job->req, &result, stats);
	if (job->direct)
		read_result_clear(&result);
	else
		read_result_spread(&result);
}

static void forget_pages(void *arg, uint64_t ino, uint64_t offset)
{
	struct ops_context *c = arg;

	(void)fuse_lowlevel_notify_inval_inode(c->session, ino, (off_t)offset, 0);
}

static int store_pages(void *arg, uint64_t ino, uint64_t offset, const uint8_t *data, size_t size)
{
	struct fuse_bufvec pages = FUSE_BUFVEC_INIT(size);
	struct ops_context *c = arg;

	/* Before the mount there is no session. */
	if (!c->session || atomic_load(&c->leaving))
		return -ENOTCONN;
	pages.buf[0].mem = (void *)(uintptr_t)data;
	return fuse_lowlevel_notify_store(c->session, ino, (off_t)offset, &pages,
					  FUSE_BUF_NO_SPLICE);
}

/* Through the mount, like any process; another of our threads answers. */
static int introduce(void *arg, const char *path)
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

struct kernel_ops ops_kernel(struct ops_context *c)
{
	return (struct kernel_ops){forget_pages, store_pages, introduce, c};
}

static void read_and_count(const struct read_job *job)
{
	struct stats *stats = read_file_stats(model_file(job->model));
	struct ops_context *c = ops_context(job->req);

	/* After the answer, the reader may close the file and a reload may free the model. */
	catalog_hold_model(c->catalog, job->model);
	stats_begin(stats);
	read_data(job, stats);
	stats_end(stats);
	catalog_drop_model(c->catalog, job->model);
	atomic_fetch_add(&c->life->finished, 1);
}

static void run_read(void *arg)
{
	read_and_count(arg);
	free(arg);
}

/*
 * Reads are answered in the loop's threads, which is fastest. But all of them may be blocked on the
 * network, and then not even .sealedfs could be read: so some of these threads are kept free.
 */
static bool read_elsewhere(const struct read_job *job)
{
	struct ops_context *c = ops_context(job->req);
	struct read_job *copy = malloc(sizeof(*copy));

	if (!copy)
		return false;
	*copy = *job;
	if (pool_submit(c->more_readers, run_read, copy) == 0)
		return true;
	free(copy);
	return false;
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct life *life = ops_context(req)->life;
	struct read_job job = {req, size, offset, opened_model(fi), (fi->flags & O_DIRECT) != 0};
	unsigned long long waiting;

	if (is_bytes(fi)) {
		read_bytes(req, ino, size, offset, fi);
		return;
	}
	if (control_has_ino(ino)) {
		control_read(req, size, offset, fi);
		return;
	}
	if (offset < 0) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	waiting = atomic_fetch_add(&life->started, 1) - atomic_load(&life->finished);
	if (waiting < OPS_READS_IN_LOOP || !read_elsewhere(&job))
		read_and_count(&job);
}
