/* fs/breaker: a populate loop is ended, an ordinary failing reader is not. */
#include "fs/breaker.h"

#include "tests/unit/base/test.h"

#include <errno.h>

/* As ops.c does: asks, answers, and says so. */
static bool is_cut(struct breaker *b, uint64_t offset)
{
	bool cut = breaker_is_cut(b, offset);

	if (cut)
		breaker_answered(b);
	return cut;
}

static bool fails(struct breaker *b, uint64_t offset, uint64_t now_ms)
{
	bool cut = breaker_error(b, offset, now_ms);

	if (cut)
		breaker_answered(b);
	return cut;
}

static void test_loop_is_ended(void **state)
{
	struct breaker b;

	breaker_init(&b);
	for (unsigned i = 1; i < BREAKER_ERRORS; i++) {
		assert_false(fails(&b, 8192, 100));
		assert_false(is_cut(&b, 8192));
	}
	assert_true(breaker_size(&b) == UINT64_MAX);
	assert_true(fails(&b, 8192, 100 + BREAKER_WINDOW_MS));
	assert_true(is_cut(&b, 8192));
	assert_true(is_cut(&b, 1 << 20));
	assert_false(is_cut(&b, 8191));
	assert_int_equal(breaker_size(&b), 8192);
	breaker_done(&b);
}

/* A push that is under way must not find the file cut, and none begins while a cut is near. */
static void test_pushes_and_cuts(void **state)
{
	struct breaker b;

	breaker_init(&b);
	assert_true(breaker_push_begin(&b));
	for (unsigned i = 0; i < 2 * BREAKER_ERRORS; i++)
		assert_false(fails(&b, 8192, 100));
	assert_false(breaker_push_begin(&b));
	breaker_push_end(&b);
	assert_true(fails(&b, 8192, 100));
	assert_false(breaker_push_begin(&b));
	breaker_mend_begin(&b);
	/* The pages of zeros are still there. */
	assert_false(breaker_push_begin(&b));
	breaker_mend_end(&b);
	assert_true(breaker_push_begin(&b));
	breaker_push_end(&b);
	breaker_done(&b);
}

static void test_slow_errors_do_not_cut(void **state)
{
	struct breaker b;

	breaker_init(&b);
	for (uint64_t i = 0; i < 10 * BREAKER_ERRORS; i++)
		assert_false(fails(&b, 0, 2 * i));
	breaker_done(&b);
}

static void test_errors_all_over_do_not_cut(void **state)
{
	struct breaker b;

	breaker_init(&b);
	for (uint64_t i = 0; i < 10 * BREAKER_ERRORS; i++)
		assert_false(fails(&b, i * 4096, 0));
	breaker_done(&b);
}

static void cut(struct breaker *b, uint64_t offset)
{
	for (unsigned i = 0; i < BREAKER_ERRORS; i++)
		(void)fails(b, offset, 0);
}

static void test_lower_cut_wins(void **state)
{
	struct breaker b;

	breaker_init(&b);
	cut(&b, 1 << 20);
	cut(&b, 4096);
	cut(&b, 8192);
	assert_true(is_cut(&b, 4096));
	assert_false(is_cut(&b, 0));
	assert_int_equal(breaker_size(&b), 4096);
	/* Below the cut errors stay errors. */
	assert_false(fails(&b, 0, 5));
	breaker_done(&b);
}

/* Half a page of zeros must not be left behind. */
static void test_cut_is_at_a_page(void **state)
{
	struct breaker b;

	breaker_init(&b);
	cut(&b, 8192 + 17);
	assert_int_equal(breaker_size(&b), 8192);
	assert_true(is_cut(&b, 8192));
	breaker_done(&b);
}

/* The size stays short until the pages behind the cut are gone. */
static void test_mending(void **state)
{
	struct breaker b;

	breaker_init(&b);
	cut(&b, 4096);
	breaker_mend_begin(&b);
	assert_false(is_cut(&b, 4096));
	assert_int_equal(breaker_size(&b), 4096);
	breaker_mend_end(&b);
	assert_true(breaker_size(&b) == UINT64_MAX);
	assert_false(fails(&b, 4096, 0));
	breaker_done(&b);
}

static void test_cut_again_while_mending(void **state)
{
	struct breaker b;

	breaker_init(&b);
	cut(&b, 4096);
	breaker_mend_begin(&b);
	cut(&b, 1 << 20);
	breaker_mend_end(&b);
	/* Between 4096 and 1 MiB nothing is known to be zeros, but short is safe. */
	assert_int_equal(breaker_size(&b), 4096);
	assert_true(is_cut(&b, 1 << 20));
	breaker_mend_begin(&b);
	breaker_mend_end(&b);
	assert_true(breaker_size(&b) == UINT64_MAX);
	breaker_done(&b);
}

static void *mend(void *arg)
{
	breaker_mend_begin(arg);
	return NULL;
}

static void test_mending_waits_for_answers(void **state)
{
	struct breaker b;
	pthread_t thread;

	breaker_init(&b);
	cut(&b, 4096);
	assert_true(breaker_is_cut(&b, 4096));
	assert_int_equal(pthread_create(&thread, NULL, mend, &b), 0);
	/* No new end of file once it has begun, and it is not through before the old one. */
	while (breaker_is_cut(&b, 8192))
		breaker_answered(&b);
	assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
	breaker_answered(&b);
	assert_int_equal(pthread_join(thread, NULL), 0);
	breaker_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop_is_ended),
		cmocka_unit_test(test_pushes_and_cuts),
		cmocka_unit_test(test_slow_errors_do_not_cut),
		cmocka_unit_test(test_errors_all_over_do_not_cut),
		cmocka_unit_test(test_lower_cut_wins),
		cmocka_unit_test(test_cut_is_at_a_page),
		cmocka_unit_test(test_mending),
		cmocka_unit_test(test_cut_again_while_mending),
		cmocka_unit_test(test_mending_waits_for_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
