/*
 * The endpoint's HTTP. Job: from a connection to a request with its body, and from an answer to
 * bytes. Trusts libmicrohttpd's parsing of HTTP/1.1, not what it parsed. Must never store more of
 * a request than was bounded before, nor let a slow caller keep a connection for long.
 */
#include "tools/serve/serve_http.h"

#include "crypto/base/clock.h"
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "fs/net/transport.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define FINISH_MS 3000
#define FINISH_PAUSE_MS 20

enum { BAD_REQUEST = 400, TOO_LARGE = 413, UNAVAILABLE = 503 };

struct connection {
	int fd; /* -1: free */
	uint64_t begun_ms;
};

struct serve_http {
	struct MHD_Daemon *daemon;
	struct serve_site *site;
	atomic_uint bodies;
	pthread_mutex_t lock; /* guards connections */
	struct connection connections[SERVE_CONNECTIONS_MAX];
};

/* One request. */
struct exchange {
	char *uri;
	bool begun, has_body;
	struct serve_request request;
	uint8_t *body;
	size_t size, announced;
};

static void on_log(void *arg, const char *fmt, va_list ap) _printf_(2, 0);
static void on_log(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("%s", text);
}

/* libmicrohttpd calls it with "closed" before it closes the descriptor. */
static void on_connection(void *arg, struct MHD_Connection *c, void **place,
			  enum MHD_ConnectionNotificationCode what)
{
	struct serve_http *h = arg;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct connection *own = *place;

	pthread_mutex_lock(&h->lock);
	if (what == MHD_CONNECTION_NOTIFY_CLOSED && own)
		own->fd = -1;
	for (size_t i = 0;
	     what == MHD_CONNECTION_NOTIFY_STARTED && info && !own && i < SERVE_CONNECTIONS_MAX;
	     i++)
		if (h->connections[i].fd < 0) {
			*place = own = &h->connections[i];
			*own = (struct connection){info->connect_fd, monotonic_ms()};
		}
	pthread_mutex_unlock(&h->lock);
}

void serve_http_expire(struct serve_http *h)
{
	uint64_t now_ms = monotonic_ms();

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++)
		if (h->connections[i].fd >= 0 &&
		    now_ms - h->connections[i].begun_ms > SERVE_CONNECTION_MS)
			(void)shutdown(h->connections[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&h->lock);
}

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *c)
{
	struct exchange *x = calloc(1, sizeof(*x));

	if (x)
		x->uri = strdup(uri);
	return x;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct serve_http *h = arg;
	struct exchange *x = *state;

	if (!x)
		return;
	if (x->has_body)
		atomic_fetch_sub(&h->bodies, 1);
	free(x->uri);
	free(x->body);
	free(x);
	*state = NULL;
}

/* Addresses that one caller controls count as one; a proxy on this machine represents many. */
static void find_caller(struct MHD_Connection *c, struct serve_caller *ret)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *a = info ? info->client_addr : NULL;

	*ret = (struct serve_caller){0};
	if (!a || (a->sa_family != AF_INET && a->sa_family != AF_INET6) || transport_is_loopback(a))
		return;
	if (a->sa_family == AF_INET) {
		ret->size = 4;
		memcpy(ret->address, &((const struct sockaddr_in *)a)->sin_addr, 4);
	} else {
		const struct in6_addr *v6 = &((const struct sockaddr_in6 *)a)->sin6_addr;

		ret->size = IN6_IS_ADDR_V4MAPPED(v6) ? 16 : 8;
		memcpy(ret->address, v6, ret->size);
	}
}

static bool add(struct MHD_Response *to, const char *name, const char *value)
{
	return MHD_add_response_header(to, name, value) == MHD_YES;
}

static bool add_headers(struct MHD_Response *to, const struct serve_answer *a)
{
	char seconds[16];

	(void)snprintf(seconds, sizeof(seconds), "%u", a->retry_after_s);
	return add(to, "Content-Type", a->type) && add(to, "Access-Control-Allow-Origin", "*") &&
	       add(to, "Cache-Control", "no-store") &&
	       add(to, "X-Content-Type-Options", "nosniff") && add(to, "Connection", "close") &&
	       (!a->retry_after_s || add(to, "Retry-After", seconds)) &&
	       (!a->allow || add(to, "Allow", a->allow));
}

