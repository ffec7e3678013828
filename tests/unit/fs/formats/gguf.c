/* GGUF headers for tests: see gguf.h. */
#include "tests/unit/fs/formats/gguf.h"

#include "crypto/base/cursor.h"
#include "tests/unit/test.h"

#include <string.h>

struct gguf_map *gguf_even_map(size_t count, uint64_t start, uint64_t size)
{
	struct gguf_map *m = calloc(1, sizeof(*m) + count * sizeof(m->tensors[0]));

	assert_non_null(m);
	m->count = count;
	for (size_t i = 0; i < count; i++)
		m->tensors[i] = (struct gguf_tensor){start + i * size, start + (i + 1) * size};
	return m;
}

void gguf_bytes_done(struct gguf_bytes *b)
{
	free(b->data);
	*b = (struct gguf_bytes){0};
}

static uint8_t *grow(struct gguf_bytes *b, size_t n)
{
	b->data = realloc(b->data, b->size + n);
	assert_non_null(b->data);
	b->size += n;
	return b->data + b->size - n;
}

void gguf_u32(struct gguf_bytes *b, uint32_t v)
{
	put_le32(grow(b, 4), v);
}

void gguf_u64(struct gguf_bytes *b, uint64_t v)
{
	put_le64(grow(b, 8), v);
}

void gguf_string(struct gguf_bytes *b, const char *s)
{
	gguf_u64(b, strlen(s));
	memcpy(grow(b, strlen(s)), s, strlen(s));
}

void gguf_start(struct gguf_bytes *b, uint32_t version, uint64_t tensors, uint64_t keys)
{
	memcpy(grow(b, 4), "GGUF", 4);
	gguf_u32(b, version);
	gguf_u64(b, tensors);
	gguf_u64(b, keys);
}

void gguf_tensor(struct gguf_bytes *b, const char *name, uint64_t offset)
{
	gguf_string(b, name);
	gguf_u32(b, 2);
	gguf_u64(b, 64);
	gguf_u64(b, 64);
	gguf_u32(b, 8);
	gguf_u64(b, offset);
}
