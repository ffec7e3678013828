/*
 * The service manager's socket. Job: one datagram a message, sent or forgotten: a manager that does
 * not listen must not keep a mount from working. Trusts the environment that the manager made.
 */
#include "fs/notify.h"

#include "crypto/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define MESSAGE_MAX 2048
#define USEC_PER_MSEC 1000

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un address;
	socklen_t address_size;
	unsigned watchdog_ms;
};

static int parse_number(const char *text, unsigned long long *ret)
{
	char *end = NULL;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || *end ? -EINVAL : 0;
}

static int take_socket(struct notify *n, const char *path, struct error *err)
{
	size_t length = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || length < 2 ||
	    length >= sizeof(n->address.sun_path))
		return error_set(err, -EINVAL,
				 "NOTIFY_SOCKET=%.200s: neither a path nor an abstract name", path);
	n->address.sun_family = AF_UNIX;
	memcpy(n->address.sun_path, path, length);
	n->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (path[0] == '@')
		n->address.sun_path[0] = '\0';
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return n->fd < 0 ? error_set(err, -errno, "cannot make a socket: %s", strerror(errno)) : 0;
}

static int take_watchdog(struct notify *n, const char *usec, const char *pid, struct error *err)
{
	unsigned long long value;

	if (pid && (parse_number(pid, &value) < 0 || value != (unsigned long long)getpid()))
		return 0; /* meant for another process */
	if (parse_number(usec, &value) < 0 || value == 0)
		return error_set(err, -EINVAL, "WATCHDOG_USEC=%.40s: not a time", usec);
	value /= USEC_PER_MSEC;
	n->watchdog_ms = value > UINT32_MAX ? UINT32_MAX : (unsigned)MAX(value, 1ULL);
	return 0;
}

int notify_new(struct notify **ret, struct error *err)
{
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
	_cleanup_(notify_freep) struct notify *n = calloc(1, sizeof(*n));
	int r = 0;

	if (!n)
		return -ENOMEM;
	n->fd = -1;
	if (path && *path)
		r = take_socket(n, path, err);
	if (r == 0 && n->fd >= 0 && usec && *usec)
		r = take_watchdog(n, usec, getenv("WATCHDOG_PID"), err);
	if (r < 0)
		return r;
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	*ret = steal_ptr(n);
	return 0;
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	if (n->fd >= 0)
		close(n->fd);
	free(n);
}

bool notify_is_heard(const struct notify *n)
{
	return n->fd >= 0;
}

unsigned notify_watchdog_ms(const struct notify *n)
{
	return n->watchdog_ms;
}

static void send_message(struct notify *n, const char *text)
{
	ssize_t sent;

	if (n->fd < 0)
		return;
	do
		sent = sendto(n->fd, text, strlen(text), MSG_NOSIGNAL,
			      (const struct sockaddr *)&n->address, n->address_size);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		log_debug("cannot tell the service manager \"%s\": %s", text, strerror(errno));
}

void notify_status(struct notify *n, const char *fmt, ...)
{
	static const char name[] = "STATUS=";
	char text[MESSAGE_MAX];
	va_list ap;

	memcpy(text, name, sizeof(name));
	va_start(ap, fmt);
	(void)vsnprintf(text + sizeof(name) - 1, sizeof(text) - sizeof(name) + 1, fmt, ap);
	va_end(ap);
	/* A line end would begin another variable. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	send_message(n, text);
}

void notify_ready(struct notify *n)
{
	send_message(n, "READY=1");
}

void notify_reloading(struct notify *n)
{
	char text[80] = "RELOADING=1";
	struct timespec now;

	/* The time is what Type=notify-reload wants to see (systemd 253 and later). */
	if (clock_gettime(CLOCK_MONOTONIC, &now) == 0)
		(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
			       (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	send_message(n, text);
}

void notify_stopping(struct notify *n)
{
	send_message(n, "STOPPING=1");
}

void notify_extend(struct notify *n, unsigned ms)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%llu",
		       (unsigned long long)ms * USEC_PER_MSEC);
	send_message(n, text);
}

void notify_alive(struct notify *n)
{
	send_message(n, "WATCHDOG=1");
}
