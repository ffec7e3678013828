/*
 * Asking for a reload. Job: one ioctl on the mount's root, then reads an attribute until the
 * daemon's count shows that the reload has ended. Trusts the daemon for the outcome, not for the
 * time: a system call on a mount whose daemon hangs does not return even if the process is killed.
 * So a child makes these calls, and its parent limits the time.
 */
#include "fs/mount/reload_ask.h"

#include "crypto/base/clock.h"
#include "crypto/base/thread.h"
#include "fs/mount/mount_root.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define PAUSE_MS 20
#define ANSWER_MS 30000
#define RELOAD_MS 600000

/* From the child, twice: after the request, and at the end. */
struct message {
	bool over;
	int code;
	struct error err;
};

static int request(const struct mount_root *root, const char *at, uint32_t *ret, struct error *err)
{
	if (ioctl(root->fd, MOUNT_IOCTL_RELOAD, ret) == 0)
		return 0;
	if (errno == EPERM)
		error_hint(err, "root and the user that the daemon runs as may");
	if (errno == EAGAIN)
		return error_set(err, -EIO, "%s: the daemon cannot reload now", at);
	return error_set(err, -errno, "%s: cannot ask for a reload: %s", at, strerror(errno));
}

/* 1: over, 0: not yet. */
static int look(const struct mount_root *root, const char *at, uint32_t wanted, struct error *err)
{
	char value[MOUNT_ATTRIBUTE_MAX], *rest = value;
	int r = mount_root_attribute(root, value);
	unsigned long count;

	if (r < 0)
		return error_set(err, r, "%s: the mount is gone: %s", at, strerror(-r));
	count = strtoul(value, &rest, 10);
	if (rest == value || *rest != ' ')
		return error_set(err, -EPROTO, "%s: its answer makes no sense", at);
	/* The count of the mount is 32 bits, too. */
	if ((int32_t)((uint32_t)count - wanted) < 0)
		return 0;
	if (strcmp(rest, " ok") == 0)
		return 1;
	if (strncmp(rest, " failed ", 8) != 0)
		return error_set(err, -EPROTO, "%s: its answer makes no sense", at);
	error_hint(err, "the listing stays as it was");
	return error_set(err, -EIO, "%s: the listing could not be read: %s", at, rest + 8);
}

/* A message is shorter than PIPE_BUF, and so is written whole or not at all. */
static bool tell(int fd, const struct message *m)
{
	return write(fd, m, sizeof(*m)) == sizeof(*m);
}

static int ask(const char *at, int fd, struct error *err)
{
	_cleanup_(mount_root_clear) struct mount_root root = {.fd = -1};
	uint32_t wanted = 0;
	int r = mount_root_open(at, false, &root, err);

	if (r == -EINVAL)
		return -ENXIO; /* as when the daemon is gone: a failure, no wrong usage */
	if (r == 0)
		r = request(&root, at, &wanted, err);
	if (r == 0 && !tell(fd, &(struct message){0}))
		r = -EPIPE; /* nobody waits any more */
	if (r < 0)
		return r;
	while ((r = look(&root, at, wanted, err)) == 0)
		monotonic_pause(PAUSE_MS);
	return MIN(r, 0);
}

static _Noreturn void run_child(const char *at, int fd)
{
	struct message m = {.over = true};

	/* Whoever reads the output of the program must not wait for this process, too. */
	for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++)
		if (standard != fd)
			(void)close(standard);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	m.code = ask(at, fd, &m.err);
	_exit(tell(fd, &m) ? EXIT_CODE_OK : EXIT_CODE_FAILURE);
}

/* The next message; -ETIMEDOUT, -EPIPE. */
static int receive(int fd, uint64_t deadline, struct message *ret)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = 0;

	for (uint64_t now = monotonic_ms(); n == 0 && now < deadline; now = monotonic_ms()) {
		n = poll(&p, 1, (int)(deadline - now));
		if (n < 0 && errno == EINTR)
			n = 0;
	}
	if (n == 0)
		return -ETIMEDOUT;
	return read(fd, ret, sizeof(*ret)) == sizeof(*ret) ? 0 : -EPIPE;
}

static int wait_for_child(const char *at, int fd, struct error *err)
{
	struct message m = {0};
	int r = receive(fd, monotonic_ms() + ANSWER_MS, &m);

	if (r == -ETIMEDOUT)
		return error_set(err, r, "%s: the daemon does not answer", at);
	if (r == 0 && !m.over)
		r = receive(fd, monotonic_ms() + RELOAD_MS, &m);
	if (r == -ETIMEDOUT)
		return error_set(err, r, "%s: no new listing in %d s", at, RELOAD_MS / 1000);
	if (r < 0)
		return error_set(err, r, "%s: the process that asks has died", at);
	if (m.code < 0 && err)
		*err = m.err;
	return m.code;
}

int reload_ask(const char *mountpoint, struct error *err)
{
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		run_child(mountpoint, fds[1]);
	}
	close(fds[1]);
	r = pid < 0 ? error_no_process(err, -errno) : wait_for_child(mountpoint, fds[0], err);
	close(fds[0]);
	/* Do not wait for a child whose system call does not return: the end of this process kills
	 * it as soon as the kernel can. */
	if (pid > 0 && r != -ETIMEDOUT)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return r;
}
