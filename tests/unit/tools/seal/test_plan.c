/* tools/plan: shards, part sizes. What a plan does with real trees: tests/cases/sealctl.py. */
#include "fs/formats/gguf_name.h"
#include "tests/unit/test.h"
#include "tools/seal/plan.h"
#include "tools/seal/seal_input.h"

#include <string.h>

static void shards(void **state)
{
	static const char *const no[] = {"x.gguf",
					 "x-1-of-2.gguf",
					 "x-00000-of-00002.gguf",
					 "x-00003-of-00002.gguf",
					 "x-00001-of-00002.bin",
					 "00001-of-00002.gguf",
					 "x-0000a-of-00002.gguf",
					 "x-00001-of-00002.gguf.seal",
					 ""};
	struct gguf_shard shard;

	assert_true(gguf_parse_shard("a/x-00002-of-00005.gguf", &shard));
	assert_int_equal(shard.number, 2);
	assert_int_equal(shard.count, 5);
	assert_int_equal(shard.number_at, strlen("a/x-"));
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		assert_false(gguf_parse_shard(no[i], &shard));
}

static void part_sizes(void **state)
{
	const uint64_t extent = SEAL_EXTENT_SIZE;

	assert_int_equal(seal_part_size(0, true), extent);
	assert_int_equal(seal_part_size(10000 * extent, true), extent);
	assert_int_equal(seal_part_size(10000 * extent + 1, true), 2 * extent);
	assert_int_equal(seal_part_size(20000 * extent, true), 2 * extent);
	assert_int_equal(seal_part_size(10000 * extent + 1, false), extent);
	for (uint64_t length = 1; length <= SEAL_LENGTH_MAX; length = length * 3 + 1) {
		size_t part = seal_part_size(length, true);

		assert_int_equal(part % extent, 0);
		assert_true((length + part - 1) / part <= 10000);
	}
}

static void clearing_an_empty_plan(void **state)
{
	struct plan plan = {0};

	assert_int_equal(plan_finish(&plan, NULL), 0);
	plan_clear(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shards),
		cmocka_unit_test(part_sizes),
		cmocka_unit_test(clearing_an_empty_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
