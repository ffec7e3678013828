/*
 * The terminal. Job: ask for an MFA code. Uses the process's terminal and not standard input, which
 * may be a pipe with data. Must never leave the terminal without echo.
 */
#include "fs/aws/terminal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int ask(int fd, const char *what, const char *name, char ret[TERMINAL_ANSWER_MAX])
{
	struct termios before, quiet;
	cc_t interrupt;
	ssize_t n;

	if (tcgetattr(fd, &before) < 0)
		return -errno;
	interrupt = before.c_cc[VINTR];
	quiet = before;
	/* Ctrl-C ends the line instead of the process, which would leave the terminal quiet. */
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_cc[VEOL] = interrupt;
	if (tcsetattr(fd, TCSAFLUSH, &quiet) < 0)
		return -errno;
	(void)dprintf(fd, "%s %s: ", what, name);
	n = read(fd, ret, TERMINAL_ANSWER_MAX - 1);
	(void)tcsetattr(fd, TCSAFLUSH, &before);
	(void)dprintf(fd, "\n");
	if (n > 0 && memchr(ret, interrupt, (size_t)n)) {
		(void)kill(getpid(), SIGINT);
		n = 0;
	}
	while (n > 0 && isspace((unsigned char)ret[n - 1]))
		n--;
	ret[MAX(n, 0)] = '\0';
	return n > 0 ? 0 : -EINVAL;
}

int terminal_ask(const char *what, const char *name, char ret[TERMINAL_ANSWER_MAX],
		 struct error *err)
{
	_cleanup_close_ int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, -EINVAL,
				 "%s %s is needed, and there is no terminal to ask on", what, name);
	if (ask(fd, what, name, ret) < 0)
		return error_set(err, -EINVAL, "%s %s is needed, and none was given", what, name);
	return 0;
}
