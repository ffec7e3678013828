/*
 * The relay. Job: accept connections of this process, connect each to where its route leads, and
 * carry bytes until both sides have ended. Trusts nobody on the way: TLS is between libcurl and the
 * server. Must never take a connection that this process did not announce, because the name of its
 * socket can be guessed.
 */
#include "fs/net/relay.h"

#include "crypto/base/clock.h"
#include "crypto/base/encode.h"
#include "crypto/base/thread.h"
#include "fs/net/carry.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/un.h>

#define NAME_SIZE 33 /* 32 hex digits */
#define ANNOUNCED 64 /* at once, between socket() and accept() */
#define AUTHORITY_MAX (ROUTE_HOST_MAX + 8)

struct announced {
	char name[NAME_SIZE]; /* of the socket's end; "": free */
	char authority[AUTHORITY_MAX];
};

struct relay {
	struct route *routes;
	char **texts; /* that the routes point into */
	size_t count;
	char name[NAME_SIZE];
	int listener, stop_fd;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;
	bool started;
	pthread_t acceptor;
	unsigned carrying; /* threads */
	unsigned next;
	struct announced announced[ANNOUNCED];
	char troubled[AUTHORITY_MAX]; /* the server of `trouble` */
	struct error trouble;
};

struct job {
	struct relay *relay;
	int fd;
	char authority[AUTHORITY_MAX];
};

