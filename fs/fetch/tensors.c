/*
 * The order of tensors. Job: remember the distances of jumps and find the jump that followed the
 * same ones before. A wrong guess costs a fetch, never a wrong byte.
 */
#include "fs/fetch/tensors.h"

#include "crypto/format.h"

#include <string.h>

#define PAGE_BYTES 4096
/* Steps that have to be alike: the more of them are, the better the guess. */
#define CONTEXT_MAX 8
#define AHEAD_MAX 8

void access_init(struct access *a, uint64_t chunk_count)
{
	*a = (struct access){.chunk_count = chunk_count, .last = SIZE_MAX};
}

void access_done(struct access *a)
{
	gguf_map_free(a->map);
	a->map = NULL;
}

void access_set_map(struct access *a, struct gguf_map *map)
{
	a->map = map;
}

static void add_step(struct access *a, int32_t step)
{
	if (a->step_count == ACCESS_STEPS_MAX) {
		a->step_count--;
		memmove(a->steps, a->steps + 1, a->step_count * sizeof(a->steps[0]));
	}
	a->steps[a->step_count++] = step;
}

size_t access_jump(struct access *a, uint64_t offset)
{
	uint64_t page = offset & ~(uint64_t)(PAGE_BYTES - 1);
	size_t i;

	if (!a->map)
		return SIZE_MAX;
	/* The kernel asks for the page that a tensor begins in; several small ones may. Whoever
	 * reads it begins with the last of them: the others end in it. */
	i = gguf_map_find(a->map, page + PAGE_BYTES - 1);
	if (i == SIZE_MAX || a->map->tensors[i].begin < page)
		return SIZE_MAX;
	if (a->last != SIZE_MAX && i != a->last)
		add_step(a, (int32_t)((int64_t)i - (int64_t)a->last));
	a->last = i;
	return i;
}

bool access_is_by_tensor(const struct access *a)
{
	return a->step_count > 0;
}

/* The step that followed when the last ones were as they are now; the newest such place. */
static int32_t next_step(const int32_t *steps, size_t count)
{
	for (size_t length = MIN(count, (size_t)CONTEXT_MAX); length > 0; length--)
		for (size_t end = count - 1; end >= length; end--)
			if (memcmp(steps + end - length, steps + count - length,
				   length * sizeof(steps[0])) == 0)
				return steps[end];
	return count > 0 && steps[count - 1] != 0 ? steps[count - 1] : 1;
}

size_t access_predict(const struct access *a, unsigned ahead)
{
	int32_t steps[ACCESS_STEPS_MAX + AHEAD_MAX];
	size_t count = a->step_count;
	int64_t at = (int64_t)a->last;

	if (!a->map || a->last == SIZE_MAX || count == 0 || ahead > AHEAD_MAX)
		return SIZE_MAX;
	memcpy(steps, a->steps, count * sizeof(steps[0]));
	while (ahead-- > 0) {
		steps[count] = next_step(steps, count);
		at += steps[count++];
	}
	return at >= 0 && (uint64_t)at < a->map->count ? (size_t)at : SIZE_MAX;
}
