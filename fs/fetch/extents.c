/*
 * Buffers for ciphertext. Job: track which chunks are ready, in flight or queued, and evict the
 * piece that is needed least. Must never evict a piece that has users or is loading.
 */
#include "fs/fetch/extents.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/locked.h"

#include <errno.h>
#include <sys/mman.h>

/* In chunks taken: a piece unused for this long was a wrong prediction, or its reader is gone.
 * Some 60 extents. */
#define OLD_USES 1000

int extent_table_init(struct extent_table *t, size_t count)
{
	void *memory;

	*t = (struct extent_table){.count = count};
	t->extents = calloc(count, sizeof(*t->extents));
	if (!t->extents)
		return -ENOMEM;
	/* Mapped, not touched: unused memory costs nothing. Chunks are decrypted in place. */
	memory = locked_map(count * SEAL_EXTENT_SIZE, NULL);
	if (!memory) {
		free(t->extents);
		t->extents = NULL;
		return -ENOMEM;
	}
	/* Every byte of an extent is written anyway: 4 faults for it instead of 2,048. */
	(void)madvise(memory, count * SEAL_EXTENT_SIZE, MADV_HUGEPAGE);
	t->memory = memory;
	for (size_t i = 0; i < count; i++)
		t->extents[i].data = t->memory + i * SEAL_EXTENT_SIZE;
	return 0;
}

void extent_table_done(struct extent_table *t)
{
	if (t->memory)
		munmap(t->memory, t->count * SEAL_EXTENT_SIZE);
	free(t->extents);
	*t = (struct extent_table){0};
}

struct extent *extent_find(struct extent_table *t, const void *file, uint64_t chunk)
{
	for (size_t i = 0; i < t->count; i++) {
		struct extent *e = &t->extents[i];

		if (e->state != EXTENT_FREE && e->state != EXTENT_FAILED && e->file == file &&
		    chunk >= e->first && chunk - e->first < e->count)
			return e;
	}
	return NULL;
}

uint64_t extent_gap(struct extent_table *t, const void *file, uint64_t first, uint64_t end)
{
	struct extent *e;

	while (first < end && (e = extent_find(t, file, first)))
		first = e->first + e->count;
	return first < end ? first : end;
}

bool extent_is_used_up(const struct extent *e)
{
	return e->taken == (UINT32_C(1) << e->count) - 1;
}

void extent_give_up(struct extent *e)
{
	e->taken = (UINT32_C(1) << e->count) - 1;
}

void extent_touch(struct extent_table *t, struct extent *e)
{
	e->order = ++t->clock;
}

void extent_free(struct extent *e)
{
	*e = (struct extent){.data = e->data};
}

/* Eviction priority; 0: not evictable. */
static unsigned willingness(const struct extent_table *t, const struct extent *e,
			    enum extent_purpose purpose)
{
	if (e->users > 0)
		return 0;
	switch (e->state) {
	case EXTENT_FREE:
	case EXTENT_FAILED:
		return 3;
	case EXTENT_READY:
		/* Its memory is already mapped, and partly in the CPU's cache. */
		if (extent_is_used_up(e))
			return 4;
		if (e->purpose > purpose)
			return 2;
		return purpose == EXTENT_DEMAND || t->clock - e->order > OLD_USES ? 1 : 0;
	case EXTENT_QUEUED:
		return e->purpose > purpose ? 2 : 0;
	case EXTENT_LOADING:
		return 0;
	}
	return 0;
}

static struct extent *find_victim(struct extent_table *t, enum extent_purpose purpose)
{
	struct extent *best = NULL;
	unsigned best_will = 0;

	for (size_t i = 0; i < t->count; i++) {
		struct extent *e = &t->extents[i];
		unsigned will = willingness(t, e, purpose);
		bool better = will > best_will;

		/* Used up: the latest; not used: the oldest, or the furthest ahead. */
		if (will == best_will && will > 0 && will != 3)
			better = will == 1 ? e->order < best->order : e->order > best->order;
		if (better) {
			best = e;
			best_will = will;
		}
	}
	return best;
}

struct extent *extent_take(struct extent_table *t, const void *file, uint64_t first, uint64_t end,
			   enum extent_purpose purpose)
{
	uint64_t border = (first / EXTENT_CHUNKS + 1) * EXTENT_CHUNKS;
	struct extent *e = find_victim(t, purpose);

	if (!e)
		return NULL;
	extent_free(e);
	end = MIN(end, border);
	for (size_t i = 0; i < t->count; i++) {
		const struct extent *o = &t->extents[i];

		if (o->state != EXTENT_FREE && o->state != EXTENT_FAILED && o->file == file &&
		    o->first > first)
			end = MIN(end, o->first);
	}
	e->state = EXTENT_QUEUED;
	e->file = file;
	e->first = first;
	e->count = (unsigned)(end - first);
	e->purpose = purpose;
	extent_touch(t, e);
	return e;
}

struct extent *extent_next_queued(struct extent_table *t)
{
	struct extent *next = NULL;

	for (size_t i = 0; i < t->count; i++) {
		struct extent *e = &t->extents[i];

		if (e->state != EXTENT_QUEUED)
			continue;
		if (!next || e->purpose < next->purpose ||
		    (e->purpose == next->purpose && e->order < next->order))
			next = e;
	}
	return next;
}
