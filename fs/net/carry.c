/*
 * One connection through a route. Job: connect, ask a proxy for the server (RFC 9110, CONNECT),
 * copy bytes both ways. Does not trust the proxy: what passes is TLS, and its answer is read byte
 * by byte up to its end and no further.
 */
#include "fs/net/carry.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_MS 10000
#define BUFFER_SIZE ((size_t)64 << 10)
#define PROXY_ANSWER_MAX 4096

struct flow {
	int from, to;
	size_t at, end;
	bool ended; /* nothing more comes, and `to` was told */
	uint8_t bytes[BUFFER_SIZE];
};

/* 0: fd is ready; -ETIMEDOUT, or -ECANCELED. */
static int wait_for(int fd, short events, int stop_fd, int timeout_ms)
{
	struct pollfd fds[] = {{.fd = fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
	int n;

	do
		n = poll(fds, ARRAY_LEN(fds), timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : fds[1].revents ? -ECANCELED : 0;
}

/* No errno that callers know in another meaning: a socket that is missing is no missing object. */
static int unreachable(int code)
{
	switch (code) {
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ENETUNREACH:
	case -ETIMEDOUT:
	case -ECANCELED:
		return code;
	default:
		return -EHOSTUNREACH;
	}
}

static int open_far(const struct route *route, int stop_fd)
{
	_cleanup_close_ int fd =
		socket(route->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(int);
	int code = 0, r;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&route->to, route->to_size) == 0)
		return steal_fd(&fd);
	if (errno != EINPROGRESS)
		return -errno;
	r = wait_for(fd, POLLOUT, stop_fd, CONNECT_MS);
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		r = -errno;
	if (r == 0)
		r = -code;
	return r < 0 ? r : steal_fd(&fd);
}

static int send_all(int fd, const char *text, int stop_fd)
{
	for (size_t size = strlen(text); size > 0;) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
		int r = 0;

		if (n < 0 && errno == EAGAIN)
			r = wait_for(fd, POLLOUT, stop_fd, CONNECT_MS);
		else if (n < 0)
			r = -errno;
		if (r < 0)
			return r;
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

/* Through the empty line at its end. */
static int read_answer(int fd, char out[PROXY_ANSWER_MAX], int stop_fd)
{
	size_t size = 0;

	while (size < PROXY_ANSWER_MAX - 1) {
		ssize_t n = recv(fd, out + size, 1, 0);
		int r = 0;

		if (n < 0 && errno == EAGAIN)
			r = wait_for(fd, POLLIN, stop_fd, CONNECT_MS);
		else if (n <= 0)
			r = n == 0 ? -ECONNRESET : -errno;
		if (r < 0)
			return r;
		if (n < 0)
			continue;
		out[++size] = '\0';
		if (size >= 4 && memcmp(out + size - 4, "\r\n\r\n", 4) == 0)
			return 0;
	}
	return -EPROTO;
}

static int ask_proxy(int fd, const char *authority, int stop_fd, const char *place,
		     struct error *err)
{
	char request[2 * ROUTE_HOST_MAX + 128], answer[PROXY_ANSWER_MAX];
	int r;

	(void)snprintf(request, sizeof(request), "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n",
		       authority, authority);
	r = send_all(fd, request, stop_fd);
	if (r == 0)
		r = read_answer(fd, answer, stop_fd);
	if (r < 0)
		return error_set(err, unreachable(r), "%s: the proxy at %s does not answer: %s",
				 authority, place, strerror(-r));
	if (strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 2", 2) == 0 &&
	    strspn(answer + 10, "0123456789") == 2)
		return 0;
	answer[strcspn(answer, "\r\n")] = '\0';
	return error_set(err, -EHOSTUNREACH, "%s: the proxy at %s refuses: %.80s", authority, place,
			 answer);
}

static unsigned wants(const struct flow *f, bool reads)
{
	if (f->ended || reads != (f->at == f->end))
		return 0;
	return reads ? POLLIN : POLLOUT;
}

/* False: the connection broke. */
static bool move(struct flow *f)
{
	ssize_t n;

	if (f->ended)
		return true;
	if (f->at == f->end) {
		n = recv(f->from, f->bytes, sizeof(f->bytes), 0);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		f->at = 0;
		f->end = (size_t)n;
		f->ended = n == 0;
		if (f->ended)
			(void)shutdown(f->to, SHUT_WR);
	}
	if (f->at == f->end)
		return true;
	n = send(f->to, f->bytes + f->at, f->end - f->at, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	f->at += (size_t)n;
	return true;
}

static void copy_both(int near, int far, int stop_fd)
{
	struct flow *flows = calloc(2, sizeof(*flows));
	bool good = flows != NULL;

	if (good) {
		flows[0].from = flows[1].to = near;
		flows[0].to = flows[1].from = far;
	}
	/* libcurl ends its side only when it wants nothing more. */
	while (good && !flows[0].ended) {
		struct pollfd fds[] = {
			{.fd = near,
			 .events = (short)(wants(&flows[0], true) | wants(&flows[1], false))},
			{.fd = far,
			 .events = (short)(wants(&flows[1], true) | wants(&flows[0], false))},
			{.fd = stop_fd, .events = POLLIN}};

		/* What has nothing to say would wake us for its end again and again. */
		for (size_t i = 0; i < 2; i++)
			if (fds[i].events == 0)
				fds[i].fd = -1;
		if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
			break;
		if (fds[2].revents)
			break;
		good = move(&flows[0]) && move(&flows[1]);
	}
	free(flows);
}

int carry(int near, const struct route *route, const char *authority, int stop_fd,
	  struct error *err)
{
	_cleanup_close_ int far = open_far(route, stop_fd);
	int r = 0;

	if (far < 0)
		return error_set(err, unreachable(far), "%s: cannot connect to %s: %s", authority,
				 route->place, strerror(-far));
	if (!route->host[0])
		r = ask_proxy(far, authority, stop_fd, route->place, err);
	if (r == 0)
		copy_both(near, far, stop_fd);
	return r;
}
