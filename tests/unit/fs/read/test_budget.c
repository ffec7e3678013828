/* fs/read/budget: how the memory is divided. */
#include "crypto/format.h"
#include "fs/read/budget.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <string.h>

static void test_limit_bounds(void **state)
{
	assert_in_range(budget_limit(0), BUDGET_MIN, BUDGET_DEFAULT);
	assert_int_equal(budget_limit(1), BUDGET_MIN);
	assert_true(budget_limit(SIZE_MAX / 2) < SIZE_MAX / 8);
}

/* All parts together are what was given, whatever that is, and something works with each. */
static void test_parts(void **state)
{
	for (size_t mib = 32; mib < 4096; mib += mib < 300 ? 1 : 37)
		for (int staged = 0; staged < 2; staged++) {
			struct budget b;
			size_t sum;

			budget_divide_total(mib << 20, staged, &b);
			sum = b.stage + b.extents * SEAL_EXTENT_SIZE + b.chunks * SEAL_CHUNK_SIZE;
			assert_in_range(sum, (mib << 20) - SEAL_CHUNK_SIZE + 1, mib << 20);
			assert_true(b.extents >= 2 && b.chunks >= 16);
			assert_int_equal(b.stage > 0, staged);
			assert_in_range(b.kept, 1, (b.chunks - 12) * SEAL_CHUNK_SIZE);
		}
}

/* The memory= that the advice names is enough, and a little less is not. */
static void test_advice(void **state)
{
	static const size_t wanted[] = {1 << 20, 30 << 20, 100 << 20, (size_t)3 << 30};

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		struct error err = {0};
		struct budget now, then;
		const char *number;
		size_t mib;

		budget_divide_total(BUDGET_MIN, false, &now);
		budget_advise(now.kept + wanted[i], &now, &err);
		number = strstr(err.hint, "memory=");
		assert_non_null(number);
		mib = strtoul(number + strlen("memory="), NULL, 10);
		budget_divide_total(mib << 20, false, &then);
		assert_true(then.kept >= now.kept + wanted[i]);
		budget_divide_total((mib << 20) / 8 * 7, false, &then);
		assert_true(then.kept < now.kept + wanted[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit_bounds),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
