/*
 * The CBOR reader: every kind of item, walking over containers, and what must be refused. The
 * answers are the same with every libcbor from 0.8 on.
 */
#include "tests/unit/attest/cbor_build.h"
#include "tests/unit/test.h"

#include "attest/cbor_read.h"

#include <errno.h>
#include <string.h>

struct encoded {
	uint8_t bytes[32];
	size_t size;
	enum item_kind kind;
	uint64_t value;
	bool indefinite;
};

static void test_every_kind(void **state)
{
	static const struct encoded cases[] = {
		{{0x00}, 1, ITEM_UINT, 0, false},
		{{0x17}, 1, ITEM_UINT, 23, false},
		{{0x18, 0x18}, 2, ITEM_UINT, 24, false},
		{{0x19, 0x01, 0x00}, 3, ITEM_UINT, 256, false},
		{{0x1a, 0, 1, 0, 0}, 5, ITEM_UINT, 65536, false},
		{{0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		 9,
		 ITEM_UINT,
		 UINT64_MAX,
		 false},
		{{0x22}, 1, ITEM_NEGINT, 2, false},
		{{0x38, 0x22}, 2, ITEM_NEGINT, 34, false},
		{{0x39, 0x01, 0x00}, 3, ITEM_NEGINT, 256, false},
		{{0x3a, 0, 1, 0, 0}, 5, ITEM_NEGINT, 65536, false},
		{{0x3b, 0, 0, 0, 1, 0, 0, 0, 0}, 9, ITEM_NEGINT, 1ULL << 32, false},
		{{0x84}, 1, ITEM_ARRAY, 4, false},
		{{0x9b, 0xff, 0, 0, 0, 0, 0, 0, 1}, 9, ITEM_ARRAY, (0xffULL << 56) + 1, false},
		{{0x9f}, 1, ITEM_ARRAY, 0, true},
		{{0xb8, 0x18}, 2, ITEM_MAP, 24, false},
		{{0xbf}, 1, ITEM_MAP, 0, true},
		{{0xd2}, 1, ITEM_TAG, 18, false},
		{{0xd8, 0x12}, 2, ITEM_TAG, 18, false},
		{{0xd9, 0xd9, 0xf7}, 3, ITEM_TAG, 55799, false},
		{{0xdb, 0x80, 0, 0, 0, 0, 0, 0, 0}, 9, ITEM_TAG, 1ULL << 63, false},
		{{0xf6}, 1, ITEM_NULL, 0, false},
		{{0xf7}, 1, ITEM_OTHER, 0, false},
		{{0xf4}, 1, ITEM_BOOL, 0, false},
		{{0xf5}, 1, ITEM_BOOL, 1, false},
		{{0xf9, 0x3c, 0x00}, 3, ITEM_OTHER, 0, false},
		{{0xfa, 0x7f, 0xa0, 0, 1}, 5, ITEM_OTHER, 0, false},
		{{0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}, 9, ITEM_OTHER, 0, false},
		{{0xff}, 1, ITEM_BREAK, 0, false},
	};

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct item_reader r = item_reader_init(cases[n].bytes, cases[n].size);
		struct item i;

		assert_int_equal(item_next(&r, &i), 0);
		assert_int_equal(i.kind, cases[n].kind);
		assert_true(i.value == cases[n].value);
		assert_int_equal(i.indefinite, cases[n].indefinite);
		assert_int_equal(r.pos, cases[n].size);
		/* Every shorter prefix is "more to come", never something else. */
		for (size_t cut = 0; cut < cases[n].size; cut++) {
			r = item_reader_init(cases[n].bytes, cut);
			assert_int_equal(item_next(&r, &i), -ENODATA);
			assert_int_equal(r.pos, 0);
		}
	}
}

static void test_strings(void **state)
{
	static const uint8_t bytes[] = {0x43, 1, 2, 3, 0x62, 'h', 'i', 0x40};
	struct item_reader r = item_reader_init(bytes, sizeof(bytes));
	struct item i;

	assert_int_equal(item_expect(&r, ITEM_BYTES, &i), 0);
	assert_int_equal(i.size, 3);
	assert_ptr_equal(i.data, bytes + 1);
	assert_int_equal(item_next(&r, &i), 0);
	assert_true(item_text_is(&i, "hi"));
	assert_false(item_text_is(&i, "h"));
	assert_false(item_text_is(&i, "ho"));
	assert_int_equal(item_next(&r, &i), 0);
	assert_int_equal(i.kind, ITEM_BYTES);
	assert_int_equal(i.size, 0);
	assert_int_equal(item_next(&r, &i), -ENODATA);
}

