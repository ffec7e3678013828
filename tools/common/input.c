/*
 * Plaintext from outside. Job: deliver exactly the bytes of the input, and detect a file
 * that changes while it is read: its digests would be those of a file that never existed. Trusts
 * the kernel's size and mtime. Must never write plaintext anywhere.
 */
#include "tools/common/input.h"

#include "crypto/base/fileio.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/common/spool.h"
#include "tools/common/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct input {
	char *label;
	int fd, cancel_fd;
	bool regular;
	struct stat before; /* regular: as opened */
	uint64_t length;
	uint64_t read; /* bytes so far */
	struct spool *spool;
	const struct input_reader *reader; /* NULL: fd */
	void *reader_ctx;
};

static int prepare(struct input *in, struct error *err)
{
	off_t at;

	if (fstat(in->fd, &in->before) < 0)
		return -errno;
	if (S_ISDIR(in->before.st_mode))
		return error_set(err, -EISDIR, "%s is a directory", in->label);
	in->regular = S_ISREG(in->before.st_mode);
	in->length = INPUT_LENGTH_UNKNOWN;
	if (in->regular) {
		at = lseek(in->fd, 0, SEEK_CUR);
		if (at < 0)
			return -errno;
		in->length = (uint64_t)(in->before.st_size - MIN(at, in->before.st_size));
		(void)posix_fadvise(in->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	}
	in->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return in->cancel_fd < 0 ? -errno : 0;
}

/* O_NONBLOCK: opening a FIFO must not wait where nothing can interrupt it; poll() waits instead. */
int input_open(const char *path, struct input **ret, struct error *err)
{
	bool standard = strcmp(path, "-") == 0;
	struct input *in = calloc(1, sizeof(*in));
	int r = -ENOMEM;

	if (!in)
		return r;
	in->fd = in->cancel_fd = -1;
	in->label = strdup(standard ? "standard input" : path);
	if (in->label) {
		in->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
				  : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		r = in->fd < 0 ? -errno : prepare(in, err);
	}
	if (r < 0) {
		r = target_cannot_read(standard ? "standard input" : path, r, err);
		input_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

/* A file in memory, so that the code for files applies. */
int input_open_bytes(const char *label, const void *data, size_t size, struct input **ret,
		     struct error *err)
{
	struct input *in = calloc(1, sizeof(*in));
	int r = -ENOMEM;

	if (!in)
		return r;
	in->cancel_fd = -1;
	in->label = strdup(label);
	in->fd = memfd_create("sealctl", MFD_CLOEXEC);
	if (in->label)
		r = in->fd < 0 ? -errno : file_write_at(in->fd, data, size, 0);
	if (r == 0)
		r = prepare(in, err);
	if (r < 0) {
		input_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

int input_open_reader(const char *label, uint64_t length, const struct input_reader *reader,
		      void *ctx, struct input **ret)
{
	struct input *in = calloc(1, sizeof(*in));

	if (!in) {
		reader->free(ctx);
		return -ENOMEM;
	}
	*in = (struct input){.fd = -1, .length = length, .reader = reader, .reader_ctx = ctx};
	in->label = strdup(label);
	in->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!in->label || in->cancel_fd < 0) {
		input_free(in);
		return -ENOMEM;
	}
	*ret = in;
	return 0;
}

void input_free(struct input *in)
{
	if (!in)
		return;
	closep(&in->fd);
	closep(&in->cancel_fd);
	spool_free(in->spool);
	if (in->reader)
		in->reader->free(in->reader_ctx);
	free(in->label);
	free(in);
}

uint64_t input_length(const struct input *in)
{
	return in->length;
}

const char *input_label(const struct input *in)
{
	return in->label;
}

int input_promise_length(struct input *in, uint64_t length, struct error *err)
{
	if (in->length != INPUT_LENGTH_UNKNOWN && in->length != length)
		return error_set(err, -EINVAL, "%s has %llu bytes, not the %llu of --length",
				 in->label, (unsigned long long)in->length,
				 (unsigned long long)length);
	in->length = length;
	return 0;
}

/* Waits until the pipe has bytes or ended; -EINTR when cancelled. */
static int wait_readable(struct input *in)
{
	struct pollfd fds[] = {{.fd = in->fd, .events = POLLIN},
			       {.fd = in->cancel_fd, .events = POLLIN}};

	while (poll(fds, ARRAY_LEN(fds), -1) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -EINTR : 0;
}

/* read(2) until full or the end. */
static int read_fd(struct input *in, uint8_t *buf, size_t size, size_t *ret)
{
	size_t got = 0;

	while (got < size) {
		int r = in->regular ? 0 : wait_readable(in);
		ssize_t n;

		if (r < 0)
			return r;
		n = read(in->fd, buf + got, size - got);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	*ret = got;
	return 0;
}

/* Reads of a spool are whole chunks in order, as the pipeline makes them. */
static int read_spool(struct input *in, uint8_t *buf, size_t size, size_t *ret, struct error *err)
{
	if (in->read % SEAL_CHUNK_SIZE != 0 || size > SEAL_CHUNK_SIZE)
		return -EINVAL;
	return spool_read(in->spool, in->read / SEAL_CHUNK_SIZE, buf, ret, err);
}

static int read_reader(struct input *in, uint8_t *buf, size_t size, size_t *ret, struct error *err)
{
	struct pollfd cancel = {.fd = in->cancel_fd, .events = POLLIN};

	if (poll(&cancel, 1, 0) > 0)
		return -EINTR;
	*ret = (size_t)MIN((uint64_t)size, in->length - in->read);
	return in->reader->read(in->reader_ctx, buf, *ret, err);
}

int input_read(struct input *in, uint8_t *buf, size_t size, size_t *ret, struct error *err)
{
	int r;

	if (in->reader)
		r = read_reader(in, buf, size, ret, err);
	else if (in->spool)
		r = read_spool(in, buf, size, ret, err);
	else
		r = read_fd(in, buf, size, ret);
	if (r < 0)
		return error_set(err, r, "cannot read %s: %s", in->label,
				 r == -EINTR ? "interrupted" : strerror(-r));
	in->read += *ret;
	return 0;
}

static int finish_stream(struct input *in, struct error *err)
{
	uint8_t more;
	size_t n;
	int r;

	if (in->read < in->length)
		return error_set(err, -ENODATA, "%s ended after %llu bytes of the %llu promised",
				 in->label, (unsigned long long)in->read,
				 (unsigned long long)in->length);
	if (in->spool)
		return 0;
	r = input_read(in, &more, 1, &n, err);
	if (r < 0)
		return r;
	return n == 0 ? 0
		      : error_set(err, -EOVERFLOW, "%s is longer than the %llu bytes promised",
				  in->label, (unsigned long long)in->length);
}

int input_finish(struct input *in, struct error *err)
{
	struct stat now;

	if (in->reader)
		return in->reader->finish(in->reader_ctx, err);
	if (!in->regular)
		return finish_stream(in, err);
	if (fstat(in->fd, &now) < 0)
		return error_set(err, -errno, "cannot look at %s: %s", in->label, strerror(errno));
	if (now.st_size == in->before.st_size && in->read == in->length &&
	    now.st_mtim.tv_sec == in->before.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == in->before.st_mtim.tv_nsec)
		return 0;
	error_set(err, -ETXTBSY, "%s changed while it was read", in->label);
	error_hint(err, "wait until nothing writes to it, and start again");
	return -ETXTBSY;
}

int input_spool(struct input *in, struct progress *progress, struct error *err)
{
	_cleanup_free_ uint8_t *buf = malloc(SEAL_CHUNK_SIZE);
	size_t n = 0;
	int r;

	if (!buf)
		return -ENOMEM;
	r = spool_new(&in->spool, err);
	if (r < 0)
		return r;
	while (r == 0) {
		r = read_fd(in, buf, SEAL_CHUNK_SIZE, &n);
		if (r < 0) {
			error_set(err, r, "cannot read %s: %s", in->label,
				  r == -EINTR ? "interrupted" : strerror(-r));
			break;
		}
		if (n == 0)
			break;
		r = spool_append(in->spool, buf, n, err);
		progress_add(progress, n);
		if (n < SEAL_CHUNK_SIZE)
			break;
		if (spool_length(in->spool) > SEAL_LENGTH_MAX)
			r = error_set(err, -EFBIG, "%s is longer than 16 TiB", in->label);
	}
	in->length = spool_length(in->spool);
	return r;
}

void input_cancel(struct input *in)
{
	uint64_t one = 1;

	if (write(in->cancel_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}
