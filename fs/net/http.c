/*
 * HTTP client: a pool of libcurl handles. Job: give each calling thread a handle that nobody else
 * uses, if possible one that already has a connection to the same server. Trusts libcurl and the
 * roots it was given. Must never share a handle between threads, follow a redirect, or ask a server
 * that transport.h refuses.
 */
#include "fs/net/http.h"

#include "crypto/base/clock.h"
#include "fs/net/http_internal.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct http_client {
	pthread_mutex_t lock;
	pthread_cond_t wakeup;		     /* signalled on cancel; CLOCK_MONOTONIC */
	struct http_handle *idle;	     /* last used first; guarded by lock */
	const struct transport_hosts *plain; /* NULL: none */
	struct relay *relay;		     /* NULL: no routes */
	char *ca_file;			     /* immutable once requests run */
	struct http_silence silence;	     /* likewise */
	atomic_bool cancelled;
};

int http_client_set_ca_file(struct http_client *c, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	free(c->ca_file);
	c->ca_file = copy;
	return 0;
}

void http_client_allow_plain(struct http_client *c, const struct transport_hosts *hosts)
{
	c->plain = hosts;
}

int http_client_set_routes(struct http_client *c, const struct transport_hosts *places,
			   struct error *err)
{
	return places->count > 0 ? relay_new(places->items, places->count, &c->relay, err) : 0;
}

void http_client_observe_silence(struct http_client *c, http_silence_observer *observe, void *arg)
{
	c->silence = (struct http_silence){observe, arg};
}

int http_client_new(struct http_client **ret)
{
	_cleanup_(http_client_freep) struct http_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	monotonic_cond_init(&c->wakeup);
	r = http_global_init();
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

static void handle_free(struct http_handle *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	free(h);
}

DEFINE_CLEANUP(struct http_handle *, handle_free)

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	while (c->idle) {
		struct http_handle *h = c->idle;

		c->idle = h->next;
		handle_free(h);
	}
	relay_free(c->relay);
	pthread_cond_destroy(&c->wakeup);
	pthread_mutex_destroy(&c->lock);
	free(c->ca_file);
	free(c);
}

void http_client_cancel(struct http_client *c)
{
	pthread_mutex_lock(&c->lock);
	atomic_store(&c->cancelled, true);
	pthread_cond_broadcast(&c->wakeup);
	pthread_mutex_unlock(&c->lock);
}

void http_client_resume(struct http_client *c)
{
	atomic_store(&c->cancelled, false);
}

int http_client_wait(struct http_client *c, unsigned ms)
{
	uint64_t deadline_ms = monotonic_ms() + ms;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (!atomic_load(&c->cancelled) && r == 0)
		r = monotonic_cond_wait(&c->wakeup, &c->lock, deadline_ms);
	pthread_mutex_unlock(&c->lock);
	return atomic_load(&c->cancelled) ? -ECANCELED : 0;
}

/* "https://host:port" of a URL, for choosing a handle and for messages. */
static int url_origin(const char *url, char origin[HTTP_ORIGIN_MAX])
{
	const char *authority = strstr(url, "://");
	size_t size;

	if (!authority)
		return -EINVAL;
	size = (size_t)(authority - url) + 3;
	size += strcspn(url + size, "/?#");
	if (size >= HTTP_ORIGIN_MAX)
		return -EINVAL;
	memcpy(origin, url, size);
	origin[size] = '\0';
	return 0;
}

/* Takes the most recently used idle handle of this origin, else any, else a new one. */
static int take_handle(struct http_client *c, const char *origin, struct http_handle **ret)
{
	struct http_handle **from = NULL;
	_cleanup_(handle_freep) struct http_handle *h = NULL;

	pthread_mutex_lock(&c->lock);
	for (struct http_handle **p = &c->idle; *p; p = &(*p)->next) {
		if (!from)
			from = p;
		if (strcmp((*p)->origin, origin) == 0) {
			from = p;
			break;
		}
	}
	if (from) {
		h = *from;
		*from = h->next;
	}
	pthread_mutex_unlock(&c->lock);
	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return -ENOMEM;
		h->curl = curl_easy_init();
		if (!h->curl)
			return -ENOMEM;
	}
	memcpy(h->origin, origin, HTTP_ORIGIN_MAX);
	*ret = steal_ptr(h);
	return 0;
}

static void return_handle(struct http_client *c, struct http_handle *h)
{
	pthread_mutex_lock(&c->lock);
	h->next = c->idle;
	c->idle = h;
	pthread_mutex_unlock(&c->lock);
}

/* HOST:PORT of "scheme://HOST[:PORT]". */
static void find_authority(const char *origin, char ret[HTTP_ORIGIN_MAX])
{
	const char *host = strstr(origin, "://") + 3, *bracket = strchr(host, ']');
	const char *port = strncmp(origin, "https", 5) == 0 ? ":443" : ":80";

	if (strchr(bracket ? bracket : host, ':'))
		port = "";
	(void)snprintf(ret, HTTP_ORIGIN_MAX, "%s%s", host, port);
}

/* Whether x takes a route; -EHOSTUNREACH: it has to, and there is none. */
static int choose_route(const struct http_client *c, struct http_exchange *x, const char *origin,
			struct error *err)
{
	if (!c->relay || x->transport == TRANSPORT_LOOPBACK || x->req->unix_socket)
		return 0;
	x->relay = c->relay;
	find_authority(origin, x->authority);
	return relay_check(c->relay, x->authority, err);
}

int http_perform(struct http_client *c, const struct http_request *req, struct http_response *ret,
		 struct error *err)
{
	char origin[HTTP_ORIGIN_MAX] = "";
	struct http_exchange x = {.req = req,
				  .resp = ret,
				  .ca_file = c->ca_file,
				  .cancelled = &c->cancelled,
				  .silence = &c->silence};
	struct http_handle *h = NULL;
	enum transport transport = transport_judge(req->url, req->peer, c->plain);
	int r;

	*ret = (struct http_response){.secret_body = req->secret_body};
	if (atomic_load(&c->cancelled))
		return error_set(err, -ECANCELED, "stopped before the request was sent");
	if (url_origin(req->url, origin) < 0)
		return error_set(err, -EINVAL, "not a URL that can be asked: %.200s", req->url);
	if (transport == TRANSPORT_REFUSED)
		return transport_check(req->url, "request", req->peer, c->plain, err);
	x.transport = transport;
	r = choose_route(c, &x, origin, err);
	if (r < 0)
		return r;
	r = take_handle(c, origin, &h);
	if (r < 0)
		return error_set(err, r, "out of memory for a connection");
	x.handle = h;
	if (req->secret_body)
		http_wipe_on_free(true);
	r = http_exchange_run(&x, err);
	/* A secret answer is still in the handle's buffers; after a failure libcurl keeps state
	 * that refuses options. */
	if (req->secret_body || r < 0)
		handle_free(h);
	else
		return_handle(c, h);
	http_wipe_on_free(false);
	return r;
}

int http_perform_repeatedly(struct http_client *c, const struct http_request *req,
			    unsigned attempts, unsigned wait_ms, struct http_response *ret,
			    struct error *err)
{
	for (unsigned attempt = 1;; attempt++) {
		struct error last = {0};
		int r = http_perform(c, req, ret, &last);

		if ((r >= 0 && ret->status < 500) || r == -ECANCELED || attempt >= attempts) {
			if (r < 0 && err && !err->code)
				*err = last;
			return r;
		}
		http_response_clear(ret);
		if (http_client_wait(c, wait_ms) < 0)
			return error_set(err, -ECANCELED, "stopped between two attempts");
	}
}
