/*
 * A range of plaintext. Job: cut it into chunks, load those that nobody is loading, wait for the
 * rest, and hand out pinned pieces. A reader first loads everything it owns and only then waits
 * for others, and it reserved all its room at once: no two readers can wait for each other.
 */
#include "fs/read/read_internal.h"

#include "crypto/base/clock.h"
#include "fs/read/background.h"
#include "fs/read/pagecache.h"

#include <errno.h>

#define CHUNKS_MAX READ_PIECES_MAX

struct request {
	struct read_file *file;
	struct buffer_cache *cache;
	uint64_t first, deadline_ms;
	size_t count, pinned;
	bool whole_extent;
	struct buffer *buffers[CHUNKS_MAX];
	bool load[CHUNKS_MAX];
};

static int wait_for_one(struct request *q, size_t i, struct error *err)
{
	struct read_engine *e = q->file->engine;
	uint64_t since = stats_now();
	int r;

	for (;;) {
		r = buffer_cache_wait(q->cache, q->buffers[i], q->deadline_ms, err);
		since = stats_lap(q->file->payload.stats, STAT_WAIT_NS, since);
		if (r != -ECANCELED || atomic_load(&e->stopping))
			break;
		/* Its owner failed elsewhere and gave this chunk up. */
		buffer_cache_unpin(q->cache, q->buffers[i], 0);
		q->buffers[i] = buffer_cache_pin(q->cache, q->file, q->first + i, &q->load[i]);
		if (q->load[i]) {
			r = file_load_chunk(q->file, q->first + i, q->whole_extent, q->buffers[i],
					    err);
			buffer_cache_loaded(q->cache, q->buffers[i], r, err);
			break;
		}
	}
	if (r == -ETIMEDOUT)
		error_set(err, r, "%s: gave up waiting for a chunk that another reader fetches",
			  q->file->payload.label);
	return r;
}

/* What the request is to load; after a failure the rest is given back for others to load. */
static int load_own(struct request *q, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < q->count; i++) {
		int code = -ECANCELED;

		if (!q->load[i])
			continue;
		if (r == 0)
			r = code = file_load_chunk(q->file, q->first + i, q->whole_extent,
						   q->buffers[i], err);
		buffer_cache_loaded(q->cache, q->buffers[i], code, code == r ? err : NULL);
	}
	return r;
}

static int fill_request(struct request *q, struct error *err)
{
	int r;

	for (size_t i = 0; i < q->count; i++) {
		q->buffers[i] = buffer_cache_pin(q->cache, q->file, q->first + i, &q->load[i]);
		stats_add(q->file->payload.stats, q->load[i] ? STAT_CHUNK_MISSES : STAT_CHUNK_HITS,
			  1);
	}
	r = load_own(q, err);
	for (size_t i = 0; r == 0 && i < q->count; i++)
		if (!q->load[i])
			r = wait_for_one(q, i, err);
	return r;
}

/* Not one byte less than size: the kernel would put zeros there. */
static int cut_pieces(const struct request *q, uint64_t offset, size_t size,
		      struct read_result *ret, struct error *err)
{
	size_t skip = (size_t)(offset % SEAL_CHUNK_SIZE);

	for (size_t i = 0; i < q->count; i++) {
		struct buffer *b = q->buffers[i];
		size_t n = MIN(size, b->filled - MIN(skip, b->filled));

		ret->pieces[i] = (struct read_piece){b->data + skip, n, b};
		size -= n;
		skip = 0;
	}
	if (size > 0)
		return error_set(err, -EIO, "%s: a chunk is shorter than its place",
				 q->file->payload.label);
	ret->count = q->count;
	return 0;
}

enum read_purpose { READ_FOR_READER, READ_FOR_FILL, READ_A_LOOK };

