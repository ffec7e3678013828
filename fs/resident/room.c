/*
 * Memory. Job: decide whether a model fits, and which one leaves for it. Trusts
 * crypto/base/memory.h for what groups and machine allow. Must never take memory that the OOM
 * killer would then look for elsewhere: in doubt a model is served through the page cache.
 */
#include "fs/resident/resident_internal.h"

#include "crypto/base/clock.h"
#include "crypto/base/memory.h"

#include <errno.h>
#include <inttypes.h>

#define LOOK_MS 100
#define MIB 20

uint64_t resident_size(const struct resident *r)
{
	return (r->length + EXTENT_SIZE - 1) / EXTENT_SIZE * EXTENT_SIZE;
}

static bool may_go(const struct resident *r)
{
	return r->state == RESIDENT_COMPLETE && !r->held && r->cached + r->attached == 0;
}

struct resident *room_victim(struct residents *s)
{
	struct resident *victim = NULL;

	for (struct resident *r = s->first; r; r = r->next)
		if (may_go(r) && (!victim || r->used_ms < victim->used_ms))
			victim = r;
	return victim;
}

static uint64_t look(struct residents *s)
{
	uint64_t room;

	pthread_mutex_unlock(&s->lock);
	room = memory_holdable();
	pthread_mutex_lock(&s->lock);
	return room;
}

bool room_remains(struct residents *s)
{
	uint64_t now_ms = monotonic_ms();

	if (now_ms - s->room_ms < LOOK_MS)
		return !s->is_short;
	s->room_ms = now_ms;
	s->is_short = look(s) < RESIDENT_MARGIN;
	return !s->is_short;
}

/* What would be free if all that may leave had left. */
static uint64_t can_leave(const struct residents *s)
{
	uint64_t bytes = 0;

	for (const struct resident *r = s->first; r; r = r->next)
		if (may_go(r) || (r->state == RESIDENT_LEAVING && r->image))
			bytes += resident_size(r);
	return bytes;
}

static int refuse(const struct resident *r, uint64_t room, const char *what, struct error *err)
{
	return error_set(err, -ENOMEM,
			 "it does not fit: it needs %" PRIu64 " MiB, and %s leaves %" PRIu64 " MiB",
			 resident_size(r) >> MIB, what, room >> MIB);
}

int room_make(struct resident *r, struct error *err)
{
	struct residents *s = r->set;
	uint64_t need = resident_size(r), reserve = s->options.reserve + RESIDENT_MARGIN;
	uint64_t room = look(s), more = can_leave(s), limit;
	struct resident *victim;

	room = room > reserve ? room - reserve : 0;
	limit = s->options.limit > s->bytes ? s->options.limit - s->bytes : 0;
	if (s->stopping || r->state != RESIDENT_WAITING)
		return -ECANCELED;
	if (need <= room && need <= limit)
		return 0;
	if (need > limit && need - limit > more)
		return refuse(r, limit + more, "option resident", err);
	if (need > room && need - room > more)
		return refuse(r, room + more, "memory", err);
	victim = room_victim(s);
	if (!victim)
		return -EBUSY;
	error_clear(&victim->why);
	error_set(&victim->why, -ENOMEM, "another model needed its memory");
	victim->state = RESIDENT_LEAVING;
	return -EAGAIN;
}
