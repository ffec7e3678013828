/*
 * delay: answers every HTTP request with 204 after a fixed time. nginx asks it before it serves a
 * request (auth_request), which adds that time to each request and leaves the bytes alone: nginx
 * still sends the file with sendfile, at full rate.
 *
 *   delay MILLISECONDS PORT_FILE     serves on 127.0.0.1 until SIGTERM; the port is in PORT_FILE
 *
 * Trusts its only client, the local nginx. It must never look at a request beyond its end, and
 * never answer early.
 */
#include "crypto/base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS_MAX 512
#define REQUEST_MAX 65536

static const char reply[] = "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n";
static const char end_of_head[] = "\r\n\r\n";

struct connection {
	unsigned matched; /* bytes of end_of_head seen */
	size_t head_bytes;
	int64_t due_ns; /* 0: no request waits */
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int listen_on_loopback(const char *port_file)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_(fclosep) FILE *out = NULL;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &size) < 0)
		return -errno;
	out = fopen(port_file, "we");
	if (!out)
		return -errno;
	fprintf(out, "%u\n", ntohs(a.sin_port));
	return fd;
}

/* False: the connection is over. */
static bool take_bytes(int fd, struct connection *c, int64_t delay_ns)
{
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n <= 0)
		return n < 0 && errno == EINTR;
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == end_of_head[c->matched])
			c->matched++;
		else
			c->matched = buf[i] == end_of_head[0];
		if (c->matched == sizeof(end_of_head) - 1) {
			c->matched = 0;
			c->head_bytes = 0;
			c->due_ns = now_ns() + delay_ns;
		}
	}
	c->head_bytes += (size_t)n;
	return c->head_bytes <= REQUEST_MAX;
}

static void accept_one(struct pollfd *fds, struct connection *connections, size_t *count)
{
	int fd = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC), one = 1;

	if (fd < 0)
		return;
	if (*count == CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fds[*count] = (struct pollfd){.fd = fd, .events = POLLIN};
	connections[*count] = (struct connection){0};
	(*count)++;
}

/* How long nothing is due; sends what is. */
static int64_t answer_due(const struct pollfd *fds, struct connection *connections, size_t count)
{
	int64_t now = now_ns(), wait = INT64_MAX;

	for (size_t i = 1; i < count; i++) {
		struct connection *c = &connections[i];

		if (!c->due_ns)
			continue;
		if (c->due_ns <= now) {
			c->due_ns = 0;
			if (send(fds[i].fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL) < 0)
				shutdown(fds[i].fd, SHUT_RDWR);
		} else {
			wait = MIN(wait, c->due_ns - now);
		}
	}
	return wait;
}

static void serve(int listener, int64_t delay_ns)
{
	static struct pollfd fds[CONNECTIONS_MAX];
	static struct connection connections[CONNECTIONS_MAX];
	size_t count = 1;

	fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (;;) {
		int64_t wait = answer_due(fds, connections, count);
		struct timespec t = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};

		if (ppoll(fds, count, wait == INT64_MAX ? NULL : &t, NULL) < 0)
			continue;
		for (size_t i = count; i-- > 1;) {
			if (!fds[i].revents || take_bytes(fds[i].fd, &connections[i], delay_ns))
				continue;
			close(fds[i].fd);
			count--;
			fds[i] = fds[count];
			connections[i] = connections[count];
		}
		if (fds[0].revents)
			accept_one(fds, connections, &count);
	}
}

int main(int argc, char **argv)
{
	char *end = NULL;
	long delay_ms = argc == 3 ? strtol(argv[1], &end, 10) : -1;
	int fd;

	if (delay_ms < 0 || delay_ms > 60000 || *end) {
		fputs("usage: delay MILLISECONDS PORT_FILE\n", stderr);
		return 2;
	}
	fd = listen_on_loopback(argv[2]);
	if (fd < 0) {
		fprintf(stderr, "delay: cannot listen: %s\n", strerror(-fd));
		return 1;
	}
	serve(fd, (int64_t)delay_ms * 1000000);
}
