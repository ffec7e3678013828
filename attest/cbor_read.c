/*
 * CBOR reader. Job: give one item at a time, as views, with every length already checked against
 * the bytes at hand. Trusts nothing it reads; takes bytes through the cursor only. Must never
 * allocate, and never follow nesting by recursion: the bytes are hostile. Not libcbor: its
 * streaming decoder (0.8) refuses tag 18, which marks the very structure that is read here.
 */
#include "attest/cbor_read.h"

#include "crypto/base/cursor.h"

#include <errno.h>
#include <string.h>

/* The initial byte of an item: major type and additional information (RFC 8949, section 3). */
#define MAJOR(b) ((b) >> 5)
#define INFO(b) ((b)&0x1f)
#define INFO_ONE_BYTE 24
#define INFO_EIGHT_BYTES 27
#define INFO_INDEFINITE 31
#define SIMPLE_NULL 22
#define SIMPLE_MIN_IN_A_BYTE 32

static const enum item_kind kind_of_major[] = {ITEM_UINT,  ITEM_NEGINT, ITEM_BYTES, ITEM_TEXT,
					       ITEM_ARRAY, ITEM_MAP,	ITEM_TAG,   ITEM_OTHER};

/* The argument that follows an initial byte. Longer forms than needed are well-formed. */
static uint64_t take_argument(struct cursor *c, unsigned info)
{
	uint64_t high;

	switch (info) {
	case INFO_ONE_BYTE:
		return cursor_u8(c);
	case INFO_ONE_BYTE + 1:
		return cursor_be16(c);
	case INFO_ONE_BYTE + 2:
		return cursor_be32(c);
	case INFO_EIGHT_BYTES:
		high = cursor_be32(c);
		return high << 32 | cursor_be32(c);
	default:
		return info;
	}
}

int item_next(struct item_reader *r, struct item *ret)
{
	struct cursor c = cursor_init(r->data + r->pos, r->size - r->pos);
	unsigned initial = cursor_u8(&c), info = INFO(initial);
	struct item i = {.kind = kind_of_major[MAJOR(initial)]};

	if (c.failed)
		return -ENODATA;
	if (info > INFO_EIGHT_BYTES && info != INFO_INDEFINITE)
		return -EPROTO;
	if (info == INFO_INDEFINITE) {
		if (i.kind == ITEM_OTHER)
			i.kind = ITEM_BREAK;
		else if (i.kind != ITEM_ARRAY && i.kind != ITEM_MAP)
			return -EPROTO;
		i.indefinite = i.kind != ITEM_BREAK;
	} else {
		i.value = take_argument(&c, info);
	}
	if (i.kind == ITEM_OTHER) {
		if (info == INFO_ONE_BYTE && !c.failed && i.value < SIMPLE_MIN_IN_A_BYTE)
			return -EPROTO;
		i.kind = info == SIMPLE_NULL ? ITEM_NULL : ITEM_OTHER;
		i.value = 0;
	}
	if (i.kind == ITEM_BYTES || i.kind == ITEM_TEXT) {
		if (i.value > cursor_left(&c))
			return -ENODATA;
		i.size = (size_t)i.value;
		i.data = cursor_take(&c, i.size);
		i.value = 0;
	}
	if (c.failed)
		return -ENODATA;
	r->pos += c.pos;
	*ret = i;
	return 0;
}

int item_expect(struct item_reader *r, enum item_kind kind, struct item *ret)
{
	struct item i;
	int e = item_next(r, &i);

	if (e < 0)
		return e;
	if (i.kind != kind)
		return -EPROTO;
	*ret = i;
	return 0;
}

/* Elements that follow an opening head: pairs count twice. A tag has one. */
static int elements_of(const struct item *i, uint64_t *ret)
{
	switch (i->kind) {
	case ITEM_ARRAY:
		*ret = i->value;
		return 0;
	case ITEM_MAP:
		if (i->value > UINT64_MAX / 2)
			return -EPROTO;
		*ret = i->value * 2;
		return 0;
	case ITEM_TAG:
		*ret = 1;
		return 0;
	default:
		*ret = 0;
		return 0;
	}
}

int item_skip(struct item_reader *r)
{
	struct {
		uint64_t left; /* elements still to come, or seen so far when indefinite */
		bool indefinite, map;
	} stack[ITEM_DEPTH_MAX] = {0};
	size_t depth = 0;

	do {
		struct item i;
		uint64_t elements;
		int e = item_next(r, &i);

		if (e < 0)
			return e;
		if (i.kind == ITEM_BREAK) {
			if (depth == 0 || !stack[depth - 1].indefinite)
				return -EPROTO;
			if (stack[depth - 1].map && stack[depth - 1].left % 2 != 0)
				return -EPROTO;
			depth--;
		} else {
			e = elements_of(&i, &elements);
			if (e < 0)
				return e;
			if (depth > 0 && stack[depth - 1].indefinite)
				stack[depth - 1].left++;
			else if (depth > 0)
				stack[depth - 1].left--;
			if (elements > 0 || i.indefinite) {
				if (depth == ITEM_DEPTH_MAX)
					return -EPROTO;
				stack[depth].left = elements;
				stack[depth].indefinite = i.indefinite;
				stack[depth].map = i.kind == ITEM_MAP;
				depth++;
			}
		}
		while (depth > 0 && !stack[depth - 1].indefinite && stack[depth - 1].left == 0)
			depth--;
	} while (depth > 0);
	return 0;
}

int item_more(struct item_reader *r, const struct item *open, uint64_t *left)
{
	struct item_reader ahead = *r;
	struct item i;
	int e;

	if (!open->indefinite) {
		if (*left == 0)
			return 0;
		(*left)--;
		return 1;
	}
	e = item_next(&ahead, &i);
	if (e < 0)
		return e;
	if (i.kind != ITEM_BREAK)
		return 1;
	*r = ahead;
	return 0;
}

bool item_text_is(const struct item *i, const char *text)
{
	return i->kind == ITEM_TEXT && i->size == strlen(text) &&
	       memcmp(i->data, text, i->size) == 0;
}
