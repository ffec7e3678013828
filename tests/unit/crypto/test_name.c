/* crypto/name: which bytes are a model's name, and that no name can forge a message. */
#include "crypto/failure.h"
#include "crypto/format.h"
#include "crypto/name.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <string.h>

static void good_names(void **state)
{
	static const char *const names[] = {
		"a",
		"model.gguf",
		"...",
		".hidden",
		"a b",
		"\xC3\xA4",
		"\xE2\x82\xAC",
		"a\nb",
		"\xF0\x9F\xA6\x99",
		"\xED\x9F\xBF",
		"\xEE\x80\x80",
		"\xF4\x8F\xBF\xBF",
		"x.seal",
		"\xC2\x80",
		"\xE0\xA0\x80",
		"\xF0\x90\x80\x80",
	};
	char longest[SEAL_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_null(name_problem(names[i], strlen(names[i])));
	memset(longest, 'n', sizeof(longest));
	assert_null(name_problem(longest, SEAL_NAME_MAX));
	assert_non_null(name_problem(longest, SEAL_NAME_MAX + 1));
}

static void bad_names(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} names[] = {
		{"", 0},
		{".", 1},
		{"..", 2},
		{"/", 1},
		{"a/b", 3},
		{"a\0b", 3},
		{"\0", 1},
		{"\x80", 1},
		{"\xC0\xAF", 2},	 /* overlong slash */
		{"\xC1\xBF", 2},	 /* overlong */
		{"\xE0\x9F\xBF", 3},	 /* overlong */
		{"\xF0\x8F\xBF\xBF", 4}, /* overlong */
		{"\xED\xA0\x80", 3},	 /* surrogate */
		{"\xED\xBF\xBF", 3},	 /* surrogate */
		{"\xF4\x90\x80\x80", 4}, /* over U+10FFFF */
		{"\xF5\x80\x80\x80", 4},
		{"\xFE", 1},
		{"\xFF", 1},
		{"a\xC3", 2},	     /* cut short */
		{"\xE2\x82", 2},     /* cut short */
		{"\xF0\x9F\xA6", 3}, /* cut short */
		{"\xC3(", 2},
		{"\xE2\x28\xA1", 3},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(name_problem(names[i].bytes, names[i].size));
}

/* Every code point, encoded by hand, is valid exactly when Unicode says so. */
static void every_code_point(void **state)
{
	for (uint32_t c = 0; c < 0x120000; c++) {
		uint8_t u[4];
		size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		bool good = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
		uint32_t rest = c;

		for (size_t i = n; i-- > 1; rest >>= 6)
			u[i] = (uint8_t)(0x80 | (rest & 0x3F));
		u[0] = (uint8_t)(n == 1 ? rest : (0xF00U >> n & 0xFF) | rest);
		if (utf8_valid(u, n) != good)
			fail_msg("U+%04X", (unsigned)c);
		if (good && utf8_has_control(u, n) != (c < 0x20 || (c >= 0x7F && c <= 0x9F)))
			fail_msg("U+%04X: control or not", (unsigned)c);
	}
}

static void paths(void **state)
{
	static const char *const good[] = {"m", "a/b", ".a/..b/...", "a b/\xC2\xA0/\xE2\x80\xAE"};
	static const char *const bad[] = {
		"",    "/",	 "/a",	 "a/",	 "a//b",  ".",		"..",	      "./a",
		"a/.", "a/../b", "a\nb", "\x1F", "a\x7F", "a/\xC2\x80", "\xC2\x9F/a", "a/\xFF"};
	char longest[SEAL_PATH_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_null(model_path_problem(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (!model_path_problem(bad[i], strlen(bad[i])))
			fail_msg("%zu was taken", i);
	assert_non_null(model_path_problem("a\0b", 3));
	for (size_t i = 0; i <= SEAL_PATH_MAX; i++)
		longest[i] = i % 256 == 255 ? '/' : 'x';
	longest[SEAL_PATH_MAX - 1] = 'x';
	assert_non_null(model_path_problem(longest, SEAL_PATH_MAX)); /* ends in 256 x */
	longest[SEAL_PATH_MAX - 2] = '/';
	assert_null(model_path_problem(longest, SEAL_PATH_MAX));
	assert_non_null(model_path_problem(longest, SEAL_PATH_MAX + 1));
}

static void printing(void **state)
{
	static const char *const cases[][2] = {
		{"prod/m.gguf.seal", "prod/m.gguf.seal"},
		{"\xC3\xA4\xE2\x82\xAC", "\xC3\xA4\xE2\x82\xAC"},
		{"a\nb\x1B[2J\x7F", "a\\x0ab\\x1b[2J\\x7f"},
		{"say \"x\": \\", "say \\x22x\\x22: \\x5c"},
		{"\xFF\xC3", "\\xff\\xc3"},
		{"\xC2\x9B", "\\xc2\\x9b"},		   /* C1 control */
		{"\xE2\x80\xAEgpj", "\\xe2\\x80\\xaegpj"}, /* right-to-left override */
		{"\xEF\xBB\xBFx", "\\xef\\xbb\\xbfx"},	   /* byte order mark */
		{"", ""},
	};
	char out[NAME_PRINTABLE_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		name_printable(cases[i][0], out);
		assert_string_equal(out, cases[i][1]);
	}
	name_printable(NULL, out);
	assert_string_equal(out, "?");
}

static void long_names_keep_their_end(void **state)
{
	char name[1000], out[NAME_PRINTABLE_SIZE];

	for (size_t size = 250; size < 270; size++) {
		memset(name, 'x', sizeof(name));
		memcpy(name + size - 5, ".seal", 6);
		name_printable(name, out);
		assert_true(strlen(out) < NAME_PRINTABLE_SIZE);
		assert_string_equal(out + strlen(out) - 5, ".seal");
		assert_int_equal(strncmp(out, "\xE2\x80\xA6", 3) == 0, size >= NAME_PRINTABLE_SIZE);
	}
	memset(name, 1, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	name_printable(name, out);
	assert_true(strlen(out) < NAME_PRINTABLE_SIZE && strlen(out) > NAME_PRINTABLE_SIZE - 8);
}

static void random_bytes_print_harmlessly(void **state)
{
	uint64_t random = test_seed();

	for (int round = 0; round < 20000; round++) {
		char name[400], out[NAME_PRINTABLE_SIZE];
		size_t size = (size_t)(test_random(&random) % sizeof(name));

		test_random_bytes(&random, (uint8_t *)name, sizeof(name));
		name[size] = '\0';
		memset(out, 'Z', sizeof(out));
		name_printable(name, out);
		assert_non_null(memchr(out, '\0', sizeof(out)));
		assert_true(utf8_valid(out, strlen(out)));
		for (const char *p = out; *p; p++)
			assert_true((uint8_t)*p >= 0x20 && *p != '"' && *p != 0x7F);
	}
}

static void last_components(void **state)
{
	assert_string_equal(name_last_component("a/b/c"), "c");
	assert_string_equal(name_last_component("c"), "c");
	assert_string_equal(name_last_component("a/"), "");
	assert_string_equal(name_last_component(""), "");
}

/* An object's name that looks like a message of ours must not be taken for one. */
static void a_name_cannot_forge_a_class(void **state)
{
	struct error err = {0};

	seal_fail(&err, SEAL_BAD_SLOTS, "x\": malformed: y", "why");
	assert_int_equal(seal_failure_of(&err), SEAL_BAD_SLOTS);
	assert_null(strstr(err.message, "\": malformed"));
	error_prefix(&err, 0, "cannot open %s", "m");
	assert_int_equal(seal_failure_of(&err), SEAL_BAD_SLOTS);
}

static void every_class_has_words_and_errno(void **state)
{
	for (int f = SEAL_FAILURE_NONE + 1; f < SEAL_FAILURE_COUNT; f++) {
		enum seal_failure failure = (enum seal_failure)f;
		struct error err = {0};
		int r = seal_fail(&err, failure, "m.seal", "detail %d", 7);

		assert_true(r < 0);
		assert_int_equal(r, err.code);
		assert_int_equal(seal_failure_of(&err), failure);
		assert_true(strlen(seal_failure_id(failure)) > 0);
		assert_non_null(strstr(err.message, "\"m.seal\": "));
		assert_non_null(strstr(err.message, ": detail 7"));
		assert_int_equal(seal_fail(NULL, failure, "m.seal", "x"), r);
	}
	assert_int_equal(seal_failure_of(NULL), SEAL_FAILURE_NONE);
	assert_int_equal(seal_failure_of(&(struct error){0}), SEAL_FAILURE_NONE);
	assert_string_equal(seal_failure_id((enum seal_failure)99), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names),
		cmocka_unit_test(bad_names),
		cmocka_unit_test(every_code_point),
		cmocka_unit_test(paths),
		cmocka_unit_test(printing),
		cmocka_unit_test(long_names_keep_their_end),
		cmocka_unit_test(random_bytes_print_harmlessly),
		cmocka_unit_test(last_components),
		cmocka_unit_test(a_name_cannot_forge_a_class),
		cmocka_unit_test(every_class_has_words_and_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
