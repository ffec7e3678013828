/* crypto/base/error: the first error wins, context goes in front, exit codes are frozen. */
#include "crypto/base/error.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static void first_error_wins(void **state)
{
	struct error err = {0};

	assert_int_equal(error_set(&err, -EBADMSG, "chunk %d", 7), -EBADMSG);
	assert_int_equal(error_set(&err, -EIO, "later"), -EIO);
	assert_int_equal(err.code, -EBADMSG);
	assert_string_equal(err.message, "chunk 7");
	assert_int_equal(error_prefix(&err, -EIO, "x.seal"), -EBADMSG);
	assert_string_equal(err.message, "x.seal: chunk 7");
	error_hint(&err, "fetch it again");
	error_hint(&err, "no");
	assert_string_equal(err.hint, "fetch it again");
	error_clear(&err);
	assert_int_equal(err.code, 0);
}

static void works_without_an_object(void **state)
{
	struct error err = {0};

	assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(error_prefix(NULL, -EIO, "x"), -EIO);
	assert_string_equal(error_text(NULL, -ENOENT), strerror(ENOENT));
	assert_int_equal(error_prefix(&err, -ENOENT, "a"), -ENOENT);
	assert_string_equal(err.message, "a: No such file or directory");
}

/* errno may be 0 or forgotten where a failure is reported: it must not come back as success. */
static void failure_is_never_zero(void **state)
{
	struct error err = {0}, other = {0};

	assert_int_equal(error_set(NULL, 0, "x"), -EIO);
	assert_int_equal(error_set(&err, 0, "x"), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_int_equal(error_prefix(&other, ENOENT, "x"), -EIO);
	assert_int_equal(other.code, -EIO);
}

static void exit_codes_are_frozen(void **state)
{
	assert_int_equal(error_exit_code(0), 0);
	assert_int_equal(error_exit_code(-EIO), 1);
	assert_int_equal(error_exit_code(-EINVAL), 2);
	assert_int_equal(error_exit_code(-EBADMSG), 3);
	assert_int_equal(error_exit_code(-EPROTO), 3);
	assert_int_equal(error_exit_code(-EKEYREJECTED), 4);
	assert_int_equal(error_exit_code(-ENOKEY), 4);
	assert_int_equal(error_exit_code(-ETIMEDOUT), 5);
	assert_int_equal(error_exit_code(-EHOSTUNREACH), 5);
	assert_int_equal(error_exit_code(-EREMOTEIO), 5);
	assert_int_equal(error_exit_code(-ENODEV), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_error_wins),
		cmocka_unit_test(works_without_an_object),
		cmocka_unit_test(failure_is_never_zero),
		cmocka_unit_test(exit_codes_are_frozen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
