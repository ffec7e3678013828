/*
 * The table of tensors. Job: walk over keys and values to it, and keep offsets only. Trusts
 * nothing: counts, lengths and offsets are compared with what the file can hold. Must never
 * allocate by a number that was not bounded, nor read past the header's limit.
 */
#include "fs/read/gguf_map.h"

#include "crypto/base/cursor.h"

#include <errno.h>
#include <string.h>

#define BLOCK_SIZE 16384
#define ALIGNMENT_KEY "general.alignment"
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MAX (UINT32_C(1) << 20)

enum value_type { VALUE_UINT32 = 4, VALUE_STRING = 8, VALUE_ARRAY = 9, VALUE_TYPES = 13 };

/* Bytes of a value; 0: it says itself. */
static const uint8_t value_sizes[VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* A place in the header. A failure sticks, as with cursor.h. */
struct walk {
	gguf_read *read;
	void *arg;
	uint64_t limit, pos;
	uint64_t block_start;
	size_t block_size;
	int failed;
	uint8_t block[BLOCK_SIZE];
};

static void skip(struct walk *w, uint64_t n)
{
	if (w->failed)
		return;
	if (n > w->limit - w->pos)
		w->failed = -EPROTO;
	else
		w->pos += n;
}

static void take(struct walk *w, uint8_t *dst, size_t n)
{
	uint64_t at = w->pos;

	memset(dst, 0, n);
	skip(w, n);
	while (!w->failed && n > 0) {
		size_t have;

		if (at < w->block_start || at - w->block_start >= w->block_size) {
			w->block_start = at;
			w->block_size = (size_t)MIN(w->limit - at, (uint64_t)BLOCK_SIZE);
			w->failed = w->read(w->arg, at, w->block, w->block_size);
			continue;
		}
		have = MIN(n, w->block_size - (size_t)(at - w->block_start));
		memcpy(dst, w->block + (at - w->block_start), have);
		dst += have;
		at += have;
		n -= have;
	}
}

static uint32_t take_u32(struct walk *w)
{
	uint8_t bytes[4];
	struct cursor c = cursor_init(bytes, sizeof(bytes));

	take(w, bytes, sizeof(bytes));
	return cursor_le32(&c);
}

static uint64_t take_u64(struct walk *w)
{
	uint8_t bytes[8];
	struct cursor c = cursor_init(bytes, sizeof(bytes));

	take(w, bytes, sizeof(bytes));
	return cursor_le64(&c);
}

static void skip_string(struct walk *w)
{
	skip(w, take_u64(w));
}

/* No array of arrays: nobody writes them. */
static void skip_value(struct walk *w, uint32_t type, bool in_array)
{
	uint64_t count;

	if (type >= VALUE_TYPES || (type == VALUE_ARRAY && in_array)) {
		w->failed = w->failed ? w->failed : -EPROTO;
		return;
	}
	if (type == VALUE_STRING) {
		skip_string(w);
		return;
	}
	if (type != VALUE_ARRAY) {
		skip(w, value_sizes[type]);
		return;
	}
	type = take_u32(w);
	count = take_u64(w);
	if (type < VALUE_TYPES && value_sizes[type] > 0) {
		skip(w, count > w->limit ? UINT64_MAX : count * value_sizes[type]);
		return;
	}
	/* Each takes eight bytes at least, so the header's limit ends this. */
	while (!w->failed && count-- > 0)
		skip_value(w, type, true);
}

static uint32_t walk_keys(struct walk *w, uint64_t count)
{
	uint8_t key[sizeof(ALIGNMENT_KEY) - 1];
	uint32_t alignment = ALIGNMENT_DEFAULT;

	while (!w->failed && count-- > 0) {
		uint64_t size = take_u64(w);
		bool is_alignment = false;
		uint32_t type;

		if (size == sizeof(key)) {
			take(w, key, sizeof(key));
			is_alignment = memcmp(key, ALIGNMENT_KEY, sizeof(key)) == 0;
		} else {
			skip(w, size);
		}
		type = take_u32(w);
		if (is_alignment && type == VALUE_UINT32)
			alignment = take_u32(w);
		else
			skip_value(w, type, false);
	}
	return alignment;
}

/* Offsets from the start of the data, into begin. */
static void walk_tensors(struct walk *w, struct gguf_map *m)
{
	for (size_t i = 0; !w->failed && i < m->count; i++) {
		uint32_t dimensions;

		skip_string(w);
		dimensions = take_u32(w);
		if (dimensions > GGUF_DIMENSIONS_MAX)
			w->failed = -EPROTO;
		skip(w, (uint64_t)dimensions * 8 + 4);
		m->tensors[i].begin = take_u64(w);
	}
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

static int parse(struct walk *w, uint64_t file_size, struct gguf_map **ret)
{
	_cleanup_(gguf_map_freep) struct gguf_map *m = NULL;
	uint64_t tensors, keys;
	uint32_t alignment, version;
	uint8_t magic[4];
	int r;

	take(w, magic, sizeof(magic));
	version = take_u32(w);
	tensors = take_u64(w);
	keys = take_u64(w);
	if (w->failed)
		return w->failed;
	if (memcmp(magic, "GGUF", sizeof(magic)) != 0 || (version != 2 && version != 3) ||
	    tensors == 0 || tensors > GGUF_TENSORS_MAX || keys > GGUF_KEYS_MAX)
		return -EPROTO;
	m = calloc(1, sizeof(*m) + (size_t)tensors * sizeof(m->tensors[0]));
	if (!m)
		return -ENOMEM;
	m->count = (size_t)tensors;
	alignment = walk_keys(w, keys);
	walk_tensors(w, m);
	if (w->failed)
		return w->failed;
	if (alignment == 0 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
		return -EPROTO;
	r = place_tensors(m, (w->pos + alignment - 1) & ~(uint64_t)(alignment - 1), file_size);
	if (r == 0)
		*ret = steal_ptr(m);
	return r;
}

int gguf_map_parse(gguf_read *read, void *arg, uint64_t file_size, struct gguf_map **ret)
{
	_cleanup_free_ struct walk *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->read = read;
	w->arg = arg;
	w->limit = MIN(file_size, GGUF_HEADER_MAX);
	return parse(w, file_size, ret);
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
