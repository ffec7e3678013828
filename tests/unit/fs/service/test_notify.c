/* fs/service/notify: what the service manager hears, and which environments make no sense. */
#include "fs/service/notify.h"

#include "tests/unit/fs/service/listener.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static char text[4096];

static struct notify *start(const char *watchdog_usec, const char *watchdog_pid)
{
	struct notify *n = NULL;

	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	if (watchdog_usec)
		(void)setenv("WATCHDOG_USEC", watchdog_usec, 1);
	if (watchdog_pid)
		(void)setenv("WATCHDOG_PID", watchdog_pid, 1);
	assert_int_equal(notify_new(&n, NULL), 0);
	return n;
}

static void test_messages(void **state)
{
	_cleanup_close_ int fd = listener_new(NULL);
	_cleanup_(notify_freep) struct notify *n = start(NULL, NULL);

	assert_true(notify_is_heard(n));
	assert_int_equal(notify_watchdog_ms(n), 0);
	notify_ready(n);
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "READY=1");
	notify_status(n, "Serving %d models", 3);
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "STATUS=Serving 3 models");
	notify_extend(n, 90000);
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "EXTEND_TIMEOUT_USEC=90000000");
	notify_alive(n);
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "WATCHDOG=1");
	notify_reloading(n);
	listener_next(fd, text, sizeof(text));
	assert_memory_equal(text, "RELOADING=1\nMONOTONIC_USEC=", 27);
	notify_stopping(n);
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "STOPPING=1");
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "");
}

static void test_status_is_one_line(void **state)
{
	_cleanup_close_ int fd = listener_new(NULL);
	_cleanup_(notify_freep) struct notify *n = start(NULL, NULL);
	char longer[5000];

	/* A server's words must not become READY=1. */
	notify_status(n, "%s", "no\nREADY=1\r\t\x7f");
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "STATUS=no\\x0aREADY=1\\x0d\\x09\\x7f");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	notify_status(n, "%s", longer);
	listener_next(fd, text, sizeof(text));
	assert_in_range(strlen(text), 1000, 2047);
}

static void test_socket_with_a_path(void **state)
{
	char dir[] = "/tmp/sealedfs-notify.XXXXXX", path[64];
	_cleanup_(notify_freep) struct notify *n = NULL;
	_cleanup_close_ int fd = -1;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/socket", dir);
	fd = listener_new(path);
	n = start(NULL, NULL);
	notify_ready(n);
	listener_next(fd, text, sizeof(text));
	assert_string_equal(text, "READY=1");
	/* The manager is gone: nothing happens. */
	assert_int_equal(unlink(path), 0);
	notify_ready(n);
	assert_int_equal(rmdir(dir), 0);
}

static void test_environment_is_taken(void **state)
{
	_cleanup_close_ _unused_ int fd = listener_new(NULL);
	_cleanup_(notify_freep) struct notify *n = start("60000000", NULL);

	assert_int_equal(notify_watchdog_ms(n), 60000);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	assert_null(getenv("WATCHDOG_PID"));
}

static void test_watchdog(void **state)
{
	char self[24];
	static const struct {
		const char *usec, *pid;
		unsigned ms;
	} cases[] = {
		{"3000000", NULL, 3000},
		{"1", NULL, 1}, /* rounded to what can be kept */
		{"99999999999999999", NULL, UINT32_MAX},
		{"3000000", "1", 0}, /* another process's */
		{"3000000", "self", 3000},
		{"3000000", "12x", 0},
		{NULL, NULL, 0},
	};

	(void)snprintf(self, sizeof(self), "%d", (int)getpid());
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *pid = cases[i].pid;
		_cleanup_close_ _unused_ int fd = listener_new(NULL);
		_cleanup_(notify_freep) struct notify *n =
			start(cases[i].usec, pid && strcmp(pid, "self") == 0 ? self : pid);

		assert_int_equal(notify_watchdog_ms(n), cases[i].ms);
	}
}

static void test_nobody_listens(void **state)
{
	_cleanup_(notify_freep) struct notify *n = NULL;

	(void)unsetenv("NOTIFY_SOCKET");
	/* Without a socket there is nobody to keep awake, whatever else is set. */
	n = start("1000000", NULL);
	assert_false(notify_is_heard(n));
	assert_int_equal(notify_watchdog_ms(n), 0);
	notify_ready(n);
	notify_status(n, "%s", "unheard");
	notify_alive(n);
}

static void test_refused(void **state)
{
	static const char *const sockets[] = {"relative", "@", "/", "vsock:2:1"};
	static const char *const usecs[] = {"0", "-5", "1s", " 1", "99999999999999999999999"};
	struct notify *n = NULL;
	char longer[200];

	(void)unsetenv("WATCHDOG_PID");
	(void)unsetenv("WATCHDOG_USEC");
	for (size_t i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++) {
		(void)setenv("NOTIFY_SOCKET", sockets[i], 1);
		assert_int_equal(notify_new(&n, NULL), -EINVAL);
	}
	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	(void)setenv("NOTIFY_SOCKET", longer, 1);
	assert_int_equal(notify_new(&n, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(usecs) / sizeof(usecs[0]); i++) {
		_cleanup_close_ _unused_ int fd = listener_new(NULL);

		(void)setenv("WATCHDOG_USEC", usecs[i], 1);
		assert_int_equal(notify_new(&n, NULL), -EINVAL);
	}
	assert_null(n);
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_status_is_one_line),
		cmocka_unit_test(test_socket_with_a_path),
		cmocka_unit_test(test_environment_is_taken),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
