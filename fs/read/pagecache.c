/*
 * The kernel's page cache. Job: track the pushed chunks, choose the next one, and push it while
 * there is memory. Trusts its callers for checked plaintext. Must never hold its lock during a call
 * to the kernel.
 */
#include "fs/read/pagecache.h"

#include "crypto/base/clock.h"
#include "crypto/base/memory.h"
#include "fs/read/read_internal.h"

#include <errno.h>

struct pagecache {
	read_store *store; /* NULL: nothing is pushed */
	int (*introduce)(void *target);
	struct readers *readers;

	pthread_mutex_t lock; /* guards what follows, and each file's struct pagecache_file */
	bool stopping;
	uint64_t held_chunks; /* of all files */
	uint64_t room, room_ms;
};

int pagecache_new(const struct read_engine_options *options, struct readers *readers,
		  struct pagecache **ret)
{
	struct pagecache *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->store = options->fill != READ_FILL_OFF ? options->store : NULL;
	t->introduce = options->introduce;
	t->readers = readers;
	pthread_mutex_init(&t->lock, NULL);
	*ret = t;
	return 0;
}

void pagecache_free(struct pagecache *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void pagecache_stop(struct pagecache *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_mutex_unlock(&t->lock);
}

bool pagecache_is_on(const struct pagecache *t)
{
	return t->store != NULL;
}

static bool is_held(const struct pagecache_file *s, uint64_t chunk)
{
	return s->held && (s->held[chunk / 8] >> chunk % 8 & 1) != 0;
}

/* Under the lock, like all following functions unless stated otherwise. */
static void set_held(struct pagecache *t, struct read_file *f, uint64_t chunk)
{
	struct pagecache_file *s = &f->pagecache;

	if (!s->held)
		s->held = calloc(1, (size_t)(f->payload.chunk_count / 8 + 1));
	if (!s->held || is_held(s, chunk))
		return;
	s->held[chunk / 8] |= (uint8_t)(1U << chunk % 8);
	s->held_count++;
	t->held_chunks++;
}

/* Memory that may still be filled, read every PAGECACHE_ROOM_MS. */
static bool has_room(struct pagecache *t, uint64_t now_ms)
{
	if (now_ms - t->room_ms >= PAGECACHE_ROOM_MS || t->room_ms == 0) {
		t->room = memory_unused(t->held_chunks * SEAL_CHUNK_SIZE);
		t->room_ms = now_ms;
	}
	if (t->stopping || t->room < PAGECACHE_MARGIN + SEAL_CHUNK_SIZE)
		return false;
	t->room -= SEAL_CHUNK_SIZE;
	return true;
}

void pagecache_note(struct pagecache *t, struct read_file *f, uint64_t offset, uint64_t size)
{
	const struct payload *p = &f->payload;
	uint64_t chunk = offset / SEAL_CHUNK_SIZE, end = offset + size;

	if (!t->store)
		return;
	pthread_mutex_lock(&t->lock);
	/* A chunk's end comes last, in any pieces that the kernel requests. */
	for (; chunk < p->chunk_count && MIN((chunk + 1) * SEAL_CHUNK_SIZE, p->length) <= end;
	     chunk++)
		set_held(t, f, chunk);
	pthread_mutex_unlock(&t->lock);
}

void pagecache_may_introduce(struct pagecache *t, struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	f->pagecache.introductions = 0;
	pthread_mutex_unlock(&t->lock);
}

bool pagecache_has_all(struct pagecache *t, struct read_file *f)
{
	bool all;

	pthread_mutex_lock(&t->lock);
	all = f->pagecache.held_count == f->payload.chunk_count;
	pthread_mutex_unlock(&t->lock);
	return all;
}

/* chunk_count: none now. */
static uint64_t find_missing(struct pagecache *t, struct read_file *f, uint64_t now_ms)
{
	const struct pagecache_file *s = &f->pagecache;
	uint64_t count = f->payload.chunk_count;

	for (uint64_t n = 0; n < count;) {
		uint64_t chunk = (s->cursor + n) % count;
		uint64_t skip = is_held(s, chunk)
					? 1
					: readers_near(t->readers, &f->payload, chunk, now_ms);

		if (skip == 0)
			return chunk;
		n += MIN(skip, count - chunk);
	}
	return count;
}

int pagecache_choose(struct pagecache *t, struct read_file *f, uint64_t now_ms, uint64_t *ret)
{
	struct pagecache_file *s = &f->pagecache;
	uint64_t count = f->payload.chunk_count, chunk = count;
	int r = -ENODATA;

	pthread_mutex_lock(&t->lock);
	if (s->held_count < count) {
		chunk = find_missing(t, f, now_ms);
		r = chunk == count ? -EAGAIN : has_room(t, now_ms) ? 0 : -ENOSPC;
	}
	if (r == 0) {
		s->cursor = chunk + 1 == count ? 0 : chunk + 1;
		set_held(t, f, chunk);
		*ret = chunk;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

int pagecache_take(struct pagecache *t, struct read_file *f, uint64_t chunk, bool rest_fits,
		   uint64_t now_ms)
{
	uint64_t missing;
	bool room;

	if (!t->store)
		return -ENOSPC;
	pthread_mutex_lock(&t->lock);
	room = atomic_load(&f->kept_out) != READ_KEEPS_ALL_OUT && has_room(t, now_ms);
	missing = f->payload.chunk_count - f->pagecache.held_count;
	if (rest_fits)
		room = room && t->room >= PAGECACHE_MARGIN + missing * SEAL_CHUNK_SIZE;
	if (room)
		set_held(t, f, chunk);
	pthread_mutex_unlock(&t->lock);
	return room ? 0 : -ENOSPC;
}

void pagecache_give_up(struct pagecache *t, struct read_file *f, uint64_t chunk)
{
	struct pagecache_file *s = &f->pagecache;

	pthread_mutex_lock(&t->lock);
	if (is_held(s, chunk)) {
		s->held[chunk / 8] &= (uint8_t) ~(1U << chunk % 8);
		s->held_count--;
		t->held_chunks--;
	}
	pthread_mutex_unlock(&t->lock);
}

static bool may_introduce(struct pagecache *t, struct read_file *f)
{
	bool may;

	pthread_mutex_lock(&t->lock);
	may = t->introduce && f->pagecache.introductions < PAGECACHE_INTRODUCTIONS && !t->stopping;
	f->pagecache.introductions += may;
	pthread_mutex_unlock(&t->lock);
	return may;
}

int pagecache_push(struct pagecache *t, struct read_file *f, uint64_t chunk, const uint8_t *data,
		   size_t size, bool introduce)
{
	uint64_t offset = chunk * SEAL_CHUNK_SIZE;
	int r = t->store(f->target, offset, data, size);

	/* Nobody has looked it up yet, or the kernel forgot it again. */
	if (r == -ENOENT && introduce && may_introduce(t, f)) {
		r = t->introduce(f->target);
		if (r == 0)
			r = t->store(f->target, offset, data, size);
	}
	if (r == 0)
		stats_add(f->payload.stats, STAT_FILLED_BYTES, size);
	else
		pagecache_give_up(t, f, chunk);
	return r;
}

void pagecache_forget(struct pagecache *t, struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	t->held_chunks -= f->pagecache.held_count;
	pthread_mutex_unlock(&t->lock);
	free(f->pagecache.held);
}
