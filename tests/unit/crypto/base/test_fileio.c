/* fileio.h: short calls go on, the end of the file is told apart from an error. */
#include "crypto/base/fileio.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 300000 /* more than a pipe holds, so that calls are short */

static uint8_t pattern[SIZE];

static void make_pattern(void)
{
	for (size_t i = 0; i < SIZE; i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
}

static void *write_it(void *arg)
{
	int *fd = arg;
	int r = file_write(*fd, pattern, SIZE);

	close(*fd);
	return (void *)(intptr_t)r;
}

static void test_short_calls_go_on(void **state)
{
	static uint8_t got[SIZE + 1];
	pthread_t writer;
	void *written = &writer;
	int ends[2];

	make_pattern();
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_it, &ends[1]), 0);
	assert_int_equal(file_read(ends[0], got, sizeof(got)), SIZE);
	pthread_join(writer, &written);
	assert_null(written);
	assert_memory_equal(got, pattern, SIZE);
	close(ends[0]);
}

static void test_places_and_the_end(void **state)
{
	_cleanup_close_ int fd = memfd_create("fileio", MFD_CLOEXEC);
	uint8_t got[64] = {0};

	make_pattern();
	assert_int_equal(file_write_at(fd, pattern, 100, 1000), 0);
	assert_int_equal(file_read_at(fd, got, sizeof(got), 1000), 64);
	assert_memory_equal(got, pattern, 64);
	assert_int_equal(file_read_at(fd, got, sizeof(got), 1090), 10);
	assert_memory_equal(got, pattern + 90, 10);
	assert_int_equal(file_read_at(fd, got, sizeof(got), 1100), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	assert_int_equal(file_write_at(fd, pattern, 0, 0), 0);
}

static void test_errors(void **state)
{
	_cleanup_close_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	uint8_t byte = 0;

	assert_int_equal(file_read(-1, &byte, 1), -EBADF);
	assert_int_equal(file_read_at(-1, &byte, 1, 0), -EBADF);
	assert_int_equal(file_write(null, &byte, 1), -EBADF);
	assert_int_equal(file_write_at(null, &byte, 1, 0), -EBADF);
	assert_int_equal(file_write(full, &byte, 1), -ENOSPC);
}

static void test_load(void **state)
{
	_cleanup_close_ int fd = memfd_create("fileio", MFD_CLOEXEC);
	_cleanup_free_ uint8_t *all = NULL, *empty = NULL;
	size_t size = 7;
	int ends[2];

	make_pattern();
	assert_int_equal(file_load(fd, 0, &empty, &size), 0);
	assert_int_equal(size, 0);
	assert_non_null(empty);
	assert_int_equal(file_write(fd, pattern, 1000), 0);
	assert_int_equal(file_load(fd, 999, &all, &size), -EFBIG);
	assert_int_equal(file_load(fd, 1000, &all, &size), 0);
	assert_int_equal(size, 1000);
	assert_memory_equal(all, pattern, 1000);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(file_load(ends[0], 1000, &all, &size), -EINVAL);
	close(ends[0]);
	close(ends[1]);
}

static void test_lock(void **state)
{
	char path[] = "/tmp/sealedfs-fileio.XXXXXX";
	_cleanup_close_ int first = mkstemp(path), second = open(path, O_RDWR | O_CLOEXEC);

	unlink(path);
	assert_int_equal(file_lock(first, true, 0), 0);
	assert_int_equal(file_lock(second, true, 0), 0);
	assert_int_equal(file_lock(second, false, 1), -ETIMEDOUT);
	close(first);
	first = -1;
	assert_int_equal(file_lock(second, false, 0), 0);
	assert_int_equal(file_lock(-1, false, 0), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_calls_go_on),
		cmocka_unit_test(test_places_and_the_end),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
