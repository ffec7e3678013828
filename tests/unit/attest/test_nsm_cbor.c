/*
 * NSM messages: the request byte for byte, the response in its forms, and lies in the mailbox.
 */
#include "tests/unit/attest/cbor_build.h"
#include "tests/unit/test.h"

#include "attest/nsm_cbor.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_empty_request(void **state)
{
	struct attest_request req = {0};
	uint8_t out[NSM_REQUEST_MAX];
	char hex[2 * NSM_REQUEST_MAX + 1];
	size_t size = 0;

	assert_int_equal(nsm_encode_attestation(&req, out, &size, NULL), 0);
	hex_encode(out, size, hex);
	assert_string_equal(hex, "a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f6"
				 "6a7075626c69635f6b6579f6");
}

static void test_request_sizes(void **state)
{
	static const struct {
		size_t size;
		const char *head;
	} cases[] = {{0, "40"},	      {23, "57"},      {24, "5818"},	{255, "58ff"},
		     {256, "590100"}, {294, "590126"}, {1024, "590400"}};
	static uint8_t field[DOCUMENT_FIELD_MAX + 1];

	for (size_t n = 0; n < ARRAY_LEN(cases); n++) {
		struct attest_request req = {.public_key = field, .public_key_size = cases[n].size};
		uint8_t out[NSM_REQUEST_MAX];
		char hex[7] = "";
		size_t size = 0, head = strlen(cases[n].head) / 2;

		assert_int_equal(nsm_encode_attestation(&req, out, &size, NULL), 0);
		assert_int_equal(size, 43 + head + cases[n].size);
		hex_encode(out + 43, head, hex);
		assert_string_equal(hex, cases[n].head);
		assert_int_equal(nsm_response_complete(out, size), 0);
		assert_int_equal(nsm_response_complete(out, size - 1), -ENODATA);
	}
}

static void test_largest_request(void **state)
{
	static uint8_t field[DOCUMENT_FIELD_MAX + 1];
	struct attest_request req = {.user_data = field,
				     .user_data_size = DOCUMENT_FIELD_MAX,
				     .nonce = field,
				     .nonce_size = DOCUMENT_FIELD_MAX,
				     .public_key = field,
				     .public_key_size = DOCUMENT_FIELD_MAX};
	size_t *sizes[] = {&req.user_data_size, &req.nonce_size, &req.public_key_size};
	uint8_t out[NSM_REQUEST_MAX];
	size_t size = 0;

	assert_int_equal(nsm_encode_attestation(&req, out, &size, NULL), 0);
	assert_in_range(size, 3 * DOCUMENT_FIELD_MAX, NSM_REQUEST_MAX);
	for (size_t n = 0; n < ARRAY_LEN(sizes); n++) {
		struct error err = {0};

		(*sizes[n])++;
		assert_int_equal(nsm_encode_attestation(&req, out, &size, &err), -E2BIG);
		assert_non_null(strstr(err.message, "1024"));
		(*sizes[n])--;
	}
}

static void build_response(struct build *b, bool outer_open, bool inner_open)
{
	b->size = 0;
	if (outer_open)
		build_open_map(b);
	else
		build_head(b, BUILD_MAP, 1);
	build_text(b, "Attestation");
	if (inner_open)
		build_open_map(b);
	else
		build_head(b, BUILD_MAP, 1);
	build_text(b, "document");
	build_bytes(b, "DOC", 3);
	if (inner_open)
		build_break(b);
	if (outer_open)
		build_break(b);
}

static void test_response(void **state)
{
	static struct build b;

	for (int form = 0; form < 4; form++) {
		struct bytes_view v = {0};
		struct error err = {0};
		size_t whole;

		build_response(&b, form & 1, form & 2);
		whole = b.size;
		for (size_t n = 0; n < whole; n++)
			assert_int_equal(nsm_response_complete(b.data, n), -ENODATA);
		/* The mailbox is filled up with 0xFF, which is also CBOR's break. */
		while (b.size < 256)
			build_byte(&b, 0xff);
		assert_int_equal(nsm_response_complete(b.data, b.size), 0);
		assert_int_equal(nsm_decode_attestation(b.data, b.size, &v, &err), 0);
		assert_int_equal(v.size, 3);
		assert_memory_equal(v.data, "DOC", 3);
	}
}

