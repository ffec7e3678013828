/*
 * The buffer cache. Job: hand out a fixed amount of memory to readers without ever letting two
 * of them load the same piece or wait for each other in a circle. Trusts its callers to load
 * the pieces assigned to them. Must never give out a buffer whose load has not succeeded.
 */
#include "fs/read/buffers.h"

#include "crypto/base/clock.h"
#include "crypto/base/locked.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum buffer_state { BUFFER_EMPTY, BUFFER_LOADING, BUFFER_READY, BUFFER_FAILED };

/* All fields are guarded by the cache's lock. */
struct buffer_private {
	struct buffer self;
	enum buffer_state state;
	const void *owner; /* NULL: not in the table */
	unsigned pins;
	size_t served;
	struct buffer_private *chain;	    /* of the hash bucket */
	struct buffer_private *prev, *next; /* of the idle list; only without pins */
	pthread_cond_t loaded;
	int code;
	struct error err;
};

struct buffer_cache {
	size_t count, buffer_size, bucket_count;
	uint8_t *memory;
	struct buffer_private *buffers;
	struct buffer_private **buckets;

	pthread_mutex_t lock;
	pthread_cond_t room;
	size_t reserved;
	size_t limit; /* that may be reserved; at most the count */
	size_t live;  /* that are not put away; at least what is reserved */
	bool stopped;
	bool locked; /* immutable */
	/* Rings with a head; the next victim is idle.next. */
	struct buffer_private idle;
	struct buffer_private away; /* without memory */
};

int buffer_cache_new(size_t count, size_t buffer_size, struct buffer_cache **ret)
{
	struct buffer_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->count = count;
	c->buffer_size = buffer_size;
	for (c->bucket_count = 16; c->bucket_count < 2 * count;)
		c->bucket_count *= 2;
	c->buffers = calloc(count, sizeof(*c->buffers));
	c->buckets = calloc(c->bucket_count, sizeof(struct buffer_private *));
	if (c->buffers && c->buckets)
		c->memory = locked_map(count * buffer_size, &c->locked);
	if (!c->memory) {
		free(c->buffers);
		free(c->buckets);
		free(c);
		return -ENOMEM;
	}
	pthread_mutex_init(&c->lock, NULL);
	monotonic_cond_init(&c->room);
	c->idle.prev = c->idle.next = &c->idle;
	c->away.prev = c->away.next = &c->away;
	c->limit = c->live = count;
	for (size_t i = 0; i < count; i++) {
		struct buffer_private *b = &c->buffers[i];

		b->self.data = c->memory + i * buffer_size;
		b->self.private = b;
		monotonic_cond_init(&b->loaded);
		b->prev = c->idle.prev;
		b->next = &c->idle;
		b->prev->next = b->next->prev = b;
	}
	*ret = c;
	return 0;
}

void buffer_cache_free(struct buffer_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		pthread_cond_destroy(&c->buffers[i].loaded);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	munmap(c->memory, c->count * c->buffer_size);
	free(c->buffers);
	free(c->buckets);
	free(c);
}

size_t buffer_cache_count(struct buffer_cache *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = c->limit;
	pthread_mutex_unlock(&c->lock);
	return n;
}

bool buffer_cache_is_locked(const struct buffer_cache *c)
{
	return c->locked;
}

void buffer_cache_stop(struct buffer_cache *c)
{
	pthread_mutex_lock(&c->lock);
	c->stopped = true;
	pthread_cond_broadcast(&c->room);
	for (size_t i = 0; i < c->count; i++)
		pthread_cond_broadcast(&c->buffers[i].loaded);
	pthread_mutex_unlock(&c->lock);
}

int buffer_cache_reserve(struct buffer_cache *c, size_t n, uint64_t deadline_ms)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->stopped && r == 0 && c->reserved + n > c->limit)
		r = deadline_ms ? monotonic_cond_wait(&c->room, &c->lock, deadline_ms) : -EAGAIN;
	if (c->stopped)
		r = -ECANCELED;
	else if (c->reserved + n <= c->limit) {
		c->reserved += n;
		r = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

size_t buffer_cache_reserved(struct buffer_cache *c)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = c->reserved;
	pthread_mutex_unlock(&c->lock);
	return n;
}

static struct buffer_private **bucket_of(struct buffer_cache *c, const void *owner, uint64_t index)
{
	uint64_t h = ((uint64_t)(uintptr_t)owner >> 4) + index * UINT64_C(0x9E3779B97F4A7C15);

	return &c->buckets[(h ^ h >> 32) & (c->bucket_count - 1)];
}

static struct buffer_private *table_find(struct buffer_cache *c, const void *owner, uint64_t index)
{
	struct buffer_private *b = *bucket_of(c, owner, index);

	while (b && (b->owner != owner || b->self.index != index))
		b = b->chain;
	return b;
}

