/* crypto/base/encode: round trips, and everything that a lenient decoder would let through. */
#include "crypto/base/cleanup.h"
#include "crypto/base/encode.h"
#include "tests/unit/test.h"

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

static void numbers_are_strict(void **state)
{
	static const char *const bad[] = {"",
					  " 1",
					  "1 ",
					  "+1",
					  "-1",
					  "0x1",
					  "1k",
					  "1\n",
					  "256",
					  "2560",
					  "99999999999999999999999"};
	uint64_t v = 7;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(number_parse(bad[i], 10, 255, &v), -EINVAL);
	assert_int_equal(number_parse("8", 8, 255, &v), -EINVAL);
	assert_int_equal(number_parse("1", 10, 0, &v), -EINVAL);
	assert_int_equal(number_parse("18446744073709551616", 10, UINT64_MAX, &v), -EINVAL);
	assert_int_equal(v, 7);
	assert_int_equal(number_parse("255", 10, 255, &v), 0);
	assert_int_equal(v, 255);
	assert_int_equal(number_parse("0777", 8, 0777, &v), 0);
	assert_int_equal(v, 0777);
	assert_int_equal(number_parse("0", 10, 0, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(number_parse("18446744073709551615", 10, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {{"0", 0}, {"17", 17}, {"3k", 3072}, {"1M", 1048576}, {"16T", 17592186044416}};
	static const char *const bad[] = {"",
					  "k",
					  "-1",
					  "+1",
					  " 1",
					  "1K",
					  "1.5",
					  "1kB",
					  "0x1",
					  "99999999999999999999",
					  "1 ",
					  "1P",
					  "18446744073709551615k"};
	uint64_t v = 0;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(size_parse(good[i].text, "kMGT", UINT64_MAX, &v), 0);
		assert_int_equal(v, good[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(size_parse(bad[i], "kMGT", UINT64_MAX, &v), -EINVAL);
	assert_int_equal(size_parse("4M", "KMGT", 4 << 20, &v), 0);
	assert_int_equal(size_parse("4097K", "KMGT", 4 << 20, &v), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hex_round_trip),     cmocka_unit_test(hex_is_strict),
		cmocka_unit_test(base64_rfc4648),     cmocka_unit_test(base64_is_strict),
		cmocka_unit_test(numbers_are_strict), cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
