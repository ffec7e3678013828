/* fs/service/startup_wait: which failures are waited for, how long, and what is reported. */
#include "fs/service/startup_wait.h"

#include "crypto/base/clock.h"
#include "tests/unit/fs/service/listener.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static char text[4096];

struct fixture {
	int fd;
	struct notify *notify;
};

static int set_up(void **state)
{
	static struct fixture f;

	f.fd = listener_new(NULL);
	(void)unsetenv("WATCHDOG_USEC");
	*state = &f;
	return notify_new(&f.notify, NULL);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	notify_free(f->notify);
	return close(f->fd);
}

static void test_what_may_pass(void **state)
{
	static const int passing[] = {-ETIMEDOUT, -ECONNREFUSED, -ENETUNREACH, -EHOSTUNREACH,
				      -ENODEV};
	static const int lasting[] = {-EKEYREJECTED, -EACCES, -EPERM,  -EBADMSG, -EPROTO, -ESTALE,
				      -EINVAL,	     -ENOENT, -ENOKEY, -ENOMEM,	 0};

	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		assert_true(startup_failure_may_pass(passing[i]));
	for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
		assert_false(startup_failure_may_pass(lasting[i]));
}

static void test_clock(void **state)
{
	assert_false(startup_clock_is_set(0));
	assert_false(startup_clock_is_set(1735689599));
	assert_true(startup_clock_is_set(1735689600));
}

static void test_refusals_are_not_repeated(void **state)
{
	struct fixture *f = *state;
	struct startup_wait p;

	startup_wait_begin(&p, f->notify, 3600);
	assert_false(startup_wait_again(&p, -EKEYREJECTED, NULL));
	assert_false(startup_wait_again(&p, -EBADMSG, NULL));
	listener_next(f->fd, text, sizeof(text));
	assert_string_equal(text, "");
}

static void test_no_time(void **state)
{
	struct fixture *f = *state;
	struct startup_wait p;

	startup_wait_begin(&p, f->notify, 0);
	assert_false(startup_wait_again(&p, -ETIMEDOUT, NULL));
	assert_false(startup_wait_again(&p, -ENODEV, NULL));
}

static void test_waiting_is_told_and_ends(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	struct startup_wait p;
	uint64_t began = monotonic_ms();
	unsigned attempts = 0;

	error_set(&err, -ECONNREFUSED, "cannot connect to the moon");
	startup_wait_begin(&p, f->notify, 1);
	while (startup_wait_again(&p, -ECONNREFUSED, &err))
		attempts++;
	/* Pauses of 500 and (what is left of) 1000 ms; of one, if the machine was busy for long. */
	assert_in_range(attempts, 1, 2);
	assert_in_range(monotonic_ms() - began, 900, 100000);
	listener_next(f->fd, text, sizeof(text));
	assert_non_null(
		strstr(text, "STATUS=Waiting (up to 1 s more): cannot connect to the moon"));
	listener_next(f->fd, text, sizeof(text));
	assert_memory_equal(text, "EXTEND_TIMEOUT_USEC=", 20);
}

static void test_a_device_has_less_time(void **state)
{
	struct fixture *f = *state;
	struct startup_wait p;

	startup_wait_begin(&p, f->notify, 600);
	assert_in_range(p.device_end_ms, monotonic_ms() + 1000, monotonic_ms() + 20000);
	p.device_end_ms = 0;
	assert_false(startup_wait_again(&p, -ENODEV, NULL));
	assert_true(p.end_ms > monotonic_ms() + 500000);
	startup_wait_begin(&p, f->notify, 2);
	assert_true(p.device_end_ms <= p.end_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_may_pass),
		cmocka_unit_test(test_clock),
		cmocka_unit_test_setup_teardown(test_refusals_are_not_repeated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waiting_is_told_and_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_device_has_less_time, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