static void table_remove(struct buffer_cache *c, struct buffer_private *b)
{
	struct buffer_private **p;

	if (!b->owner)
		return;
	p = bucket_of(c, b->owner, b->self.index);
	while (*p != b)
		p = &(*p)->chain;
	*p = b->chain;
	b->owner = NULL;
}

static void idle_remove(struct buffer_private *b)
{
	b->prev->next = b->next;
	b->next->prev = b->prev;
}

static void idle_insert_after(struct buffer_private *b, struct buffer_private *where)
{
	b->prev = where;
	b->next = where->next;
	b->prev->next = b->next->prev = b;
}

/* Down to the limit; fewer buffers than are reserved, which have to be there, are idle. Under the
 * lock. */
static void put_away(struct buffer_cache *c)
{
	while (c->live > MAX(c->limit, c->reserved)) {
		struct buffer_private *b = c->idle.next;

		idle_remove(b);
		table_remove(c, b);
		b->state = BUFFER_EMPTY;
		locked_give_back(b->self.data, c->buffer_size);
		idle_insert_after(b, &c->away);
		c->live--;
	}
}

void buffer_cache_limit(struct buffer_cache *c, size_t count)
{
	pthread_mutex_lock(&c->lock);
	c->limit = MIN(MAX(count, (size_t)2), c->count);
	put_away(c);
	while (c->live < c->limit) {
		struct buffer_private *b = c->away.next;

		idle_remove(b);
		idle_insert_after(b, &c->idle);
		c->live++;
	}
	pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->lock);
}

void buffer_cache_unreserve(struct buffer_cache *c, size_t n)
{
	pthread_mutex_lock(&c->lock);
	c->reserved -= n;
	put_away(c);
	pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->lock);
}

static struct buffer_private *pin_existing(struct buffer_cache *c, const void *owner,
					   uint64_t index)
{
	struct buffer_private *b = table_find(c, owner, index);

	if (b && b->pins++ == 0)
		idle_remove(b);
	return b;
}

struct buffer *buffer_cache_pin(struct buffer_cache *c, const void *owner, uint64_t index,
				bool *ret_load)
{
	struct buffer_private *b;

	pthread_mutex_lock(&c->lock);
	b = pin_existing(c, owner, index);
	*ret_load = !b;
	if (!b) {
		/* Not empty: as many buffers as are pinned are reserved, and one more is. */
		b = c->idle.next;
		idle_remove(b);
		table_remove(c, b);
		b->owner = owner;
		b->self.index = index;
		b->self.filled = 0;
		b->self.offered = false;
		b->state = BUFFER_LOADING;
		b->pins = 1;
		b->served = 0;
		b->chain = *bucket_of(c, owner, index);
		*bucket_of(c, owner, index) = b;
	}
	pthread_mutex_unlock(&c->lock);
	return &b->self;
}

void buffer_cache_loaded(struct buffer_cache *c, struct buffer *buf, int code,
			 const struct error *err)
{
	struct buffer_private *b = buf->private;

	pthread_mutex_lock(&c->lock);
	b->code = code;
	if (code < 0) {
		b->state = BUFFER_FAILED;
		if (err)
			b->err = *err;
		else
			error_clear(&b->err);
		table_remove(c, b); /* the next reader tries anew */
	} else {
		b->state = BUFFER_READY;
	}
	pthread_cond_broadcast(&b->loaded);
	pthread_mutex_unlock(&c->lock);
}

int buffer_cache_wait(struct buffer_cache *c, struct buffer *buf, uint64_t deadline_ms,
		      struct error *err)
{
	struct buffer_private *b = buf->private;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (b->state == BUFFER_LOADING && !c->stopped && r == 0)
		r = monotonic_cond_wait(&b->loaded, &c->lock, deadline_ms);
	if (b->state == BUFFER_READY) {
		r = 0;
	} else if (b->state == BUFFER_FAILED) {
		r = b->code;
		if (err && !err->code)
			*err = b->err;
	} else if (c->stopped) {
		r = -ECANCELED;
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

void buffer_cache_unpin(struct buffer_cache *c, struct buffer *buf, size_t served)
{
	struct buffer_private *b = buf->private;

	pthread_mutex_lock(&c->lock);
	b->served += served;
	if (--b->pins == 0) {
		bool useless = b->state != BUFFER_READY || b->served >= b->self.filled;

		if (b->state != BUFFER_READY)
			table_remove(c, b);
		idle_insert_after(b, useless ? &c->idle : c->idle.prev);
	}
	pthread_mutex_unlock(&c->lock);
}

void buffer_cache_forget(struct buffer_cache *c, const void *owner)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++) {
		struct buffer_private *b = &c->buffers[i];

		if (b->owner != owner || b->pins > 0)
			continue;
		table_remove(c, b);
		b->state = BUFFER_EMPTY;
		idle_remove(b);
		idle_insert_after(b, &c->idle);
	}
	pthread_mutex_unlock(&c->lock);
}