/* What the additional information of every initial byte means, whichever libcbor decodes it. */
static void test_every_initial_byte(void **state)
{
	uint8_t bytes[16] = {0};

	for (unsigned initial = 0; initial <= UINT8_MAX; initial++) {
		struct item_reader r = item_reader_init(bytes, sizeof(bytes));
		unsigned major = initial >> 5, info = initial & 0x1f;
		bool simple = major == 7, indefinite = info == 31, expect = info <= 27;
		struct item i = {0};
		int e;

		/* No argument for numbers and tags; chunks only make strings that nobody sends. */
		if (indefinite)
			expect = major == 4 || major == 5 || simple;
		if (simple && (info < 20 || info == 24))
			expect = false; /* unassigned */
		if ((major == 2 || major == 3) && info < 24 && info >= sizeof(bytes))
			continue; /* a string that is longer than the bytes at hand */
		bytes[0] = (uint8_t)initial;
		e = item_next(&r, &i);
		if (e != (expect ? 0 : -EPROTO))
			fail_msg("initial byte %02x gives %d", initial, e);
		if (!expect) {
			assert_int_equal(r.pos, 0);
			continue;
		}
		assert_int_equal(i.indefinite, indefinite && !simple);
		if (major != 2 && major != 3 && !simple && info < 24)
			assert_int_equal(i.value, info);
		if (major == 6)
			assert_int_equal(i.kind, ITEM_TAG);
	}
}

/* A head may be longer than its number needs: the same item, more bytes. */
static void test_long_heads(void **state)
{
	static const struct encoded cases[] = {
		{{0x18, 0x05}, 2, ITEM_UINT, 5, false},
		{{0x1b, 0, 0, 0, 0, 0, 0, 0, 5}, 9, ITEM_UINT, 5, false},
		{{0x39, 0, 34}, 3, ITEM_NEGINT, 34, false},
		{{0x9a, 0, 0, 0, 4}, 5, ITEM_ARRAY, 4, false},
		{{0xb9, 0, 1}, 3, ITEM_MAP, 1, false},
		{{0xdb, 0, 0, 0, 0, 0, 0, 0, 18}, 9, ITEM_TAG, 18, false},
		{{0x5b, 0, 0, 0, 0, 0, 0, 0, 2, 'h', 'i'}, 11, ITEM_BYTES, 0, false},
		{{0x79, 0, 2, 'h', 'i'}, 5, ITEM_TEXT, 0, false},
	};

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct item_reader r = item_reader_init(cases[n].bytes, cases[n].size);
		struct item i;

		assert_int_equal(item_next(&r, &i), 0);
		assert_int_equal(i.kind, cases[n].kind);
		assert_true(i.value == cases[n].value);
		assert_int_equal(r.pos, cases[n].size);
		if (i.kind == ITEM_BYTES || i.kind == ITEM_TEXT) {
			assert_int_equal(i.size, 2);
			assert_memory_equal(i.data, "hi", 2);
		}
	}
}

static void test_refused(void **state)
{
	static const struct {
		uint8_t bytes[16];
		size_t size;
		int code;
	} cases[] = {
		{{0x1c}, 1, -EPROTO},			/* reserved length */
		{{0x5f, 0x41, 0x00, 0xff}, 4, -EPROTO}, /* chunked byte string */
		{{0x7f, 0x61, 0x41, 0xff}, 4, -EPROTO}, /* chunked text */
		{{0xe0}, 1, -EPROTO},			/* unassigned simple values */
		{{0xf8, 0x16}, 2, -EPROTO},
		{{0xf8, 0xff}, 2, -EPROTO},
		{{0xdc, 0x00}, 2, -EPROTO}, /* reserved tag length */
		{{0xdf, 0x00}, 2, -EPROTO}, /* tag without a number */
		{{0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9, -ENODATA},
		{{0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf7}, 9, -ENODATA},
		{{0x5a, 0x7f, 0xff, 0xff, 0xff, 0x00}, 6, -ENODATA},
		{{0x43, 1, 2}, 3, -ENODATA},
	};

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct item_reader r = item_reader_init(cases[n].bytes, cases[n].size);

		assert_int_equal(item_next(&r, &(struct item){0}), cases[n].code);
		assert_int_equal(item_skip(&r, 0), cases[n].code);
	}
}

