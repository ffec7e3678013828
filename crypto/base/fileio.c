/*
 * Whole reads and writes. Job: the loop around read(2) and write(2) and their like, once. Knows
 * nothing of what the bytes mean.
 */
#include "crypto/base/fileio.h"

#include <errno.h>
#include <stdbool.h>
#include <unistd.h>

/* True: the call failed for good. */
static bool is_final(ssize_t n)
{
	return n < 0 && errno != EINTR;
}

ssize_t file_read(int fd, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, (uint8_t *)buf + done, size - done);

		if (is_final(n))
			return -errno;
		if (n == 0)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)done;
}

ssize_t file_read_at(int fd, void *buf, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (uint8_t *)buf + done, size - done, (off_t)(offset + done));

		if (is_final(n))
			return -errno;
		if (n == 0)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)done;
}

int file_write(int fd, const void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = write(fd, (const uint8_t *)data + done, size - done);

		if (is_final(n))
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int file_write_at(int fd, const void *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, (const uint8_t *)data + done, size - done,
				   (off_t)(offset + done));

		if (is_final(n))
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
