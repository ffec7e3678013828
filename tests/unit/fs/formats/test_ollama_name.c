/* fs/formats/ollama_name: names as users type them, and names of paths. */
#include "fs/formats/ollama_name.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <string.h>

static void test_names_parse(void **state)
{
	static const struct {
		const char *text, *full;
	} good[] = {
		{"tiny", "registry.ollama.ai/library/tiny:latest"},
		{"tiny:8b", "registry.ollama.ai/library/tiny:8b"},
		{"acme/Tiny.v1", "registry.ollama.ai/acme/Tiny.v1:latest"},
		{"kms.example/acme/deep:q8", "kms.example/acme/deep:q8"},
		{"localhost:5000/a/b", "localhost:5000/a/b:latest"},
		{"localhost:5000/a/b:c", "localhost:5000/a/b:c"},
		{"_/_:_", "registry.ollama.ai/_/_:_"},
	};
	static const char *const bad[] = {
		"",	    "/",       ":",	   "a:",    ":b",    "a/",	"/a",
		"a//b",	    ".",       "..",	   "../a",  "a/..",  "a/../b",	"-a",
		".a",	    "a b",     "a\nb",	   "a:b:c", "n.s/a", "a/b/c/d", "http://h/n/m",
		"\xc3\xa4", "a/b:c/d", "a@sha256", "a:..",  "a\\b",  "a*",	"h/n:m/x/y",
	};
	char long_part[OLLAMA_PART_MAX + 2], full[OLLAMA_NAME_MAX + 1];
	struct ollama_name n;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_null(ollama_name_parse(good[i].text, &n));
		ollama_name_full(&n, full);
		assert_string_equal(full, good[i].full);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(ollama_name_parse(bad[i], &n));
	memset(long_part, 'x', sizeof(long_part));
	long_part[OLLAMA_PART_MAX + 1] = '\0';
	assert_non_null(ollama_name_parse(long_part, &n));
	long_part[OLLAMA_PART_MAX] = '\0';
	assert_null(ollama_name_parse(long_part, &n));
}

static void assert_path_name(const char *path, const char *want)
{
	char text[OLLAMA_NAME_MAX + 1];
	struct ollama_name n;

	assert_int_equal(ollama_name_of_path(path, false, &n), 0);
	ollama_name_short(&n, text);
	assert_string_equal(text, want);
}

static void test_names_of_paths(void **state)
{
	assert_path_name("mistral-7b.gguf", "mistral-7b");
	assert_path_name("mistral-7b.Q4_K_M.GGUF", "mistral-7b.Q4_K_M");
	assert_path_name("prod/Llama 3 (8B).gguf", "prod/Llama-3-8B");
	assert_path_name("a.b/c/x.gguf", "a-b-c/x");
	assert_path_name("-._x.gguf", "_x");
	assert_path_name("x.-.gguf", "x");
	assert_path_name("...gguf", "model");
	assert_path_name("\xe6\xa8\xa1.gguf", "model");
	assert_path_name("\xe6\xa8\xa1/m", "m");
	assert_path_name("library/m.gguf", "m");
	assert_path_name("m:8b.gguf", "m-8b");
	assert_path_name(".gguf", "gguf");
}

/* Whatever bytes: a name that Ollama takes, and so does our own parser. */
static void test_any_path_has_a_valid_name(void **state)
{
	char path[400], full[OLLAMA_NAME_MAX + 1];
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		size_t size = 1 + (size_t)i % (sizeof(path) - 1);
		struct ollama_name n, again;

		for (size_t k = 0; k < size; k++) {
			seed = seed * 1103515245U + 12345U;
			path[k] = i % 3 ? (char)(1 + seed / 65536 % 255)
					: "a.-/Z9_: "[seed / 65536 % 9];
		}
		path[size] = '\0';
		assert_int_equal(ollama_name_of_path(path, i % 2, &n), 0);
		ollama_name_full(&n, full);
		assert_null(ollama_name_parse(full, &again));
		assert_int_equal(ollama_name_compare(&n, &again), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_parse),
		cmocka_unit_test(test_names_of_paths),
		cmocka_unit_test(test_any_path_has_a_valid_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
