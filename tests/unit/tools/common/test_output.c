/* tools/output, progress, cli: words for people, numbers for programs. */
#include "tests/unit/test.h"
#include "tools/common/cli.h"
#include "tools/common/output.h"
#include "tools/common/progress.h"

#include <errno.h>
#include <string.h>

static void amounts(void **state)
{
	static const struct {
		double bytes;
		const char *text;
	} cases[] = {{0, "0 bytes"},	       {1, "1 byte"},	   {999, "999 bytes"},
		     {1000, "1.0 kB"},	       {9949, "9.9 kB"},   {9960, "10 kB"},
		     {999400, "999 kB"},       {999600, "1.0 MB"}, {50e6, "50 MB"},
		     {2147483648.0, "2.1 GB"}, {17.6e12, "18 TB"}, {4e15, "4000 TB"}};
	char text[OUTPUT_AMOUNT_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(output_amount(cases[i].bytes, text), cases[i].text);
}

static void times(void **state)
{
	char text[OUTPUT_TIME_SIZE];

	assert_string_equal(output_time_ms(0, text), "1970-01-01T00:00:00Z");
	assert_string_equal(output_time_ms(1770113522437, text), "2026-02-03T10:12:02.437Z");
	assert_string_equal(output_time_ms(253402300799999, text), "9999-12-31T23:59:59.999Z");
	assert_string_equal(output_time_ms(253402300800000, text), "?");
	assert_string_equal(output_time_ms(-1, text), "?");
	assert_string_equal(output_time_ms(INT64_MAX, text), "?");
}

static void texts_become_valid(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {{"plain", "plain"},
		     {"", ""},
		     {"\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xf0\x9f\x98\x80"},
		     {"a\xff"
		      "b",
		      "a\xef\xbf\xbd"
		      "b"},
		     {"\xc3", "\xef\xbf\xbd"},
		     {"\xc3(", "\xef\xbf\xbd("},
		     {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *value = output_text(cases[i].in);

		assert_non_null(value);
		assert_string_equal(json_string_value(value), cases[i].out);
		json_decref(value);
	}
}

static void lists_fail_as_a_whole(void **state)
{
	json_t *list = json_array();

	output_append(&list, json_true());
	assert_int_equal(json_array_size(list), 1);
	output_append(&list, NULL);
	assert_null(list);
	output_append(&list, json_string("x"));
	assert_null(list);
}

static void errors_in_json(void **state)
{
	struct error err = {0};
	json_t *value;

	error_set(&err, -ENOKEY, "no key for \"%s\"", "x");
	error_hint(&err, "bring one");
	value = output_error_json(&err, err.code);
	assert_string_equal(json_string_value(json_object_get(value, "code")), "ENOKEY");
	assert_string_equal(json_string_value(json_object_get(value, "message")),
			    "no key for \"x\"");
	assert_string_equal(json_string_value(json_object_get(value, "hint")), "bring one");
	assert_int_equal(json_integer_value(json_object_get(value, "exit_code")),
			 EXIT_CODE_REFUSED);
	json_decref(value);
}

static void progress_lines(void **state)
{
	char line[256];

	progress_format("m.gguf", 500000000, 2000000000, 2, 250e6, 120, line, sizeof(line));
	assert_string_equal(line, "m.gguf  #######.......................   25 %  500 MB of 2.0 GB"
				  "  250 MB/s  6 s left");
	progress_format("m.gguf", 1, 2000000000, 90, 1e6, 50, line, sizeof(line));
	assert_string_equal(line, "    0 %  1 byte of 2.0 GB  1.0 MB/s  33:20 min le");
	progress_format("x", 5000, PROGRESS_TOTAL_UNKNOWN, 1, 5000, 80, line, sizeof(line));
	assert_string_equal(line, "x  5.0 kB  5.0 kB/s");
	progress_format("x", 0, 0, 1, 0, 80, line, sizeof(line));
	assert_string_equal(line, "x  0 bytes  0 bytes/s");
	/* More than was announced, a terminal of one column, hours. */
	progress_format("x", 3000, 2000, 5, 100, 80, line, sizeof(line));
	assert_non_null(strstr(line, "100 %"));
	progress_format("long label", 1, 2000, 5, 100, 1, line, sizeof(line));
	assert_string_equal(line, "");
	progress_format("x", 0, 72000000, 5, 10000, 200, line, sizeof(line));
	assert_non_null(strstr(line, "2:00 h left"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(amounts),
		cmocka_unit_test(times),
		cmocka_unit_test(texts_become_valid),
		cmocka_unit_test(lists_fail_as_a_whole),
		cmocka_unit_test(errors_in_json),
		cmocka_unit_test(progress_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
