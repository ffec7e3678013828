/*
 * cbor_read.h: CBOR (RFC 8949) item by item, over hostile bytes, without allocation.
 *
 * A reader is a cursor: it does not own the bytes, and strings are views into them. Containers may
 * be definite or indefinite; strings must be definite, because no format read here uses chunked
 * ones. Heads may be longer than needed; reserved ones and unassigned simple values are malformed.
 * Errors: -ENODATA the bytes end inside an item (more may follow), -EPROTO malformed or too deep.
 */
#ifndef SEALEDFS_CBOR_READ_H
#define SEALEDFS_CBOR_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ITEM_DEPTH_MAX 16 /* arrays, maps and tags in each other, also empty ones */

enum item_kind {
	ITEM_UINT,   /* value */
	ITEM_NEGINT, /* the number is -1 - value */
	ITEM_BYTES,  /* data, size */
	ITEM_TEXT,   /* data, size; not checked to be UTF-8 */
	ITEM_ARRAY,  /* value: elements, unless indefinite */
	ITEM_MAP,    /* value: pairs, unless indefinite */
	ITEM_TAG,    /* value: the tag; the tagged item follows */
	ITEM_NULL,
	ITEM_BREAK, /* end of an indefinite container */
	ITEM_BOOL,  /* value: 0 or 1 */
	ITEM_OTHER, /* floats, undefined */
};

struct item {
	uint64_t value;
	const uint8_t *data;
	size_t size;
	enum item_kind kind;
	bool indefinite;
};

struct item_reader {
	const uint8_t *data;
	size_t size;
	size_t pos;
};

static inline struct item_reader item_reader_init(const void *data, size_t size)
{
	return (struct item_reader){.data = data, .size = size};
}

/* The next item head. */
int item_next(struct item_reader *in, struct item *ret);
/* As item_next(), but anything of another kind is -EPROTO. */
int item_expect(struct item_reader *in, enum item_kind kind, struct item *ret);
/* Skips one whole item with everything inside it. open: the arrays, maps and tags around it, which
 * count towards ITEM_DEPTH_MAX; at most that many. */
int item_skip(struct item_reader *in, size_t open);
/*
 * Walks over a container that `open` began: 1 while another element (or key) follows, 0 at its
 * end, which is taken. *left must start as open->value.
 */
int item_more(struct item_reader *in, const struct item *open, uint64_t *left);
bool item_text_is(const struct item *i, const char *text);

#endif
