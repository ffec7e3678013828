/* fs/net/text and clock: percent-encoding, times in three spellings, and what is neither. */
#include "fs/net/text.h"

#include "fs/net/dates.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static void text_grows(void **state)
{
	_cleanup_text_ struct text t = {0};
	_cleanup_free_ char *s = NULL;

	for (int i = 0; i < 1000; i++)
		text_printf(&t, "%d,", i % 10);
	text_append(&t, "end");
	text_append_n(&t, "", 0);
	assert_int_equal(t.size, 2003);
	s = text_steal(&t);
	assert_int_equal(strlen(s), 2003);
	assert_memory_equal(s + 1990, "5,6,7,8,9,end", 14);
	assert_null(t.data);
}

static void failure_sticks(void **state)
{
	struct text t = {0};

	text_append(&t, "x");
	text_append_n(&t, "x", SIZE_MAX / 2);
	assert_true(t.failed);
	text_append(&t, "y");
	assert_null(text_steal(&t));
	text_append_uri(&t, "x", SIZE_MAX / 4, false);
	assert_true(t.failed);
	text_clear(&t);
}

static void uri_encoding(void **state)
{
	_cleanup_text_ struct text t = {0};

	text_append_uri(&t, "aZ09-_.~/ +%&=\xe2\x82\xac\x7f", 18, true);
	assert_string_equal(t.data, "aZ09-_.~/%20%2B%25%26%3D%E2%82%AC%7F");
	text_clear(&t);
	text_append_uri(&t, "a/b", 3, false);
	assert_string_equal(t.data, "a%2Fb");
}

static void uri_decoding(void **state)
{
	char good[] = "a%20b+c%2b%E2%82%ac%00d";
	char plus[] = "a+b%2B";
	static const char *const bad[] = {"%", "%4", "%zz", "a%4g", "%%20"};

	assert_int_equal(uri_decode(good, false), 11);
	assert_memory_equal(good, "a b+c+\xe2\x82\xac\0d", 11);
	assert_int_equal(uri_decode(plus, true), 4);
	assert_string_equal(plus, "a b+");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_free_ char *copy = strdup(bad[i]);

		assert_int_equal(uri_decode(copy, false), -1);
	}
}

static void times_are_parsed(void **state)
{
	int64_t t = 0;
	char basic[DATE_BASIC_SIZE];

	assert_int_equal(date_parse_rfc3339("2015-08-30T12:36:00Z", &t), 0);
	assert_int_equal(t, 1440938160);
	date_format_basic(t, basic);
	assert_string_equal(basic, "20150830T123600Z");
	assert_int_equal(date_parse_rfc3339("2015-08-30T12:36:00.000Z", &t), 0);
	assert_int_equal(t, 1440938160);
	assert_int_equal(date_parse_rfc3339("2015-08-30T14:36:00+02:00", &t), 0);
	assert_int_equal(t, 1440938160);
	assert_int_equal(date_parse_rfc3339("2015-08-30T05:06:00.5-07:30", &t), 0);
	assert_int_equal(t, 1440938160);
	assert_int_equal(date_parse_rfc3339("2024-02-29T23:59:60Z", &t), 0);
	assert_int_equal(date_parse_http("Fri, 24 May 2013 00:00:00 GMT", &t), 0);
	assert_int_equal(t, 1369353600);
	assert_int_equal(date_parse_http("Sun, 06 Nov 1994 08:49:37 GMT", &t), 0);
	assert_int_equal(t, 784111777);
}

static void what_is_no_time(void **state)
{
	static const char *const bad[] = {"",
					  "2015-08-30",
					  "2015-08-30T12:36:00",
					  "2015-08-30T12:36:00+01",
					  "2015-08-30T12:36:00+24:00",
					  "2015-08-30T12:36:00+00:60",
					  "2015-08-30T12:36:00+01:00Z",
					  "2015-08-30T12:36:00 01:00",
					  "2015-08-30T12:36:00.Z",
					  "2015-08-30T12:36:00.1234567890Z",
					  "2015-13-30T12:36:00Z",
					  "2015-00-30T12:36:00Z",
					  "2015-08-32T12:36:00Z",
					  "2015-08-30T24:36:00Z",
					  "2015-08-30T12:60:00Z",
					  "1969-08-30T12:36:00Z",
					  "2015-08-30 12:36:00Z",
					  "2015-8-30T12:36:00Z",
					  "20150830T123600Z",
					  "2015-08-30T12:36:00Z "};
	static const char *const bad_http[] = {"",
					       "Fri, 24 May 2013 00:00:00 UTC",
					       "Fri, 24 Foo 2013 00:00:00 GMT",
					       "Fri, 24 may 2013 00:00:00 GMT",
					       "Friday, 24-May-13 00:00:00 GMT",
					       "Fri May 24 00:00:00 2013",
					       "Fri, 24 May 2013 25:00:00 GMT",
					       "Fri, 4 May 2013 00:00:00 GMT "};
	int64_t t = -7;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(date_parse_rfc3339(bad[i], &t), -EPROTO);
	for (size_t i = 0; i < ARRAY_LEN(bad_http); i++)
		assert_int_equal(date_parse_http(bad_http[i], &t), -EPROTO);
	assert_int_equal(t, -7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_grows),	    cmocka_unit_test(failure_sticks),
		cmocka_unit_test(uri_encoding),	    cmocka_unit_test(uri_decoding),
		cmocka_unit_test(times_are_parsed), cmocka_unit_test(what_is_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
