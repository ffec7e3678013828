/*
 * cbor_build.h: writes CBOR into a fixed buffer, for tests that need malformed documents. Writes
 * what it is told, right or wrong.
 */
#ifndef SEALEDFS_TEST_CBOR_BUILD_H
#define SEALEDFS_TEST_CBOR_BUILD_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct build {
	uint8_t data[65536];
	size_t size;
};

enum build_major {
	BUILD_UINT = 0,
	BUILD_NEGINT = 1,
	BUILD_BYTES = 2,
	BUILD_TEXT = 3,
	BUILD_ARRAY = 4,
	BUILD_MAP = 5,
	BUILD_TAG = 6,
};

static inline void build_byte(struct build *b, unsigned v)
{
	assert(b->size < sizeof(b->data));
	b->data[b->size++] = (uint8_t)v;
}

static inline void build_raw(struct build *b, const void *data, size_t size)
{
	assert(size <= sizeof(b->data) - b->size);
	if (size > 0)
		memcpy(b->data + b->size, data, size);
	b->size += size;
}

static inline void build_head(struct build *b, enum build_major major, uint64_t value)
{
	unsigned m = (unsigned)major << 5;

	if (value < 24) {
		build_byte(b, m | (unsigned)value);
		return;
	}
	int bytes = value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;

	build_byte(b, m | (bytes == 1 ? 24 : bytes == 2 ? 25 : bytes == 4 ? 26 : 27));
	for (int n = bytes - 1; n >= 0; n--)
		build_byte(b, (unsigned)(value >> (8 * n)) & 0xff);
}

static inline void build_bytes(struct build *b, const void *data, size_t size)
{
	build_head(b, BUILD_BYTES, size);
	build_raw(b, data, size);
}

/* size bytes, all of them fill */
static inline void build_filled(struct build *b, uint8_t fill, size_t size)
{
	build_head(b, BUILD_BYTES, size);
	for (size_t n = 0; n < size; n++)
		build_byte(b, fill);
}

static inline void build_text(struct build *b, const char *text)
{
	build_head(b, BUILD_TEXT, strlen(text));
	build_raw(b, text, strlen(text));
}

static inline void build_null(struct build *b)
{
	build_byte(b, 0xf6);
}

static inline void build_open_map(struct build *b)
{
	build_byte(b, 0xbf);
}

static inline void build_open_array(struct build *b)
{
	build_byte(b, 0x9f);
}

static inline void build_break(struct build *b)
{
	build_byte(b, 0xff);
}

#endif
