/*
 * Fetching ciphertext. Job: keep the network busy ahead of readers inside a fixed number of extent
 * buffers, what a reader waits for first. Trusts nothing it fetches: everything is checked after
 * it. When its buffers are all taken it does without them, so that it can slow a reader down but
 * never stop one. The lock guards tables only and is never held across I/O.
 */
#include "fs/read/fetch.h"

#include "fs/read/extents.h"
#include "fs/read/file.h"
#include "fs/read/link.h"
#include "fs/read/monotonic.h"
#include "fs/read/stream.h"

#include <errno.h>

/* Extents beyond those on their way: ready, or being used. Without them a reader that is as fast
 * as the link would find it idle now and then. */
#define EXTENTS_READY 4
/* Left to readers that ask for something else. */
#define EXTENTS_SPARE 2

struct fetch {
	struct pool *threads;
	atomic_bool stopping;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t loaded;
	struct extent_table table;
	struct stream_table streams;
	struct link link;
	unsigned active; /* requests ahead under way, or about to be */
};

int fetch_new(size_t extents, struct fetch **ret)
{
	struct fetch *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	monotonic_cond_init(&t->loaded);
	link_init(&t->link, (unsigned)MIN(extents, (size_t)LINK_MAX));
	r = extent_table_init(&t->table, extents);
	if (r == 0)
		r = pool_new(t->link.limit_max, &t->threads);
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
	extent_table_done(&t->table);
	pthread_cond_destroy(&t->loaded);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void fetch_stop(struct fetch *t)
{
	pthread_mutex_lock(&t->lock);
	atomic_store(&t->stopping, true);
	pthread_cond_broadcast(&t->loaded);
	pthread_mutex_unlock(&t->lock);
}

void fetch_memory(struct fetch *t, size_t *ret_all, size_t *ret_used)
{
	size_t used = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->table.count; i++) {
		const struct extent *e = &t->table.extents[i];

		used += e->state == EXTENT_LOADING ||
			(e->state == EXTENT_READY && !extent_is_used_up(e));
	}
	pthread_mutex_unlock(&t->lock);
	*ret_all = t->table.count * SEAL_EXTENT_SIZE;
	*ret_used = used * SEAL_EXTENT_SIZE;
}

static void count_fetch(struct read_file *f, int code, size_t size)
{
	stats_add(f->stats, STAT_FETCHES, 1);
	if (code == 0)
		stats_add(f->stats, STAT_FETCHED_BYTES, size);
}

static int read_extent(struct read_file *f, struct extent *e, struct error *err)
{
	uint64_t offset = e->first * SEAL_CHUNK_SIZE,
		 end = offset + (uint64_t)e->count * SEAL_CHUNK_SIZE;
	size_t size = (size_t)(MIN(end, f->length) - offset);
	int r = source_read(f->source, f->payload_name, f->version, offset, size, e->data, err);

	count_fetch(f, r, size);
	return r;
}

/* Fetches a queued piece. Called and left with the lock held, which is not held in between. */
static void load_locked(struct fetch *t, struct read_file *f, struct extent *e)
{
	struct error err = {0};
	int r = -ECANCELED;

	e->state = EXTENT_LOADING;
	pthread_mutex_unlock(&t->lock);
	if (!atomic_load(&t->stopping) && !atomic_load(&f->poisoned))
		r = read_extent(f, e, &err);
	pthread_mutex_lock(&t->lock);
	e->state = r == 0 ? EXTENT_READY : EXTENT_FAILED;
	e->code = r;
	e->err = err;
	extent_touch(&t->table, e);
	if (r == 0)
		link_done(&t->link, (uint64_t)e->count * SEAL_CHUNK_SIZE,
			  extent_next_queued(&t->table) != NULL, monotonic_ms());
	pthread_cond_broadcast(&t->loaded);
}

static void run_ahead(void *arg)
{
	struct fetch *t = arg;
	struct extent *e;

	pthread_mutex_lock(&t->lock);
	while (t->active <= t->link.limit && (e = extent_next_queued(&t->table)))
		load_locked(t, (struct read_file *)(uintptr_t)e->file, e);
	t->active--;
	pthread_mutex_unlock(&t->lock);
}

