/*
 * Parent and child. Job: pass the exit code of the start through a pipe, as one byte. Trusts the
 * child; if it ends without an answer, the start has failed.
 */
#include "fs/service/launch.h"

#include "crypto/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

static _Noreturn void wait_for_child(int fd)
{
	uint8_t code = EXIT_CODE_FAILURE;
	ssize_t n;

	do
		n = read(fd, &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(code))
		fprintf(stderr, "sealedfs: the background process ended unexpectedly\n");
	_exit(code);
}

int launch_start(struct launch *l, bool foreground, struct error *err)
{
	int fds[2];
	pid_t pid;

	l->report_fd = -1;
	if (foreground)
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		close(fds[0]);
		close(fds[1]);
		return error_no_process(err, r);
	}
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(fds[0]);
	}
	close(fds[0]);
	l->report_fd = fds[1];
	return 0;
}

static int report(struct launch *l, enum exit_code code)
{
	uint8_t byte = (uint8_t)code;
	int fd = steal_fd(&l->report_fd), r = 0;

	if (write(fd, &byte, sizeof(byte)) != sizeof(byte))
		r = -EPIPE;
	close(fd);
	return r;
}

int launch_ready(struct launch *l)
{
	_cleanup_close_ int null = -1;

	if (l->report_fd < 0)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || chdir("/") < 0 || setsid() < 0)
		return -errno;
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	return report(l, EXIT_CODE_OK);
}

void launch_failed(struct launch *l, enum exit_code code)
{
	if (l->report_fd >= 0)
		(void)report(l, code);
}
