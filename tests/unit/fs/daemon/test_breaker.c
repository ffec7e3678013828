/* fs/breaker: a populate loop is ended, an ordinary failing reader is not. */
#include "fs/breaker.h"

#include "tests/unit/base/test.h"

static void test_loop_is_ended(void **state)
{
	struct breaker b;

	breaker_init(&b);
	for (unsigned i = 1; i < BREAKER_ERRORS; i++) {
		assert_false(breaker_error(&b, 8192, 100));
		assert_false(breaker_is_cut(&b, 8192));
	}
	assert_true(breaker_error(&b, 8192, 100 + BREAKER_WINDOW_MS));
	assert_true(breaker_is_cut(&b, 8192));
	assert_true(breaker_is_cut(&b, 1 << 20));
	assert_false(breaker_is_cut(&b, 8191));
	breaker_done(&b);
}

static void test_slow_errors_do_not_cut(void **state)
{
	struct breaker b;

	breaker_init(&b);
	for (uint64_t i = 0; i < 10 * BREAKER_ERRORS; i++)
		assert_false(breaker_error(&b, 0, 2 * i));
	breaker_done(&b);
}

static void test_errors_all_over_do_not_cut(void **state)
{
	struct breaker b;

	breaker_init(&b);
	for (uint64_t i = 0; i < 10 * BREAKER_ERRORS; i++)
		assert_false(breaker_error(&b, i * 4096, 0));
	breaker_done(&b);
}

static void cut(struct breaker *b, uint64_t offset)
{
	for (unsigned i = 0; i < BREAKER_ERRORS; i++)
		(void)breaker_error(b, offset, 0);
}

static void test_lower_cut_wins(void **state)
{
	struct breaker b;

	breaker_init(&b);
	cut(&b, 1 << 20);
	cut(&b, 4096);
	cut(&b, 8192);
	assert_true(breaker_is_cut(&b, 4096));
	assert_false(breaker_is_cut(&b, 0));
	/* Below the cut errors stay errors. */
	assert_false(breaker_error(&b, 0, 5));
	breaker_done(&b);
}

static void test_reset(void **state)
{
	struct breaker b;

	breaker_init(&b);
	assert_false(breaker_reset(&b));
	cut(&b, 4096);
	assert_true(breaker_reset(&b));
	assert_false(breaker_is_cut(&b, 4096));
	assert_false(breaker_error(&b, 4096, 0));
	assert_false(breaker_reset(&b));
	breaker_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop_is_ended),
		cmocka_unit_test(test_slow_errors_do_not_cut),
		cmocka_unit_test(test_errors_all_over_do_not_cut),
		cmocka_unit_test(test_lower_cut_wins),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
