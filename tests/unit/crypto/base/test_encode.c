/* crypto/base/encode: round trips, and everything that a lenient decoder would let through. */
#include "crypto/base/cleanup.h"
#include "crypto/base/encode.h"
#include "tests/unit/base/test.h"

#include <errno.h>
#include <string.h>

static void hex_round_trip(void **state)
{
	char text[9];
	uint8_t back[4];

	hex_encode("\x00\x7f\x80\xff", 4, text);
	assert_string_equal(text, "007f80ff");
	assert_int_equal(hex_decode("007F80fF", back, 4), 0);
	assert_memory_equal(back, "\x00\x7f\x80\xff", 4);
}

static void hex_is_strict(void **state)
{
	uint8_t out[2];

	assert_int_equal(hex_decode("0", out, 1), -EPROTO);
	assert_int_equal(hex_decode("000", out, 1), -EPROTO);
	assert_int_equal(hex_decode("0g", out, 1), -EPROTO);
	assert_int_equal(hex_decode(" 0", out, 1), -EPROTO);
	assert_int_equal(hex_decode("0x00", out, 2), -EPROTO);
}

static void base64_rfc4648(void **state)
{
	static const struct {
		const char *plain, *text;
	} v[] = {{"", ""},
		 {"f", "Zg=="},
		 {"fo", "Zm8="},
		 {"foo", "Zm9v"},
		 {"foob", "Zm9vYg=="},
		 {"fooba", "Zm9vYmE="},
		 {"foobar", "Zm9vYmFy"}};

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		_cleanup_free_ char *text = base64_encode(v[i].plain, strlen(v[i].plain));
		_cleanup_free_ uint8_t *back = NULL;
		size_t size = 99;

		assert_string_equal(text, v[i].text);
		assert_int_equal(base64_decode(v[i].text, 100, &back, &size), 0);
		assert_int_equal(size, strlen(v[i].plain));
		assert_memory_equal(back, v[i].plain, size);
	}
}

static void base64_is_strict(void **state)
{
	static const char *const bad[] = {
		"Zg=", "Zg", "Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm9-", "Zg==Zg=="};
	uint8_t *out = NULL;
	size_t size = 0;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(base64_decode(bad[i], 100, &out, &size), -EPROTO);
	assert_int_equal(base64_decode("Zm9vYmFy", 5, &out, &size), -E2BIG);
	assert_null(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hex_round_trip),
		cmocka_unit_test(hex_is_strict),
		cmocka_unit_test(base64_rfc4648),
		cmocka_unit_test(base64_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
