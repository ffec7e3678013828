/*
 * Listening. Job: from what the user wrote to a socket. Must never remove anything from the file
 * system but a socket that nobody listens on.
 */
#include "tools/serve/serve_listen.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"
#define BACKLOG 64

const char *serve_unix_path(const char *place)
{
	return strncmp(place, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0 ? place + strlen(UNIX_PREFIX)
								     : NULL;
}

static int cannot(const char *place, int code, struct error *err)
{
	return error_set(err, code, "cannot listen on %s: %s", place, strerror(-code));
}

/* True: a socket whose owner has ended. */
static bool is_left_over(const struct sockaddr_un *address)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	return fd >= 0 && lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
	       errno == ECONNREFUSED;
}

static int listen_unix(const char *path, int *ret_fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mode_t mask;
	int r;

	if (path[0] != '/' || strlen(path) >= sizeof(address.sun_path))
		return error_set(err, -EINVAL,
				 "unix:%s: wanted is an absolute path of less than %zu bytes", path,
				 sizeof(address.sun_path));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0)
		return cannot(path, -errno, err);
	if (is_left_over(&address))
		(void)unlink(path);
	/* Before there are threads. */
	mask = umask(0111);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return cannot(path, r, err);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Splits "ADDR:PORT" or "[ADDR]:PORT" in place. */
static int split(char *text, char **ret_host, char **ret_port)
{
	char *colon = strrchr(text, ':');

	if (!colon || colon == text || colon[1] == '\0')
		return -EINVAL;
	*colon = '\0';
	*ret_host = text;
	*ret_port = colon + 1;
	if (text[0] != '[')
		return strchr(text, ':') ? -EINVAL : 0;
	if (colon[-1] != ']')
		return -EINVAL;
	colon[-1] = '\0';
	*ret_host = text + 1;
	return 0;
}

static int listen_address(const struct addrinfo *a, int *ret_fd)
{
	_cleanup_close_ int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int listen_tcp(const char *place, int *ret_fd, struct error *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				 .ai_socktype = SOCK_STREAM},
			*found = NULL;
	_cleanup_free_ char *copy = strdup(place);
	char *host, *port;
	uint64_t number;
	int r;

	if (!copy)
		return -ENOMEM;
	if (split(copy, &host, &port) < 0 || number_parse(port, 10, UINT16_MAX, &number) < 0 ||
	    getaddrinfo(host, port, &hints, &found) != 0)
		return error_set(err, -EINVAL,
				 "%s: wanted is ADDR:PORT with numbers, as 127.0.0.1:8470 or "
				 "[::1]:8470, or unix:PATH",
				 place);
	r = listen_address(found, ret_fd);
	freeaddrinfo(found);
	return r < 0 ? cannot(place, r, err) : 0;
}

static void describe(int fd, char out[SERVE_PLACE_SIZE])
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char host[64] = "?", port[16] = "?";

	if (getsockname(fd, (struct sockaddr *)&address, &size) == 0)
		(void)getnameinfo((const struct sockaddr *)&address, size, host, sizeof(host), port,
				  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	(void)snprintf(out, SERVE_PLACE_SIZE, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int serve_listen(const char *place, int *ret_fd, char out[SERVE_PLACE_SIZE], struct error *err)
{
	const char *path = serve_unix_path(place);
	int r = path ? listen_unix(path, ret_fd, err) : listen_tcp(place, ret_fd, err);

	if (r < 0)
		return r;
	if (path)
		(void)snprintf(out, SERVE_PLACE_SIZE, "%s", place);
	else
		describe(*ret_fd, out);
	return 0;
}