static void test_errors(void **state)
{
	static const struct {
		const char *name;
		int code;
		const char *says;
	} cases[] = {
		{"InputTooLarge", -E2BIG, "too large"},
		{"InvalidOperation", -EOPNOTSUPP, "does not make"},
		{"InternalError", -EIO, "InternalError"},
		{"BufferTooSmall", -EIO, "too small"},
		{"SomethingNew", -EIO, "SomethingNew"},
		{"bad\nname", -EPROTO, "not an attestation response"},
	};
	static struct build b;

	for (size_t n = 0; n < ARRAY_LEN(cases); n++) {
		struct bytes_view v = {0};
		struct error err = {0};

		b.size = 0;
		build_head(&b, BUILD_MAP, 1);
		build_text(&b, "Error");
		build_text(&b, cases[n].name);
		build_byte(&b, 0xff);
		assert_int_equal(nsm_decode_attestation(b.data, b.size, &v, &err), cases[n].code);
		assert_non_null(strstr(err.message, cases[n].says));
		assert_null(v.data);
	}
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"ff00ff00",						  /* not an item */
		"f6",							  /* null */
		"80",							  /* array */
		"a0",							  /* empty map */
		"a20102",						  /* cut short */
		"a2 6b4174746573746174696f6e a0 00 00",			  /* two keys */
		"a1 00 00",						  /* key is a number */
		"a1 6b4174746573746174696f6e f6",			  /* no inner map */
		"a1 6b4174746573746174696f6e a0",			  /* empty inner map */
		"a1 6b4174746573746174696f6e a1 68646f63756d656e74 f6",	  /* document is null */
		"a1 6b4174746573746174696f6e a1 68646f63756d656e75 4100", /* other key */
		"bf 6b4174746573746174696f6e a1 68646f63756d656e74 4100 00 00 ff", /* more keys */
		"a1 654572726f72 a0", /* error is not a text */
		/* the request, left as it was */
		("a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f66a7075626c69635f6b"
		 "6579f6"),
	};

	for (size_t n = 0; n < ARRAY_LEN(bad); n++) {
		uint8_t bytes[128];
		char digits[256];
		size_t size = 0;
		struct bytes_view v = {0};
		struct error err = {0};

		for (const char *p = bad[n]; *p; p++)
			if (*p != ' ')
				digits[size++] = *p;
		digits[size] = '\0';
		assert_int_equal(hex_decode(digits, bytes, size / 2), 0);
		if (nsm_decode_attestation(bytes, size / 2, &v, &err) != -EPROTO)
			fail_msg("case %zu was not refused", n);
		assert_null(v.data);
	}
}

/* As serde_cbor writes what aws-nitro-enclaves-nsm-api declares. */
static void test_calls(void **state)
{
	static const uint8_t data[3] = {1, 2, 3};
	static const struct {
		struct nsm_call call;
		const char *bytes;
	} cases[] = {
		{{.name = "GetRandom"}, "6947657452616e646f6d"},
		{{.name = "DescribeNSM"}, "6b44657363726962654e534d"},
		{{.name = "DescribePCR", .has_index = true, .index = 31},
		 "a16b4465736372696265504352a165696e646578181f"},
		{{.name = "LockPCR", .has_index = true, .index = 16},
		 "a1674c6f636b504352a165696e64657810"},
		{{.name = "ExtendPCR",
		  .has_index = true,
		  .index = 16,
		  .data = data,
		  .data_size = sizeof(data)},
		 "a169457874656e64504352a265696e646578106464617461"
		 "43010203"},
	};

	for (size_t n = 0; n < ARRAY_LEN(cases); n++) {
		uint8_t out[NSM_REQUEST_MAX], want[128];
		size_t size = 0;

		assert_int_equal(nsm_encode_call(&cases[n].call, out, &size, NULL), 0);
		assert_int_equal(2 * size, strlen(cases[n].bytes));
		assert_int_equal(hex_decode(cases[n].bytes, want, size), 0);
		assert_memory_equal(out, want, size);
	}
}

static void test_answers(void **state)
{
	static const struct {
		const char *name, *bytes;
		int code;
	} cases[] = {
		{"LockPCR", "674c6f636b504352", 0},
		{"GetRandom", "a16947657452616e646f6da16672616e646f6d43aabbcc", 0},
		{"GetRandom", "bf6947657452616e646f6dbf6672616e646f6d43aabbccffff", 0},
		{"DescribePCR", "a16b4465736372696265504352a2646c6f636bf5646461746143aabbcc", 0},
		{"ExtendPCR", "a169457874656e64504352a2636e6577a1f68100646461746143aabbcc", 0},
		{"ExtendPCR", "a1654572726f726d526561644f6e6c79496e646578", -EKEYREJECTED},
		{"LockPCR", "a1654572726f726c496e76616c6964496e646578", -EINVAL},
		{"LockPCR", "684c6f636b50435273", -EPROTO}, /* the answer to LockPCRs */
		{"LockPCR", "674c6f636b50435200", -EPROTO}, /* bytes behind it */
		{"LockPCR", "674c6f636b5043", -EPROTO},	    /* cut short */
		{"LockPCR", "a1654572726f72f6", -EPROTO},   /* no name */
		{"GetRandom",
		 "a16947657452616e646f6da0"
		 "00",
		 -EPROTO},
		{"GetRandom", "a16947657452616e646f6df6", -EPROTO},
		{"GetRandom", "a16947657452616e646f6da16672616e646f6df6", -EPROTO},
		{"GetRandom", "a16947657452616e646f6da26672616e646f6d41006672616e646f6d4100",
		 -EPROTO},
		{"DescribePCR", "a16b4465736372696265504352a1646c6f636b01", -EPROTO},
		{"DescribePCR", "a16b4465736372696265504352a2646c6f636bf5646c6f636bf5", -EPROTO},
		{"DescribePCR", "a269457874656e64504352a0f6f6", -EPROTO},
	};

	for (size_t n = 0; n < ARRAY_LEN(cases); n++) {
		size_t size = strlen(cases[n].bytes) / 2;
		_cleanup_free_ uint8_t *bytes = malloc(size); /* no more, for sanitizers */
		struct nsm_answer a = {0};

		assert_int_equal(hex_decode(cases[n].bytes, bytes, size), 0);
		if (nsm_decode_answer(bytes, size, cases[n].name, &a, NULL) != cases[n].code)
			fail_msg("case %zu", n);
		if (cases[n].code == 0 && a.data.data)
			assert_memory_equal(a.data.data, "\xaa\xbb\xcc", 3);
		assert_int_equal(a.lock, cases[n].code == 0 && a.has_lock);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_request),	cmocka_unit_test(test_request_sizes),
		cmocka_unit_test(test_largest_request), cmocka_unit_test(test_response),
		cmocka_unit_test(test_errors),		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_calls),		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
