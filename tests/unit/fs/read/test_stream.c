/* fs/read/stream: who reads in order, and how far ahead. */
#include "fs/read/stream.h"

#include "tests/unit/base/test.h"

#include <string.h>

static int file_a, file_b;

static void test_first_reads_are_not_sequential(void **state)
{
	struct stream_table t = {0};

	assert_int_equal(stream_note(&t, &file_a, 0, 0, 0, 16), 0);
	assert_int_equal(stream_note(&t, &file_a, 1, 3, 0, 16), 0);
	assert_int_not_equal(stream_note(&t, &file_a, 4, 4, 0, 16), 0);
}

static void test_window_grows_to_its_limit(void **state)
{
	struct stream_table t = {0};
	unsigned before = 0, now = 0;

	for (uint64_t c = 0; c < 1000; c++) {
		now = stream_note(&t, &file_a, c, c, c, 16);
		assert_true(now >= before);
		before = now;
	}
	assert_int_equal(now, STREAM_EXTENTS_MAX);
}

static void test_order_may_be_a_little_wrong(void **state)
{
	static const uint64_t order[] = {0, 2, 1, 3, 5, 4, 7, 6, 9, 8};
	struct stream_table t = {0};
	unsigned now = 0;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		now = stream_note(&t, &file_a, order[i], order[i], 0, 16);
	assert_int_not_equal(now, 0);
}

static void test_parts_of_one_chunk_do_not_count(void **state)
{
	struct stream_table t = {0};

	for (int i = 0; i < 100; i++)
		assert_int_equal(stream_note(&t, &file_a, 7, 7, 0, 16), 0);
}

static void test_jumps(void **state)
{
	struct stream_table t = {0};

	for (uint64_t i = 0; i < 200; i++)
		assert_int_equal(stream_note(&t, &file_a, i * 7919 % 100003 * 20,
					     i * 7919 % 100003 * 20, i, 16),
				 0);
}

static void test_two_files_are_two_streams(void **state)
{
	struct stream_table t = {0};

	for (uint64_t c = 0; c < 3; c++) {
		assert_int_equal(stream_note(&t, &file_a, c, c, 0, 16), 0);
		assert_int_equal(stream_note(&t, &file_b, c + 3, c + 3, 0, 16), 0);
	}
}

static void run_streams(struct stream_table *t, unsigned count, uint64_t now_ms)
{
	for (uint64_t c = 0; c < 200; c++)
		for (unsigned s = 0; s < count; s++)
			stream_note(t, &file_a, s * 10000 + c, s * 10000 + c, now_ms, 16);
}

static void test_extents_are_shared(void **state)
{
	struct stream_table t = {0};

	run_streams(&t, 8, 0);
	assert_int_equal(stream_note(&t, &file_a, 200, 200, 0, 16), 2);
	/* More readers than extents: better by chunk than each throwing out the others'. */
	run_streams(&t, 20, 0);
	assert_int_equal(stream_note(&t, &file_a, 201, 201, 0, 16), 0);
	/* The others have gone. */
	assert_int_equal(stream_note(&t, &file_a, 202, 202, STREAM_ACTIVE_MS, 16),
			 STREAM_EXTENTS_MAX);
}

static void test_forget(void **state)
{
	struct stream_table t = {0};

	run_streams(&t, 2, 0);
	stream_forget(&t, &file_a);
	assert_int_equal(stream_note(&t, &file_a, 200, 200, 0, 16), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_reads_are_not_sequential),
		cmocka_unit_test(test_window_grows_to_its_limit),
		cmocka_unit_test(test_order_may_be_a_little_wrong),
		cmocka_unit_test(test_parts_of_one_chunk_do_not_count),
		cmocka_unit_test(test_jumps),
		cmocka_unit_test(test_two_files_are_two_streams),
		cmocka_unit_test(test_extents_are_shared),
		cmocka_unit_test(test_forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