/* Takes the answer's body. */
static enum MHD_Result reply(struct MHD_Connection *c, struct serve_answer *a)
{
	struct MHD_Response *response =
		a->body ? MHD_create_response_from_buffer(a->size, a->body, MHD_RESPMEM_MUST_FREE)
			: NULL;
	enum MHD_Result r = MHD_NO;

	if (!response)
		free(a->body);
	else if (add_headers(response, a))
		r = MHD_queue_response(c, a->status, response);
	if (response)
		MHD_destroy_response(response);
	return r;
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned status, const char *why,
			      const char *allow)
{
	struct serve_answer answer;

	serve_refuse(status, why, &answer);
	answer.allow = allow;
	answer.retry_after_s = status == UNAVAILABLE;
	return reply(c, &answer);
}

/* A body is announced with its size, or not taken. */
static enum MHD_Result begin_body(struct serve_http *h, struct MHD_Connection *c,
				  struct exchange *x)
{
	const char *text = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
	uint64_t size;

	if (!text || number_parse(text, 10, UINT64_MAX, &size) < 0)
		return refuse(c, BAD_REQUEST, "a body with a Content-Length is wanted", NULL);
	if (size > SERVE_BODY_MAX)
		return refuse(c, TOO_LARGE, "the body is too large", NULL);
	x->has_body = true;
	if (atomic_fetch_add(&h->bodies, 1) >= SERVE_BODIES_MAX)
		return refuse(c, UNAVAILABLE, "other callers are being answered", NULL);
	x->announced = (size_t)size;
	x->body = malloc(x->announced + 1);
	return x->body ? MHD_YES : MHD_NO;
}

static enum MHD_Result answer(struct serve_http *h, struct MHD_Connection *c, struct exchange *x)
{
	struct serve_answer answer;
	struct serve_caller caller;

	find_caller(c, &caller);
	serve_answer(h->site, &x->request, &caller, x->body, x->size, &answer);
	return reply(c, &answer);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_size, void **state)
{
	struct serve_http *h = arg;
	struct exchange *x = *state;

	if (!x || !x->uri)
		return MHD_NO;
	if (!x->begun) {
		const char *why = NULL, *allow = NULL;
		unsigned status = serve_request_parse(method, x->uri, &x->request, &why, &allow);

		x->begun = true;
		if (status)
			return refuse(c, status, why, allow);
		return x->request.what == SERVE_PRESENT ? begin_body(h, c, x) : answer(h, c, x);
	}
	if (*data_size == 0)
		return answer(h, c, x);
	if (!x->body || *data_size > x->announced - x->size)
		return MHD_NO;
	memcpy(x->body + x->size, data, *data_size);
	x->size += *data_size;
	*data_size = 0;
	return MHD_YES;
}

int serve_http_start(int fd, struct serve_site *site, struct serve_http **ret, struct error *err)
{
	struct serve_http *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->site = site;
	pthread_mutex_init(&h->lock, NULL);
	for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++)
		h->connections[i].fd = -1;
	h->daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
			MHD_USE_ITC | MHD_USE_ERROR_LOG,
		0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, h, MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS_MAX,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)SERVE_CONNECTIONS_OF_ADDRESS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVE_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVE_HEADERS_MAX, MHD_OPTION_END);
	if (!h->daemon) {
		pthread_mutex_destroy(&h->lock);
		free(h);
		return error_set(err, -EIO, "cannot start the HTTP server");
	}
	*ret = h;
	return 0;
}

static bool is_idle(struct serve_http *h)
{
	bool idle = true;

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < SERVE_CONNECTIONS_MAX; i++)
		idle &= h->connections[i].fd < 0;
	pthread_mutex_unlock(&h->lock);
	return idle;
}

void serve_http_stop(struct serve_http *h)
{
	uint64_t end_ms = monotonic_ms() + FINISH_MS;
	int fd = MHD_quiesce_daemon(h->daemon);

	closep(&fd);
	while (!is_idle(h) && monotonic_ms() < end_ms)
		monotonic_pause(FINISH_PAUSE_MS);
	MHD_stop_daemon(h->daemon);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