static void test_skip(void **state)
{
	static const struct {
		uint8_t bytes[24];
		size_t size, used;
		int code;
	} cases[] = {
		{{0x00, 0x01}, 2, 1, 0},
		{{0x82, 0x01, 0x82, 0x02, 0x03, 0x04}, 6, 5, 0},
		{{0xa1, 0x01, 0xa1, 0x02, 0x80}, 5, 5, 0},
		{{0xbf, 0x01, 0x9f, 0x02, 0xff, 0xff, 0x07}, 7, 6, 0},
		{{0x9f, 0xd2, 0x80, 0xff}, 4, 4, 0},
		{{0x80}, 1, 1, 0},
		{{0xff}, 1, 0, -EPROTO},	     /* break outside */
		{{0x82, 0x01, 0xff}, 3, 0, -EPROTO}, /* break in a definite array */
		{{0xbf, 0x01, 0xff}, 3, 0, -EPROTO}, /* key without value */
		{{0x9f, 0xd2, 0xff}, 3, 0, -EPROTO}, /* tag without item */
		{{0x82, 0x01}, 2, 0, -ENODATA},
		{{0xbf, 0x01, 0x02}, 3, 0, -ENODATA},
		{{0xd2}, 1, 0, -ENODATA},
		{{0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0}, 9, 0, -EPROTO}, /* pairs overflow */
		{{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00}, 10, 0, -ENODATA},
	};

	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct item_reader r = item_reader_init(cases[n].bytes, cases[n].size);

		assert_int_equal(item_skip(&r, 0), cases[n].code);
		if (cases[n].code == 0)
			assert_int_equal(r.pos, cases[n].used);
	}
}

static void test_depth(void **state)
{
	uint8_t bytes[ITEM_DEPTH_MAX + 2];
	struct item_reader r;

	memset(bytes, 0x81, sizeof(bytes));
	bytes[ITEM_DEPTH_MAX] = 0x00;
	r = item_reader_init(bytes, ITEM_DEPTH_MAX + 1);
	assert_int_equal(item_skip(&r, 0), 0);
	/* What is around it counts. */
	r = item_reader_init(bytes, ITEM_DEPTH_MAX + 1);
	assert_int_equal(item_skip(&r, 1), -EPROTO);
	r = item_reader_init(bytes + 1, ITEM_DEPTH_MAX);
	assert_int_equal(item_skip(&r, 1), 0);
	bytes[ITEM_DEPTH_MAX] = 0x81;
	bytes[ITEM_DEPTH_MAX + 1] = 0x00;
	r = item_reader_init(bytes, ITEM_DEPTH_MAX + 2);
	assert_int_equal(item_skip(&r, 0), -EPROTO);
	bytes[ITEM_DEPTH_MAX] = 0x80; /* and what is empty */
	r = item_reader_init(bytes, ITEM_DEPTH_MAX + 1);
	assert_int_equal(item_skip(&r, 0), -EPROTO);
}

static void test_walk(void **state)
{
	static const uint8_t definite[] = {0x83, 1, 2, 3, 9}, open[] = {0x9f, 1, 2, 3, 0xff, 9};
	static const uint8_t cut[] = {0x9f, 1, 2};
	struct item head, i;
	struct item_reader r;
	uint64_t left;
	int e;

	for (int n = 0; n < 2; n++) {
		uint64_t sum = 0;

		r = n ? item_reader_init(open, sizeof(open))
		      : item_reader_init(definite, sizeof(definite));
		assert_int_equal(item_expect(&r, ITEM_ARRAY, &head), 0);
		left = head.value;
		while ((e = item_more(&r, &head, &left)) > 0) {
			assert_int_equal(item_expect(&r, ITEM_UINT, &i), 0);
			sum += i.value;
		}
		assert_int_equal(e, 0);
		assert_int_equal(sum, 6);
		assert_int_equal(item_expect(&r, ITEM_UINT, &i), 0);
		assert_int_equal(i.value, 9);
	}
	r = item_reader_init(cut, sizeof(cut));
	assert_int_equal(item_expect(&r, ITEM_ARRAY, &head), 0);
	left = 0;
	for (e = item_more(&r, &head, &left); e > 0; e = item_more(&r, &head, &left))
		assert_int_equal(item_skip(&r, 0), 0);
	assert_int_equal(e, -ENODATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_every_initial_byte),
		cmocka_unit_test(test_long_heads),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