/* As many threads as the link allows and the queue needs. Under the lock. */
static void start_threads(struct fetch *t)
{
	unsigned queued = 0;

	for (size_t i = 0; i < t->table.count; i++)
		queued += t->table.extents[i].state == EXTENT_QUEUED;
	/* A thread that ends its request takes the next one by itself. */
	while (queued-- > 0 && t->active < t->link.limit &&
	       pool_submit(t->threads, run_ahead, t) == 0)
		t->active++;
}

/* Under the lock. False: no room. */
static bool queue_range(struct fetch *t, const struct read_file *f, uint64_t stream, uint64_t first,
			uint64_t end, enum extent_purpose purpose)
{
	while ((first = extent_gap(&t->table, f, first, end)) < end) {
		struct extent *e = extent_take(&t->table, f, first, end, purpose);

		if (!e)
			return false;
		e->stream = stream;
	}
	return true;
}

/* Whether a piece lies in the stream's way. What its last requests asked for may not have been
 * taken yet. */
static bool is_planned(const struct stream_plan *p, const struct extent *e)
{
	for (unsigned i = 0; i < p->range_count; i++)
		if (e->first < p->ranges[i].end &&
		    e->first + e->count + (i == 0 ? STREAM_LATE : 0) > p->ranges[i].first)
			return true;
	return false;
}

/*
 * What lies in a reader's way is its own from now on, whoever it was fetched for: a reader whose
 * requests come too much out of order, or that skips what was filled, looks like one that has left
 * and one that begins. Under the lock.
 */
static void adopt(struct fetch *t, const struct read_file *f, const struct stream_plan *p)
{
	for (size_t i = 0; i < t->table.count; i++) {
		struct extent *e = &t->table.extents[i];

		if (e->state == EXTENT_FREE || e->file != f || e->stream == 0 || !is_planned(p, e))
			continue;
		e->stream = p->stream;
		e->purpose = MIN(e->purpose, EXTENT_AHEAD);
	}
}

/* What was fetched ahead for readers that have gone elsewhere makes room. Under the lock. */
static void drop_left(struct fetch *t)
{
	for (size_t i = 0; i < t->table.count; i++) {
		struct extent *e = &t->table.extents[i];

		if (e->users > 0 || e->stream == 0 || !stream_is_left(&t->streams, e->stream))
			continue;
		if (e->state == EXTENT_QUEUED)
			extent_free(e);
		else if (e->state == EXTENT_READY)
			extent_give_up(e);
	}
}

/* Chunks that may be on their way or unread. */
static uint64_t room_for_streams(const struct fetch *t)
{
	size_t most = t->table.count > EXTENTS_SPARE ? t->table.count - EXTENTS_SPARE : 1;

	return MIN((uint64_t)most, (uint64_t)t->link.limit + EXTENTS_READY) * EXTENT_CHUNKS;
}

bool fetch_note(struct fetch *t, struct read_file *f, uint64_t offset, uint64_t size,
		bool background)
{
	struct stream_plan plan;

	if (!f->by_extents)
		return false;
	pthread_mutex_lock(&t->lock);
	stream_note(&t->streams, f, &f->access, offset, size, monotonic_ms(), room_for_streams(t),
		    background, &plan);
	if (!background)
		adopt(t, f, &plan);
	drop_left(t);
	for (unsigned i = 0; i < plan.range_count; i++)
		if (!queue_range(t, f, plan.stream, plan.ranges[i].first, plan.ranges[i].end,
				 background ? EXTENT_FOR_FILL : EXTENT_AHEAD))
			break;
	start_threads(t);
	pthread_mutex_unlock(&t->lock);
	return plan.sequential;
}

void fetch_expect(struct fetch *t, struct read_file *f)
{
	if (!f->by_extents)
		return;
	pthread_mutex_lock(&t->lock);
	stream_expect(&t->streams, f, monotonic_ms());
	pthread_mutex_unlock(&t->lock);
}

void fetch_ends(struct fetch *t, struct read_file *f)
{
	if (!f->by_extents || f->chunk_count == 0)
		return;
	pthread_mutex_lock(&t->lock);
	if (queue_range(t, f, 0, f->chunk_count - 1, f->chunk_count, EXTENT_AHEAD))
		(void)queue_range(t, f, 0, 0, 1, EXTENT_AHEAD);
	start_threads(t);
	pthread_mutex_unlock(&t->lock);
}