static int read_range(struct read_file *f, uint64_t offset, size_t size, enum read_purpose purpose,
		      struct read_result *ret, struct error *err)
{
	struct request q = {.file = f, .cache = f->engine->chunks};
	uint64_t since, now_ms = monotonic_ms();
	struct error ignored = {0};
	struct reader_note note;
	int r;

	err = err ? err : &ignored;
	r = read_file_poisoned(f, err);
	*ret = (struct read_result){.file = f};
	if (r < 0)
		return r;
	if (size > SEAL_EXTENT_SIZE || (f->check == CHUNK_CHECK_FINGERPRINT && !f->hashed))
		return -EINVAL;
	if (size == 0 || offset >= f->payload.length)
		return 0;
	size = (size_t)MIN((uint64_t)size, f->payload.length - offset);
	q.first = offset / SEAL_CHUNK_SIZE;
	q.count = (size_t)((offset + size - 1) / SEAL_CHUNK_SIZE - q.first + 1);
	q.deadline_ms = now_ms + FETCH_WAIT_MS;
	if (purpose != READ_A_LOOK)
		readers_note(f->engine->readers, &f->payload, offset, size, now_ms,
			     purpose == READ_FOR_FILL, &note);
	if (purpose == READ_FOR_READER) {
		pagecache_note(f->engine->pagecache, f, offset, size);
		background_note(f->engine->background, f, offset, size, now_ms, &note);
		ret->jumped = note.jumped;
	}
	since = stats_now();
	r = buffer_cache_reserve(q.cache, q.count, q.deadline_ms);
	stats_lap(f->payload.stats, STAT_WAIT_NS, since);
	if (r < 0)
		return r;
	if (purpose != READ_A_LOOK)
		q.whole_extent = fetch_ahead(f->engine->fetch, &f->payload, &note);
	r = fill_request(&q, err);
	if (r == 0)
		r = cut_pieces(&q, offset, size, ret, err);
	if (r < 0) {
		for (size_t i = 0; i < q.count; i++)
			buffer_cache_unpin(q.cache, q.buffers[i], 0);
		buffer_cache_unreserve(q.cache, q.count);
	}
	return r;
}

static void answered(struct read_engine *e)
{
	if (atomic_fetch_sub(&e->answering, 1) == 1)
		background_go(e->background);
}

int read_file_read(struct read_file *f, uint64_t offset, size_t size, struct read_result *ret,
		   struct error *err)
{
	struct read_engine *e = f->engine;
	int r;

	atomic_fetch_add(&e->answering, 1);
	r = read_range(f, offset, size, READ_FOR_READER, ret, err);
	if (r == 0 && ret->count > 0)
		ret->answering = true;
	else
		answered(e);
	return r;
}

int read_file_background(struct read_file *f, uint64_t offset, size_t size, bool in_order,
			 struct read_result *ret)
{
	int r;

	/* Nobody has it open any more, and its tables went. */
	*ret = (struct read_result){.file = f};
	if (!read_file_try_use(f))
		return -ECANCELED;
	r = read_range(f, offset, size, in_order ? READ_FOR_FILL : READ_A_LOOK, ret, NULL);
	read_file_unuse(f);
	return r;
}

void read_result_clear(struct read_result *r)
{
	if (r->count == 0)
		return;
	if (r->answering)
		answered(r->file->engine);
	for (size_t i = 0; i < r->count; i++)
		buffer_cache_unpin(r->file->engine->chunks, r->pieces[i].pin, r->pieces[i].size);
	buffer_cache_unreserve(r->file->engine->chunks, r->count);
	r->count = 0;
}

void read_result_spread(struct read_result *r)
{
	struct read_engine *e = r->file->engine;

	if (r->count == 1 && r->jumped && r->pieces[0].size <= REST_REQUEST_MAX &&
	    background_offer(e->background, r->file, r->pieces[0].pin)) {
		r->count = 0; /* the rest has the pin now; the file may be freed */
		if (r->answering)
			answered(e);
	}
	read_result_clear(r);
}
