/*
 * Where plaintext may go. Job: refuse what keeps it, and write without waiting in a call that
 * Ctrl-C cannot end. Trusts the kernel for what a descriptor is. Must never write to a terminal or
 * to a file on a disk.
 */
#include "tools/cat/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6
#endif

static int refuse(struct error *err, const char *what)
{
	error_hint(err, "give a pipe, or a program: sealctl cat OBJECT -- PROGRAM {}");
	return error_set(err, -EINVAL, "standard output is %s: plaintext is not written there",
			 what);
}

static bool is_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
					 fs.f_type == HUGETLBFS_MAGIC);
}

/* Only kinds that are known to keep nothing. */
static int judge(int fd, mode_t *ret, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "standard output: %s", strerror(errno));
	*ret = st.st_mode & S_IFMT;
	switch (*ret) {
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	case S_IFREG:
		return is_in_memory(fd) ? 0 : refuse(err, "a file on a disk");
	case S_IFCHR:
		if (isatty(fd))
			return refuse(err, "a terminal");
		return st.st_rdev == makedev(1, 3) ? 0 : refuse(err, "a device");
	default:
		return refuse(err, "no pipe");
	}
}

static int open_sink(int fd, bool own, const char *label, struct sink *ret, struct error *err)
{
	*ret = (struct sink){.fd = fd, .own = own, .label = label};
	ret->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ret->cancel_fd >= 0)
		return 0;
	sink_close(ret);
	return error_set(err, -EMFILE, "%s: no more files can be opened", label);
}

int sink_open_standard(struct sink *ret, struct error *err)
{
	mode_t kind;
	int r = judge(STDOUT_FILENO, &kind, err), fd = -1;

	if (r < 0)
		return r;
	/* A description of our own, because others share this one and may not expect it to be
	 * non-blocking. */
	if (kind == S_IFIFO)
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	r = open_sink(fd >= 0 ? fd : STDOUT_FILENO, fd >= 0, "standard output", ret, err);
	ret->socket = kind == S_IFSOCK;
	return r;
}

int sink_open_memory(int fd, struct sink *ret, struct error *err)
{
	return open_sink(fd, true, "the memory for the model", ret, err);
}

static int wait_writable(struct sink *s)
{
	struct pollfd fds[] = {{.fd = s->fd, .events = POLLOUT},
			       {.fd = s->cancel_fd, .events = POLLIN}};

	while (poll(fds, ARRAY_LEN(fds), -1) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[1].revents ? -EINTR : 0;
}

int sink_write(struct sink *s, const uint8_t *data, size_t size, struct error *err)
{
	int r = 0;

	while (r == 0 && size > 0) {
		ssize_t n;

		r = wait_writable(s);
		if (r < 0)
			break;
		n = s->socket ? send(s->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
			      : write(s->fd, data, size);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			r = -errno;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	if (r == -EPIPE)
		error_hint(err, "its reader has ended");
	return r < 0 ? error_set(err, r, "cannot write to %s: %s", s->label,
				 r == -EINTR ? "interrupted" : strerror(-r))
		     : 0;
}

void sink_cancel(struct sink *s)
{
	uint64_t one = 1;

	if (write(s->cancel_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		abort();
}

void sink_close(struct sink *s)
{
	if (s->own)
		closep(&s->fd);
	closep(&s->cancel_fd);
}