static int random_name(char out[NAME_SIZE])
{
	uint8_t bytes[(NAME_SIZE - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	hex_encode(bytes, sizeof(bytes), out);
	return 0;
}

/* A socket that has this name. */
static int bind_name(const char *name)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t size = strlen(name);

	memcpy(to.sun_path + 1, name, size);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to,
			   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int parse_places(struct relay *r, const char *const *places, size_t count, struct error *err)
{
	r->routes = calloc(count, sizeof(*r->routes));
	r->texts = calloc(count, sizeof(*r->texts));
	if (!r->routes || !r->texts)
		return -ENOMEM;
	for (; r->count < count; r->count++) {
		int e;

		r->texts[r->count] = strdup(places[r->count]);
		if (!r->texts[r->count])
			return -ENOMEM;
		e = route_parse(r->texts[r->count], &r->routes[r->count], err);
		if (e < 0) {
			free(r->texts[r->count]);
			return e;
		}
	}
	return 0;
}

int relay_new(const char *const *places, size_t count, struct relay **ret, struct error *err)
{
	_cleanup_(relay_freep) struct relay *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->listener = r->stop_fd = -1;
	pthread_mutex_init(&r->lock, NULL);
	monotonic_cond_init(&r->idle);
	e = parse_places(r, places, count, err);
	if (e == 0)
		e = random_name(r->name);
	if (e < 0)
		return e;
	r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->listener = bind_name(r->name);
	if (r->stop_fd < 0 || r->listener < 0 || listen(r->listener, ANNOUNCED) < 0)
		return error_set(err, -EIO, "cannot make a socket for net=: %s", strerror(errno));
	*ret = steal_ptr(r);
	return 0;
}

void relay_free(struct relay *r)
{
	uint64_t one = 1;

	if (!r)
		return;
	if (r->stop_fd >= 0 && write(r->stop_fd, &one, sizeof(one)) < 0)
		abort();
	if (r->started)
		pthread_join(r->acceptor, NULL);
	pthread_mutex_lock(&r->lock);
	while (r->carrying > 0)
		pthread_cond_wait(&r->idle, &r->lock);
	pthread_mutex_unlock(&r->lock);
	closep(&r->listener);
	closep(&r->stop_fd);
	for (size_t i = 0; i < r->count; i++)
		free(r->texts[i]);
	free(r->texts);
	free(r->routes);
	pthread_cond_destroy(&r->idle);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

const char *relay_name(const struct relay *r)
{
	return r->name;
}

static const struct route *find(const struct relay *r, const char *authority)
{
	char host[AUTHORITY_MAX];
	char *colon;

	(void)snprintf(host, sizeof(host), "%s", authority);
	colon = strrchr(host, ':');
	if (!colon)
		return NULL;
	*colon = '\0';
	return route_find(r->routes, r->count, host, colon + 1);
}

int relay_check(const struct relay *r, const char *authority, struct error *err)
{
	if (strlen(authority) < AUTHORITY_MAX && find(r, authority))
		return 0;
	error_hint(err, "add net=HOST@vsock:CID:PORT for it, or net=vsock:CID:PORT of a proxy");
	return error_set(err, -EHOSTUNREACH, "%s: no net= leads to this server", authority);
}

static void note_trouble(struct relay *r, const char *authority, const struct error *err)
{
	pthread_mutex_lock(&r->lock);
	(void)snprintf(r->troubled, sizeof(r->troubled), "%s", authority);
	r->trouble = *err;
	pthread_mutex_unlock(&r->lock);
}

int relay_trouble(struct relay *r, const char *authority, struct error *err)
{
	int code = 0;

	pthread_mutex_lock(&r->lock);
	if (strcmp(r->troubled, authority) == 0) {
		code = r->trouble.code;
		if (code < 0)
			error_set(err, code, "%s", r->trouble.message);
		r->trouble = (struct error){0};
		r->troubled[0] = '\0';
	}
	pthread_mutex_unlock(&r->lock);
	return code;
}

static void *run_job(void *arg)
{
	struct job *j = arg;
	struct relay *r = j->relay;
	const struct route *route = find(r, j->authority);
	struct error err = {0};
	int e = carry(j->fd, route, j->authority, r->stop_fd, &err);

	if (e < 0)
		note_trouble(r, j->authority, &err);
	close(j->fd);
	free(j);
	pthread_mutex_lock(&r->lock);
	r->carrying--;
	pthread_cond_broadcast(&r->idle);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* Takes fd. */
static void start_job(struct relay *r, int fd, const char *authority)
{
	struct job *j = calloc(1, sizeof(*j));
	pthread_t thread;

	if (!j) {
		close(fd);
		return;
	}
	*j = (struct job){.relay = r, .fd = fd};
	memcpy(j->authority, authority, sizeof(j->authority));
	pthread_mutex_lock(&r->lock);
	r->carrying++;
	pthread_mutex_unlock(&r->lock);
	if (thread_start(&thread, run_job, j, NULL) == 0) {
		pthread_detach(thread);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->carrying--;
	pthread_mutex_unlock(&r->lock);
	close(fd);
	free(j);
}

/* By the name that the other end was given: which server it is for. */
static bool take_announced(struct relay *r, const struct sockaddr_un *from, socklen_t size,
			   char authority[AUTHORITY_MAX])
{
	const size_t whole = offsetof(struct sockaddr_un, sun_path) + NAME_SIZE;
	bool found = false;

	if (size != whole || from->sun_path[0] != '\0')
		return false;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; !found && i < ANNOUNCED; i++) {
		struct announced *a = &r->announced[i];

		if (!a->name[0] || memcmp(a->name, from->sun_path + 1, NAME_SIZE - 1) != 0)
			continue;
		memcpy(authority, a->authority, sizeof(a->authority));
		a->name[0] = '\0';
		found = true;
	}
	pthread_mutex_unlock(&r->lock);
	return found;
}

static void *accept_all(void *arg)
{
	struct relay *r = arg;
	struct pollfd fds[] = {{.fd = r->listener, .events = POLLIN},
			       {.fd = r->stop_fd, .events = POLLIN}};

	while (fds[1].revents == 0) {
		struct sockaddr_un from = {0};
		socklen_t size = sizeof(from);
		char authority[AUTHORITY_MAX];
		int fd;

		if (poll(fds, ARRAY_LEN(fds), -1) < 0 || fds[0].revents == 0)
			continue;
		fd = accept4(r->listener, (struct sockaddr *)&from, &size,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			continue;
		if (take_announced(r, &from, size, authority))
			start_job(r, fd, authority);
		else
			close(fd);
	}
	return NULL;
}

static int start(struct relay *r)
{
	int e = 0;

	pthread_mutex_lock(&r->lock);
	if (!r->started)
		e = thread_start(&r->acceptor, accept_all, r, NULL);
	r->started = r->started || e == 0;
	pthread_mutex_unlock(&r->lock);
	return e;
}

int relay_socket(struct relay *r, const char *authority)
{
	char name[NAME_SIZE];
	int e = start(r), fd;

	if (e == 0)
		e = random_name(name);
	if (e < 0)
		return e;
	fd = bind_name(name);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&r->lock);
	/* The oldest goes: it was never connected. */
	memcpy(r->announced[r->next].name, name, sizeof(name));
	(void)snprintf(r->announced[r->next].authority, AUTHORITY_MAX, "%s", authority);
	r->next = (r->next + 1) % ANNOUNCED;
	pthread_mutex_unlock(&r->lock);
	return fd;
}
