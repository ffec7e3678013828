/*
 * Whole reads and writes. Job: the loop around read(2) and write(2) and their like, once. Knows
 * nothing of what the bytes mean.
 */
#include "crypto/base/fileio.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_PAUSE_MS 10

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

int file_load(int fd, size_t max, uint8_t **ret, size_t *ret_size)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	bytes = malloc((size_t)st.st_size + 1);
	n = bytes ? file_read_at(fd, bytes, (size_t)st.st_size, 0) : -ENOMEM;
	if (n < 0)
		return (int)n;
	*ret = steal_ptr(bytes);
	*ret_size = (size_t)n;
	return 0;
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

int file_lock(int fd, bool shared, unsigned wait_ms)
{
	uint64_t end_ms = monotonic_ms() + wait_ms;

	while (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (monotonic_ms() >= end_ms)
			return -ETIMEDOUT;
		monotonic_pause(LOCK_PAUSE_MS);
	}
	return 0;
}

int file_open_standard(void)
{
	/* Each is open, but not usable for its purpose; messages are discarded. */
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};

	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free number is this one. */
		if (open("/dev/null", modes[fd]) != fd)
			return errno ? -errno : -EIO;
	}
	return 0;
}
