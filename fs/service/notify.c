/*
 * The service manager's socket. Job: send each message once and ignore errors, because a manager
 * that does not read must not stop a mount; rate-limit the status line. Trusts the environment that
 * the manager made.
 */
#include "fs/service/notify.h"

#include "crypto/base/clock.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/base/printable.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

/* systemd reads at most 4096 bytes of a message. */
#define STATUS_MAX 1010
#define TROUBLE_MAX 768
#define DOING_WITH_TROUBLE_MAX 400
/* How long trouble is shown after it was last reported. */
#define TROUBLE_MS 15000
#define TROUBLE_PAUSE_MS 1000
#define USEC_PER_MSEC 1000

struct notify {
	int fd; /* -1: there is no service manager */
	struct sockaddr_un address;
	socklen_t address_size;
	unsigned watchdog_ms;

	pthread_mutex_t lock; /* guards what follows */
	char doing[STATUS_MAX];
	char trouble[TROUBLE_MAX]; /* "": none */
	uint64_t trouble_ms, sent_ms;
	char logged[STATUS_MAX];
};

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
	uint64_t value;

	if (pid && (number_parse(pid, 10, INT32_MAX, &value) < 0 || value != (uint64_t)getpid()))
		return 0; /* meant for another process */
	if (number_parse(usec, 10, UINT64_MAX, &value) < 0 || value == 0)
		return error_set(err, -EINVAL, "WATCHDOG_USEC=%.40s: not a time", usec);
	value /= USEC_PER_MSEC;
	n->watchdog_ms = value > UINT32_MAX ? UINT32_MAX : (unsigned)MAX(value, UINT64_C(1));
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
	pthread_mutex_init(&n->lock, NULL);
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
	closep(&n->fd);
	pthread_mutex_destroy(&n->lock);
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
		log_debug("cannot send \"%s\" to the service manager: %s", text, strerror(errno));
}

void notify_ready(struct notify *n)
{
	send_message(n, "READY=1");
}

void notify_reloading(struct notify *n)
{
	char text[80] = "RELOADING=1";
	struct timespec now;

	/* Type=notify-reload needs the time (systemd 253 and later). */
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

/* The caller holds the lock. */
static void make_line(const struct notify *n, char out[STATUS_MAX])
{
	int doing_max = n->trouble[0] ? DOING_WITH_TROUBLE_MAX : STATUS_MAX;

	(void)snprintf(out, STATUS_MAX, "%.*s%s%s", doing_max, n->doing,
		       n->trouble[0] ? "; trying again: " : "", n->trouble);
}

/* The caller holds the lock: a datagram to the manager does not block. */
static void send_status(struct notify *n, uint64_t now)
{
	static const char name[] = "STATUS=";
	char message[sizeof(name) + (size_t)PRINTABLE_GROWTH * STATUS_MAX];
	char line[STATUS_MAX];

	n->sent_ms = now;
	make_line(n, line);
	memcpy(message, name, sizeof(name));
	/* A line end would begin another variable. */
	printable_text(line, strlen(line), message + sizeof(name) - 1);
	send_message(n, message);
}

void notify_status(struct notify *n, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&n->lock);
	va_start(ap, fmt);
	(void)vsnprintf(n->doing, sizeof(n->doing), fmt, ap);
	va_end(ap);
	n->trouble[0] = '\0';
	send_status(n, monotonic_ms());
	pthread_mutex_unlock(&n->lock);
}

void notify_trouble(struct notify *n, const char *what, const char *why)
{
	uint64_t now = monotonic_ms();
	bool is_new;

	pthread_mutex_lock(&n->lock);
	is_new = n->trouble[0] == '\0';
	(void)snprintf(n->trouble, sizeof(n->trouble), "%s: %s", what, why);
	n->trouble_ms = now;
	if (is_new || now - n->sent_ms >= TROUBLE_PAUSE_MS)
		send_status(n, now);
	pthread_mutex_unlock(&n->lock);
}

void notify_refresh(struct notify *n)
{
	uint64_t now = monotonic_ms();

	pthread_mutex_lock(&n->lock);
	if (n->trouble[0] && now - n->trouble_ms >= TROUBLE_MS) {
		n->trouble[0] = '\0';
		send_status(n, now);
	}
	pthread_mutex_unlock(&n->lock);
}

void notify_log_status(struct notify *n)
{
	char line[STATUS_MAX];
	bool is_new;

	pthread_mutex_lock(&n->lock);
	make_line(n, line);
	is_new = line[0] && strcmp(line, n->logged) != 0;
	memcpy(n->logged, line, sizeof(line));
	pthread_mutex_unlock(&n->lock);
	if (is_new)
		log_notice("%s", line);
}
