/*
 * CBOR reader. Job: give one item at a time, as views, with every length checked against the bytes
 * at hand. Trusts libcbor's streaming decoder for the heads of items, but not the input. Must never
 * allocate (so no cbor_load(), which allocates by what a head claims), and never follow nesting by
 * recursion: the bytes are hostile. One kind of head is read here: tags in one byte, since libcbor
 * before 0.11 refuses tags 6 to 20 in that form, among them 18, which marks the very structure that
 * is read. The result must not depend on the installed version.
 */
#include "attest/cbor_read.h"

#include <cbor.h>
#include <errno.h>
#include <string.h>

/* A tag of 0 to 23 in its initial byte (RFC 8949, section 3.4): no argument follows. */
#define TAG_FIRST 0xc0
#define TAG_LAST 0xd7

/* What the callbacks of one cbor_stream_decode() leave. */
struct head {
	struct item item;
	bool refused;
};

/* What libcbor calls with a number, with nothing, or with what nobody asks for. */
#define GOT(name, type, item_kind, item_value)                                     \
	static void name(void *context, type v)                                    \
	{                                                                          \
		((struct head *)context)->item =                                   \
			(struct item){.kind = (item_kind), .value = (item_value)}; \
	}
#define GOT_NONE(name, item_kind)                                                    \
	static void name(void *context)                                              \
	{                                                                            \
		((struct head *)context)->item = (struct item){.kind = (item_kind)}; \
	}

GOT(got_uint8, uint8_t, ITEM_UINT, v)
GOT(got_uint16, uint16_t, ITEM_UINT, v)
GOT(got_uint32, uint32_t, ITEM_UINT, v)
GOT(got_uint64, uint64_t, ITEM_UINT, v)
GOT(got_negint8, uint8_t, ITEM_NEGINT, v)
GOT(got_negint16, uint16_t, ITEM_NEGINT, v)
GOT(got_negint32, uint32_t, ITEM_NEGINT, v)
GOT(got_negint64, uint64_t, ITEM_NEGINT, v)
GOT(got_array, uint64_t, ITEM_ARRAY, v)
GOT(got_map, uint64_t, ITEM_MAP, v)
GOT(got_tag, uint64_t, ITEM_TAG, v)
GOT(got_bool, bool, ITEM_BOOL, v)
GOT(got_float, float, ITEM_OTHER, 0)
GOT(got_double, double, ITEM_OTHER, 0)
GOT_NONE(got_null, ITEM_NULL)
GOT_NONE(got_break, ITEM_BREAK)
GOT_NONE(got_undefined, ITEM_OTHER)

static void got_open(void *context, enum item_kind kind)
{
	((struct head *)context)->item = (struct item){.kind = kind, .indefinite = true};
}

/* libcbor reports a string only if it lies completely within the given bytes. */
static void got_string(void *context, enum item_kind kind, cbor_data data, uint64_t size)
{
	((struct head *)context)->item =
		(struct item){.kind = kind, .data = data, .size = (size_t)size};
}

static void got_bytes(void *context, cbor_data data, uint64_t size)
{
	got_string(context, ITEM_BYTES, data, size);
}

static void got_text(void *context, cbor_data data, uint64_t size)
{
	got_string(context, ITEM_TEXT, data, size);
}

static void got_chunked(void *context)
{
	((struct head *)context)->refused = true;
}

static void got_open_array(void *context)
{
	got_open(context, ITEM_ARRAY);
}

static void got_open_map(void *context)
{
	got_open(context, ITEM_MAP);
}

/* Every member is set: libcbor does not check for NULL. */
static const struct cbor_callbacks callbacks = {
	.uint8 = got_uint8,
	.uint16 = got_uint16,
	.uint32 = got_uint32,
	.uint64 = got_uint64,
	.negint8 = got_negint8,
	.negint16 = got_negint16,
	.negint32 = got_negint32,
	.negint64 = got_negint64,
	.byte_string_start = got_chunked,
	.byte_string = got_bytes,
	.string_start = got_chunked,
	.string = got_text,
	.indef_array_start = got_open_array,
	.array_start = got_array,
	.indef_map_start = got_open_map,
	.map_start = got_map,
	.tag = got_tag,
	.float2 = got_float,
	.float4 = got_float,
	.float8 = got_double,
	.undefined = got_undefined,
	.null = got_null,
	.boolean = got_bool,
	.indef_break = got_break,
};

int item_next(struct item_reader *in, struct item *ret)
{
	const uint8_t *data = in->data + in->pos;
	size_t left = in->size - in->pos;
	struct cbor_decoder_result done;
	struct head h = {0};

	if (left > 0 && data[0] >= TAG_FIRST && data[0] <= TAG_LAST) {
		*ret = (struct item){.kind = ITEM_TAG, .value = data[0] - TAG_FIRST};
		in->pos++;
		return 0;
	}
	done = cbor_stream_decode(data, left, &callbacks, &h);
	if (done.status == CBOR_DECODER_NEDATA)
		return -ENODATA;
	if (done.status != CBOR_DECODER_FINISHED || h.refused)
		return -EPROTO;
	in->pos += done.read;
	*ret = h.item;
	return 0;
}

int item_expect(struct item_reader *in, enum item_kind kind, struct item *ret)
{
	struct item i;
	int r = item_next(in, &i);

	if (r < 0)
		return r;
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

static bool has_inside(const struct item *i)
{
	return i->kind == ITEM_ARRAY || i->kind == ITEM_MAP || i->kind == ITEM_TAG;
}

int item_skip(struct item_reader *in, size_t open)
{
	struct {
		uint64_t left; /* elements still to come, or seen so far when indefinite */
		bool indefinite, map;
	} stack[ITEM_DEPTH_MAX] = {0};
	size_t depth = 0;

	do {
		struct item i;
		uint64_t elements;
		int r = item_next(in, &i);

		if (r < 0)
			return r;
		if (i.kind == ITEM_BREAK) {
			if (depth == 0 || !stack[depth - 1].indefinite)
				return -EPROTO;
			if (stack[depth - 1].map && stack[depth - 1].left % 2 != 0)
				return -EPROTO;
			depth--;
		} else {
			r = elements_of(&i, &elements);
			if (r < 0)
				return r;
			if (depth > 0 && stack[depth - 1].indefinite)
				stack[depth - 1].left++;
			else if (depth > 0)
				stack[depth - 1].left--;
			if (has_inside(&i)) {
				if (open + depth >= ITEM_DEPTH_MAX)
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

int item_more(struct item_reader *in, const struct item *open, uint64_t *left)
{
	struct item_reader ahead = *in;
	struct item i;
	int r;

	if (!open->indefinite) {
		if (*left == 0)
			return 0;
		(*left)--;
		return 1;
	}
	r = item_next(&ahead, &i);
	if (r < 0)
		return r;
	if (i.kind != ITEM_BREAK)
		return 1;
	*in = ahead;
	return 0;
}

bool item_text_is(const struct item *i, const char *text)
{
	return i->kind == ITEM_TEXT && i->size == strlen(text) &&
	       memcmp(i->data, text, i->size) == 0;
}
