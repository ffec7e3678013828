/* fs/formats/gguf_name: names of GGUF files and of their parts. */
#include "fs/formats/gguf_name.h"

#include "tests/unit/test.h"

static void test_gguf_names(void **state)
{
	struct gguf_shard shard;

	assert_true(gguf_is_name("a.gguf"));
	assert_true(gguf_is_name("x/y.GgUf"));
	assert_false(gguf_is_name(".gguf"));
	assert_false(gguf_is_name("x/.gguf"));
	assert_false(gguf_is_name("a.gguf.ollama"));
	assert_false(gguf_is_name("agguf"));
	assert_true(gguf_parse_shard("d/x-00002-of-00005.gguf", &shard));
	assert_int_equal(shard.number, 2);
	assert_false(gguf_parse_shard("x-00006-of-00005.gguf", &shard));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gguf_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
