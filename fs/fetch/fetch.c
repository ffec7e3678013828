/*
 * Fetching ciphertext. Job: keep the network busy ahead of readers within a fixed number of extent
 * buffers; chunks that a reader waits for come first. Trusts nothing it fetches: everything is
 * checked later. If all buffers are in use it works without them, so that it can slow a reader down
 * but never stop one. The lock guards tables only and is never held across I/O.
 */
#include "fs/fetch/fetch.h"

#include "crypto/base/clock.h"
#include "crypto/base/pool.h"
#include "crypto/format.h"
#include "fs/fetch/extents.h"
#include "fs/fetch/width.h"

#include <errno.h>

/* Extents beyond those in flight: ready, or in use. Without them the link would sometimes be idle
 * if a reader is as fast as the link. */
#define EXTENTS_READY 4
/* Left to readers that ask for something else. */
#define EXTENTS_SPARE 2

struct fetch {
	struct pool *threads;
	atomic_bool stopping;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t loaded;
	struct extent_table table;
	struct readers *readers;
	struct link link;
	unsigned active; /* requests ahead under way, or about to be */
};

int fetch_new(size_t extents, struct readers *readers, struct fetch **ret)
{
	struct fetch *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->readers = readers;
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

static void count_fetch(struct payload *p, int code, size_t size)
{
	stats_add(p->stats, STAT_FETCHES, 1);
	if (code == 0)
		stats_add(p->stats, STAT_FETCHED_BYTES, size);
}

static int read_extent(struct payload *p, struct extent *e, struct error *err)
{
	uint64_t offset = e->first * SEAL_CHUNK_SIZE,
		 end = offset + (uint64_t)e->count * SEAL_CHUNK_SIZE;
	size_t size = (size_t)(MIN(end, p->length) - offset);
	int r = payload_read(p, false, offset, size, e->data, err);

	count_fetch(p, r, size);
	return r;
}

/* Fetches a queued piece. Called and left with the lock held, which is not held in between. */
static void load_locked(struct fetch *t, struct payload *p, struct extent *e)
{
	struct error err = {0};
	int r = -ECANCELED;

	e->state = EXTENT_LOADING;
	pthread_mutex_unlock(&t->lock);
	if (!atomic_load(&t->stopping) && !atomic_load(&p->abandoned))
		r = read_extent(p, e, &err);
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
		load_locked(t, (struct payload *)(uintptr_t)e->file, e);
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
static bool queue_range(struct fetch *t, const struct payload *p, uint64_t stream, uint64_t first,
			uint64_t end, enum extent_purpose purpose)
{
	while ((first = extent_gap(&t->table, p, first, end)) < end) {
		struct extent *e = extent_take(&t->table, p, first, end, purpose);

		if (!e)
			return false;
		e->stream = stream;
	}
	return true;
}

/* Whether a piece is ahead of the stream. The chunks of its last requests may not have been taken
 * yet. */
static bool is_planned(const struct reader_plan *plan, const struct extent *e)
{
	for (unsigned i = 0; i < plan->range_count; i++)
		if (e->first < plan->ranges[i].end &&
		    e->first + e->count + (i == 0 ? STREAM_LATE : 0) > plan->ranges[i].first)
			return true;
	return false;
}

/*
 * Pieces ahead of a reader belong to it from now on, regardless of the reader that they were
 * fetched for: a reader whose requests are too far out of order, or that skips filled chunks, looks
 * like one that has left and a new one. Under the lock.
 */
static void adopt(struct fetch *t, const struct payload *p, const struct reader_plan *plan,
		  uint64_t stream)
{
	for (size_t i = 0; i < t->table.count; i++) {
		struct extent *e = &t->table.extents[i];

		if (e->state == EXTENT_FREE || e->file != p || e->stream == 0 ||
		    !is_planned(plan, e))
			continue;
		e->stream = stream;
		e->purpose = MIN(e->purpose, EXTENT_AHEAD);
	}
}

/* What was fetched ahead for readers that have gone elsewhere makes room. Under the lock. */
static void drop_left(struct fetch *t)
{
	for (size_t i = 0; i < t->table.count; i++) {
		struct extent *e = &t->table.extents[i];

		if (e->users > 0 || e->stream == 0 || !readers_have_left(t->readers, e->stream))
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

bool fetch_ahead(struct fetch *t, struct payload *p, const struct reader_note *note)
{
	struct reader_plan plan;

	if (!p->by_extents)
		return false;
	pthread_mutex_lock(&t->lock);
	readers_plan(t->readers, note->stream, monotonic_ms(), room_for_streams(t), &plan);
	if (!note->background)
		adopt(t, p, &plan, note->stream);
	drop_left(t);
	for (unsigned i = 0; i < plan.range_count; i++)
		if (!queue_range(t, p, note->stream, plan.ranges[i].first, plan.ranges[i].end,
				 note->background ? EXTENT_FOR_FILL : EXTENT_AHEAD))
			break;
	start_threads(t);
	pthread_mutex_unlock(&t->lock);
	return plan.sequential;
}

void fetch_ends(struct fetch *t, struct payload *p)
{
	if (!p->by_extents || p->chunk_count == 0)
		return;
	pthread_mutex_lock(&t->lock);
	if (queue_range(t, p, 0, p->chunk_count - 1, p->chunk_count, EXTENT_AHEAD))
		(void)queue_range(t, p, 0, 0, 1, EXTENT_AHEAD);
	start_threads(t);
	pthread_mutex_unlock(&t->lock);
}

void fetch_throttled(struct fetch *t)
{
	pthread_mutex_lock(&t->lock);
	link_throttled(&t->link, monotonic_ms());
	pthread_mutex_unlock(&t->lock);
}

/*
 * The range to request if no piece holds chunk `index`: up to the end of what the stream's reader
 * has requested, or to the extent's end. Under the lock.
 */
static uint64_t wanted_end(const struct fetch *t, const struct payload *p, uint64_t index,
			   bool whole_extent)
{
	uint64_t asked = readers_asked(t->readers, p, index);

	if (whole_extent && asked <= index + 1)
		return p->chunk_count;
	return MAX(asked, index + 1);
}

/* 0 and a piece with one more user; -EAGAIN: none there and none wanted, or no room. */
static int take_locked(struct fetch *t, struct payload *p, uint64_t index, bool whole_extent,
		       struct extent **ret, struct error *err)
{
	uint64_t deadline_ms = monotonic_ms() + FETCH_WAIT_MS, end;
	struct extent *e = extent_find(&t->table, p, index);
	int r = 0;

	if (!e) {
		end = wanted_end(t, p, index, whole_extent);
		if (end - index > 1)
			e = extent_take(&t->table, p, index, MIN(end, p->chunk_count),
					EXTENT_DEMAND);
	}
	if (!e)
		return -EAGAIN;
	e->users++;
	if (e->state == EXTENT_QUEUED)
		load_locked(t, p, e);
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

int fetch_chunk(struct fetch *t, struct payload *p, uint64_t index, bool whole_extent, bool fresh,
		uint8_t *buf, struct fetched *ret, struct error *err)
{
	uint64_t offset = index * SEAL_CHUNK_SIZE;
	size_t size = (size_t)MIN((uint64_t)SEAL_CHUNK_SIZE, p->length - offset);
	int r = -EAGAIN;

	*ret = (struct fetched){.index = index};
	if (atomic_load(&t->stopping))
		return -ECANCELED;
	if (p->by_extents && !fresh) {
		pthread_mutex_lock(&t->lock);
		r = take_locked(t, p, index, whole_extent, &ret->extent, err);
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
	r = payload_read(p, fresh, offset, size, buf, err);
	count_fetch(p, r, size);
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

/* True: something of p is on its way or in use. What is not is freed. Under the lock. */
static bool still_busy(struct fetch *t, const struct payload *p)
{
	bool busy = false;

	for (size_t i = 0; i < t->table.count; i++) {
		struct extent *e = &t->table.extents[i];

		if (e->state == EXTENT_FREE || e->file != p)
			continue;
		if (e->users == 0 && e->state != EXTENT_LOADING)
			extent_free(e);
		else
			busy = true;
	}
	return busy;
}

void fetch_forget(struct fetch *t, struct payload *p)
{
	pthread_mutex_lock(&t->lock);
	while (still_busy(t, p))
		pthread_cond_wait(&t->loaded, &t->lock);
	pthread_mutex_unlock(&t->lock);
}
