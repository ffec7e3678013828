/*
 * Fetching ciphertext. Job: keep the network busy ahead of sequential readers inside a fixed
 * number of extent buffers. Trusts nothing it fetches: everything is checked after it. When its
 * buffers are all taken it does without them, so that it can slow a reader down but never stop
 * one.
 */
#include "fs/read/fetch.h"

#include "fs/read/file.h"
#include "fs/read/monotonic.h"
#include "fs/read/stream.h"

#include <errno.h>

#define FETCH_THREADS_MAX 16
#define CHUNKS_PER_EXTENT (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

struct fetch {
	struct buffer_cache *extents;
	struct pool *threads;
	pthread_mutex_t lock; /* guards streams */
	struct stream_table streams;
	atomic_bool stopping;
};

struct ahead_job {
	struct fetch *fetch;
	struct read_file *file;
	struct buffer *extent;
};

int fetch_new(size_t extents, struct fetch **ret)
{
	struct fetch *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	r = buffer_cache_new(extents, SEAL_EXTENT_SIZE, &t->extents);
	if (r == 0)
		r = pool_new((unsigned)MIN(extents, (size_t)FETCH_THREADS_MAX), &t->threads);
	if (r < 0) {
		fetch_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void fetch_free(struct fetch *t)
{
	if (!t)
		return;
	pool_free(t->threads);
	buffer_cache_free(t->extents);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void fetch_stop(struct fetch *t)
{
	atomic_store(&t->stopping, true);
	buffer_cache_stop(t->extents);
}

void fetch_memory(struct fetch *t, size_t *ret_all, size_t *ret_used)
{
	*ret_all = buffer_cache_count(t->extents) * SEAL_EXTENT_SIZE;
	*ret_used = buffer_cache_reserved(t->extents) * SEAL_EXTENT_SIZE;
}

static void count_fetch(struct read_file *f, int code, size_t size)
{
	stats_add(f->stats, STAT_FETCHES, 1);
	if (code == 0)
		stats_add(f->stats, STAT_FETCHED_BYTES, size);
}

static int read_extent(struct read_file *f, struct buffer *b, struct error *err)
{
	uint64_t offset = b->index * SEAL_EXTENT_SIZE;
	int r;

	b->filled = (size_t)MIN(f->length - offset, (uint64_t)SEAL_EXTENT_SIZE);
	r = source_read(f->source, f->payload_name, f->version, offset, b->filled, b->data, err);
	count_fetch(f, r, b->filled);
	return r;
}

static void drop_extent(struct fetch *t, struct buffer *b, size_t served)
{
	buffer_cache_unpin(t->extents, b, served);
	buffer_cache_unreserve(t->extents, 1);
}

static void end_job(struct read_file *f)
{
	pthread_mutex_lock(&f->lock);
	if (--f->job_count == 0)
		pthread_cond_broadcast(&f->jobs_done);
	pthread_mutex_unlock(&f->lock);
}

static void run_ahead(void *arg)
{
	_cleanup_free_ struct ahead_job *job = arg;
	struct error err = {0};
	int r = -ECANCELED;

	if (!atomic_load(&job->fetch->stopping) && !atomic_load(&job->file->poisoned))
		r = read_extent(job->file, job->extent, &err);
	buffer_cache_loaded(job->fetch->extents, job->extent, r, &err);
	drop_extent(job->fetch, job->extent, 0);
	end_job(job->file);
}

/* False when there is no room or no thread for more. */
static bool start_ahead(struct fetch *t, struct read_file *f, uint64_t extent)
{
	struct ahead_job *job;
	struct buffer *b;
	bool load;

	if (buffer_cache_reserve(t->extents, 1, 0) < 0)
		return false;
	b = buffer_cache_pin(t->extents, f, extent, &load);
	if (!load) {
		drop_extent(t, b, 0);
		return true;
	}
	job = calloc(1, sizeof(*job));
	if (job) {
		*job = (struct ahead_job){t, f, b};
		pthread_mutex_lock(&f->lock);
		f->job_count++;
		pthread_mutex_unlock(&f->lock);
		if (pool_submit(t->threads, run_ahead, job) == 0)
			return true;
		free(job);
		end_job(f);
	}
	buffer_cache_loaded(t->extents, b, -ECANCELED, NULL);
	drop_extent(t, b, 0);
	return false;
}

bool fetch_note(struct fetch *t, struct read_file *f, uint64_t first_chunk, uint64_t last_chunk)
{
	uint64_t extent = last_chunk / CHUNKS_PER_EXTENT;
	unsigned extents;

	if (!f->by_extents)
		return false;
	pthread_mutex_lock(&t->lock);
	extents = stream_note(&t->streams, f, first_chunk, last_chunk, monotonic_ms(),
			      (unsigned)buffer_cache_count(t->extents));
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 1; i < extents; i++)
		if ((extent + i) * SEAL_EXTENT_SIZE >= f->length || !start_ahead(t, f, extent + i))
			break;
	return extents > 0;
}

/* 0 and a pinned extent; -EAGAIN: none there and none wanted, or no room. */
static int take_extent(struct fetch *t, struct read_file *f, uint64_t extent, bool whole_extent,
		       struct buffer **ret, struct error *err)
{
	struct buffer *b;
	bool load = false;
	int r;

	if (buffer_cache_reserve(t->extents, 1, 0) < 0)
		return -EAGAIN;
	b = whole_extent ? buffer_cache_pin(t->extents, f, extent, &load)
			 : buffer_cache_find(t->extents, f, extent);
	if (!b) {
		buffer_cache_unreserve(t->extents, 1);
		return -EAGAIN;
	}
	if (load) {
		r = read_extent(f, b, err);
		buffer_cache_loaded(t->extents, b, r, err);
	} else {
		r = buffer_cache_wait(t->extents, b, monotonic_ms() + READ_WAIT_MS, err);
	}
	if (r < 0) {
		drop_extent(t, b, 0);
		/* Given up by the one who meant to fetch it: fetch the chunk alone. */
		return r == -ECANCELED && !atomic_load(&t->stopping) ? -EAGAIN : r;
	}
	*ret = b;
	return 0;
}

int fetch_chunk(struct fetch *t, struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
		uint8_t *buf, struct fetched *ret, struct error *err)
{
	uint64_t offset = index * SEAL_CHUNK_SIZE;
	int r = -EAGAIN;

	*ret = (struct fetched){0};
	if (atomic_load(&t->stopping))
		return -ECANCELED;
	if (f->by_extents && !fresh)
		r = take_extent(t, f, index / CHUNKS_PER_EXTENT, whole_extent, &ret->extent, err);
	if (r == 0) {
		ret->data = ret->extent->data + offset % SEAL_EXTENT_SIZE;
		return 0;
	}
	if (r != -EAGAIN)
		return r;
	error_clear(err);
	ret->data = buf;
	r = (fresh ? source_read_fresh : source_read)(f->source, f->payload_name, f->version,
						      offset, seal_chunk_size(f->seal, index), buf,
						      err);
	count_fetch(f, r, seal_chunk_size(f->seal, index));
	return r;
}

void fetched_done(struct fetch *t, struct fetched *c, size_t size)
{
	if (c->extent)
		drop_extent(t, c->extent, size);
	c->extent = NULL;
}

void fetch_forget(struct fetch *t, struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	stream_forget(&t->streams, f);
	pthread_mutex_unlock(&t->lock);
	pthread_mutex_lock(&f->lock);
	while (f->job_count > 0)
		pthread_cond_wait(&f->jobs_done, &f->lock);
	pthread_mutex_unlock(&f->lock);
	buffer_cache_forget(t->extents, f);
}
