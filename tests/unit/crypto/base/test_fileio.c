/* fileio.h: short calls go on, the end of the file is told apart from an error. */
#include "crypto/base/fileio.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_calls_go_on),
		cmocka_unit_test(test_places_and_the_end),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
