/* attest/event_log_copy: copies of logs, whoever is writing them. */
#include "attest/event_log.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static char path[64];

static int setup(void **state)
{
	char dir[] = "/tmp/sealedfs-copy.XXXXXX";

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/log", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)unlink(path);
	*strrchr(path, '/') = '\0';
	return rmdir(path);
}

static void store(const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void copies(void **state)
{
	_cleanup_free_ uint8_t *bytes = NULL, *empty = NULL;
	struct error err = {0};
	size_t size = 0;

	assert_int_equal(event_log_copy(path, &bytes, &size, &err), -ENOENT);
	assert_int_equal(err.code, 0);
	store("");
	assert_int_equal(event_log_copy(path, &empty, &size, NULL), 0);
	assert_non_null(empty);
	assert_int_equal(size, 0);
	store("record");
	assert_int_equal(event_log_copy(path, &bytes, &size, NULL), 0);
	assert_int_equal(size, 6);
	assert_memory_equal(bytes, "record", 6);
}

static void what_is_no_log(void **state)
{
	struct error err = {0};
	uint8_t *bytes = NULL;
	size_t size = 0;

	assert_int_equal(event_log_copy("/tmp", &bytes, &size, &err), -EINVAL);
	assert_non_null(strstr(err.message, "/tmp"));
	store("");
	assert_int_equal(truncate(path, (off_t)EVENT_LOG_SIZE_MAX + 1), 0);
	assert_int_equal(event_log_copy(path, &bytes, &size, NULL), -EFBIG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	assert_int_equal(event_log_copy(path, &bytes, &size, NULL), -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(event_log_copy(path, &bytes, &size, NULL), -EINVAL);
	assert_null(bytes);
}

/* Two readers at once, and none beside a writer. */
static void locks(void **state)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct error err = {0};
	size_t size = 0;

	store("x");
	fd = open(path, O_RDONLY);
	assert_int_equal(flock(fd, LOCK_SH), 0);
	assert_int_equal(event_log_copy(path, &bytes, &size, NULL), 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(event_log_copy(path, &bytes, &size, &err), -ETIMEDOUT);
	assert_non_null(strstr(err.message, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copies, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_log, setup, teardown),
		cmocka_unit_test_setup_teardown(locks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
