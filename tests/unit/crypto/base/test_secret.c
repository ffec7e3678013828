/* crypto/base/secret: sizes, contents, comparison. */
#include "crypto/base/secret.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static void holds_what_it_was_given(void **state)
{
	_cleanup_secret_ struct secret *s = NULL;

	assert_int_equal(secret_new_from("0123456789abcdef", 16, &s), 0);
	assert_int_equal(secret_size(s), 16);
	assert_memory_equal(secret_data(s), "0123456789abcdef", 16);
	wipe(secret_bytes(s), 16);
	assert_int_equal(secret_data(s)[0], 0);
}

static void sizes_are_bounded(void **state)
{
	struct secret *s = NULL;

	assert_int_equal(secret_new(0, &s), -EINVAL);
	assert_int_equal(secret_new(SECRET_SIZE_MAX + 1, &s), -EINVAL);
	assert_null(s);
	secret_free(NULL);
}

static void random_differs(void **state)
{
	_cleanup_secret_ struct secret *a = NULL;
	_cleanup_secret_ struct secret *b = NULL;

	assert_int_equal(secret_new_random(32, &a), 0);
	assert_int_equal(secret_new_random(32, &b), 0);
	assert_false(secret_equal(secret_data(a), secret_data(b), 32));
	assert_true(secret_equal(secret_data(a), secret_data(a), 32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_what_it_was_given),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(random_differs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