void fetch_set_map(struct fetch *t, struct read_file *f, struct gguf_map *map)
{
	pthread_mutex_lock(&t->lock);
	access_set_map(&f->access, map);
	pthread_mutex_unlock(&t->lock);
}

void fetch_throttled(struct fetch *t)
{
	pthread_mutex_lock(&t->lock);
	link_throttled(&t->link, monotonic_ms());
	pthread_mutex_unlock(&t->lock);
}

/*
 * How much to ask for when chunk `index` is nowhere: a stream's reader wants it up to where it has
 * asked already, or to the extent's end. Under the lock.
 */
static uint64_t wanted_end(const struct fetch *t, const struct read_file *f, uint64_t index,
			   bool whole_extent)
{
	const struct stream *s = stream_at(&t->streams, f, index);

	if (whole_extent && (!s || s->next <= index + 1))
		return f->chunk_count;
	return s && s->next > index ? s->next : index + 1;
}

/* 0 and a piece with one more user; -EAGAIN: none there and none wanted, or no room. */
static int take_locked(struct fetch *t, struct read_file *f, uint64_t index, bool whole_extent,
		       struct extent **ret, struct error *err)
{
	uint64_t deadline_ms = monotonic_ms() + READ_WAIT_MS, end;
	struct extent *e = extent_find(&t->table, f, index);
	int r = 0;

	if (!e) {
		end = wanted_end(t, f, index, whole_extent);
		if (end - index > 1)
			e = extent_take(&t->table, f, index, MIN(end, f->chunk_count),
					EXTENT_DEMAND);
	}
	if (!e)
		return -EAGAIN;
	e->users++;
	if (e->state == EXTENT_QUEUED)
		load_locked(t, f, e);
	while (e->state == EXTENT_LOADING && r == 0 && !atomic_load(&t->stopping))
		r = monotonic_cond_wait(&t->loaded, &t->lock, deadline_ms);
	if (e->state == EXTENT_READY) {
		*ret = e;
		return 0;
	}
	if (e->state == EXTENT_FAILED) {
		r = e->code;
		if (err && !err->code)
			*err = e->err;
	} else if (atomic_load(&t->stopping)) {
		r = -ECANCELED;
	}
	e->users--;
	return r;
}

int fetch_chunk(struct fetch *t, struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
		uint8_t *buf, struct fetched *ret, struct error *err)
{
	uint64_t offset = index * SEAL_CHUNK_SIZE;
	int r = -EAGAIN;

	*ret = (struct fetched){.index = index};
	if (atomic_load(&t->stopping))
		return -ECANCELED;
	if (f->by_extents && !fresh) {
		pthread_mutex_lock(&t->lock);
		r = take_locked(t, f, index, whole_extent, &ret->extent, err);
		pthread_mutex_unlock(&t->lock);
	}
	if (r == 0) {
		ret->data = ret->extent->data + (index - ret->extent->first) * SEAL_CHUNK_SIZE;
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
	struct extent *e = c->extent;

	if (!e)
		return;
	pthread_mutex_lock(&t->lock);
	e->taken |= UINT32_C(1) << (c->index - e->first);
	e->users--;
	extent_touch(&t->table, e);
	pthread_mutex_unlock(&t->lock);
	c->extent = NULL;
}

/* True: something of f is on its way or in use. What is not is freed. Under the lock. */
static bool still_busy(struct fetch *t, const struct read_file *f)
{
	bool busy = false;

	for (size_t i = 0; i < t->table.count; i++) {
		struct extent *e = &t->table.extents[i];

		if (e->state == EXTENT_FREE || e->file != f)
			continue;
		if (e->users == 0 && e->state != EXTENT_LOADING)
			extent_free(e);
		else
			busy = true;
	}
	return busy;
}

void fetch_forget(struct fetch *t, struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	stream_forget(&t->streams, f);
	while (still_busy(t, f))
		pthread_cond_wait(&t->loaded, &t->lock);
	pthread_mutex_unlock(&t->lock);
}
