/*
 * cursor.h: bounds-checked reading of untrusted bytes; every parser uses it.
 *
 * A cursor walks over a byte range it does not own. A read past the end sets `failed`, returns
 * zeros or NULL, and every later read fails too: a parser reads a whole structure and checks once.
 * Integers are little-endian unless the name contains "be".
 */
#ifndef SEALEDFS_BASE_CURSOR_H
#define SEALEDFS_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *data;
	size_t size;
	size_t pos;
	bool failed;
};

static inline struct cursor cursor_init(const void *data, size_t size)
{
	return (struct cursor){.data = data, .size = size};
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->failed ? 0 : c->size - c->pos;
}

/* The next n bytes, in place; NULL (and failed) when there are fewer. */
const uint8_t *cursor_take(struct cursor *c, size_t n);
void cursor_copy(struct cursor *c, void *dst, size_t n);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_le16(struct cursor *c);
uint32_t cursor_le32(struct cursor *c);
uint64_t cursor_le64(struct cursor *c);
uint16_t cursor_be16(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);
/* Takes n bytes that must all be zero; fails otherwise. */
void cursor_zeros(struct cursor *c, size_t n);
/* True when every byte was taken and nothing failed. */
bool cursor_done(const struct cursor *c);

/* Plain stores, for writers. */
void put_le16(uint8_t *p, uint16_t v);
void put_le32(uint8_t *p, uint32_t v);
void put_le64(uint8_t *p, uint64_t v);
void put_be16(uint8_t *p, uint16_t v);
void put_be32(uint8_t *p, uint32_t v);
void put_be64(uint8_t *p, uint64_t v);

#endif
