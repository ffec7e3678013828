/*
 * Bounds-checked reading of untrusted bytes. Job: make an overrun impossible to write by
 * accident. Trusts only its own `size`. Must never read a byte that it has not checked.
 */
#include "crypto/base/cursor.h"

#include <string.h>

const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *p;

	if (c->failed || n > c->size - c->pos) {
		c->failed = true;
		return NULL;
	}
	p = c->data + c->pos;
	c->pos += n;
	return p;
}

void cursor_copy(struct cursor *c, void *dst, size_t n)
{
	const uint8_t *p = cursor_take(c, n);

	if (n == 0)
		return;
	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

static uint64_t take_int(struct cursor *c, size_t n, bool big)
{
	const uint8_t *p = cursor_take(c, n);
	uint64_t v = 0;

	if (!p)
		return 0;
	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[big ? i : n - 1 - i];
	return v;
}

uint8_t cursor_u8(struct cursor *c)
{
	return (uint8_t)take_int(c, 1, false);
}

uint16_t cursor_le16(struct cursor *c)
{
	return (uint16_t)take_int(c, 2, false);
}

uint32_t cursor_le32(struct cursor *c)
{
	return (uint32_t)take_int(c, 4, false);
}

uint64_t cursor_le64(struct cursor *c)
{
	return take_int(c, 8, false);
}

uint16_t cursor_be16(struct cursor *c)
{
	return (uint16_t)take_int(c, 2, true);
}

uint32_t cursor_be32(struct cursor *c)
{
	return (uint32_t)take_int(c, 4, true);
}

void cursor_zeros(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);

	for (size_t i = 0; p && i < n; i++)
		if (p[i] != 0)
			c->failed = true;
}

bool cursor_done(const struct cursor *c)
{
	return !c->failed && c->pos == c->size;
}

static void put_int(uint8_t *p, size_t n, uint64_t v, bool big)
{
	for (size_t i = 0; i < n; i++) {
		p[big ? n - 1 - i : i] = (uint8_t)v;
		v >>= 8;
	}
}

void put_le16(uint8_t *p, uint16_t v)
{
	put_int(p, 2, v, false);
}

void put_le32(uint8_t *p, uint32_t v)
{
	put_int(p, 4, v, false);
}

void put_le64(uint8_t *p, uint64_t v)
{
	put_int(p, 8, v, false);
}

void put_be16(uint8_t *p, uint16_t v)
{
	put_int(p, 2, v, true);
}

void put_be32(uint8_t *p, uint32_t v)
{
	put_int(p, 4, v, true);
}

void put_be64(uint8_t *p, uint64_t v)
{
	put_int(p, 8, v, true);
}
