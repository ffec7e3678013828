/*
 * Maps of tensors. Job: turn the offsets that a header states into places in the file. Trusts
 * nothing: offsets and alignment are checked against the file. Must never allocate by a number that
 * was not bounded.
 */
#include "fs/formats/gguf_map.h"

#include <errno.h>

#define ROOM_MIN 512

struct collected {
	struct gguf_map *map;
	size_t room;
	int code; /* why it stopped */
};

/* A gguf_on_tensor: begin is the offset from the start of the data for now. */
static int collect(void *arg, uint64_t offset)
{
	struct collected *c = arg;
	size_t count = c->map ? c->map->count : 0;

	if (!c->map || count == c->room) {
		size_t room = MAX(2 * c->room, (size_t)ROOM_MIN);
		struct gguf_map *more;

		if (count >= GGUF_TENSORS_MAX)
			return c->code = -EPROTO;
		more = realloc(c->map, sizeof(*more) + room * sizeof(more->tensors[0]));
		if (!more)
			return c->code = -ENOMEM;
		c->map = more;
		c->room = room;
	}
	c->map->tensors[count].begin = offset;
	c->map->count = count + 1;
	return 0;
}

static int compare_tensors(const void *a, const void *b)
{
	const struct gguf_tensor *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int place_tensors(struct gguf_map *m, uint64_t start, uint64_t file_size)
{
	size_t kept = 0;

	if (start >= file_size)
		return -EPROTO;
	for (size_t i = 0; i < m->count; i++) {
		if (m->tensors[i].begin >= file_size - start)
			return -EPROTO;
		m->tensors[i].begin += start;
	}
	qsort(m->tensors, m->count, sizeof(m->tensors[0]), compare_tensors);
	/* Empty ones share their place with the next. */
	for (size_t i = 0; i < m->count; i++)
		if (i + 1 == m->count || m->tensors[i].begin < m->tensors[i + 1].begin)
			m->tensors[kept++].begin = m->tensors[i].begin;
	for (size_t i = 0; i < kept; i++)
		m->tensors[i].end = i + 1 < kept ? m->tensors[i + 1].begin : file_size;
	m->count = kept;
	return 0;
}

static int parse(struct gguf_scan *s, struct collected *c, gguf_read *read, void *arg)
{
	uint64_t alignment;
	int r = gguf_scan_read(s, read, arg, GGUF_HEADER_MAX);

	if (r < 0 || c->code < 0)
		return r < 0 ? r : c->code;
	alignment = s->alignment;
	if (!s->header.has_all_tensors || !c->map)
		return -EPROTO;
	return place_tensors(c->map, (gguf_scan_skip(s) + alignment - 1) & ~(alignment - 1),
			     s->size);
}

int gguf_map_parse(gguf_read *read, void *arg, uint64_t file_size, struct gguf_map **ret)
{
	struct collected c = {0};
	struct gguf_scan s;
	int r;

	gguf_scan_start(&s, file_size);
	s.on_tensor = collect;
	s.on_tensor_arg = &c;
	r = parse(&s, &c, read, arg);
	if (r < 0)
		free(c.map);
	else
		*ret = c.map;
	return r;
}

void gguf_map_free(struct gguf_map *m)
{
	free(m);
}

size_t gguf_map_find(const struct gguf_map *m, uint64_t offset)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->tensors[middle].begin <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && offset < m->tensors[low - 1].end ? low - 1 : SIZE_MAX;
}
