/* crypto/base/allowance: what is taken is never more than there is, whoever takes it. */
#include "crypto/base/allowance.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

static void count_change(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void test_take_and_give(void **state)
{
	atomic_uint changes = 0;
	struct allowance a = {.limit = 100, .changed = count_change, .arg = &changes};

	assert_int_equal(allowance_take(&a, 60), 0);
	assert_int_equal(allowance_left(&a), 40);
	assert_int_equal(allowance_take(&a, 41), -ENOBUFS);
	assert_int_equal(allowance_take(&a, SIZE_MAX), -ENOBUFS);
	assert_int_equal(allowance_take(&a, 40), 0);
	assert_int_equal(allowance_take(&a, 1), -ENOBUFS);
	assert_int_equal(allowance_left(&a), 0);
	allowance_give(&a, 100);
	assert_int_equal(allowance_left(&a), 100);
	assert_int_equal(changes, 3);
	assert_int_equal(allowance_take(NULL, SIZE_MAX), 0);
	allowance_give(NULL, SIZE_MAX);
}

static void advise(size_t limit, void *arg, struct error *err)
{
	error_hint(err, "%zu would do", limit);
}

static void test_refusal(void **state)
{
	struct allowance a = {.limit = 1000, .used = 300, .advise = advise};
	struct error err = {0};

	assert_int_equal(allowance_refuse(&a, 2000000, &err, "%s", "it"), -ENOBUFS);
	assert_non_null(strstr(err.message, "it needs 2.0 MB of memory, and 0.0 MB are left"));
	assert_string_equal(err.hint, "2000300 would do");
}

static void *take_many(void *arg)
{
	struct allowance *a = arg;
	size_t taken = 0;

	for (unsigned i = 0; i < 100000; i++) {
		size_t n = i % 7 + 1;

		if (allowance_take(a, n) == 0)
			taken += n;
		if (atomic_load(&a->used) > a->limit)
			return a;
		if (i % 3 == 0) {
			allowance_give(a, taken);
			taken = 0;
		}
	}
	allowance_give(a, taken);
	return NULL;
}

static void test_threads(void **state)
{
	struct allowance a = {.limit = 50};
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_many, &a), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		void *wrong = &a;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	assert_int_equal(atomic_load(&a.used), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take_and_give),
		cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
