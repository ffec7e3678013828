/*
 * HTTP client: a pool of libcurl handles. Job: give each calling thread a handle that nobody else
 * uses, if possible one that already has a connection to the same server. Trusts libcurl and the
 * roots it was given. Must never share a handle between threads, follow a redirect, or send a
 * link-local request through a proxy when no_proxy is set.
 */
#include "fs/net/http.h"

#include "crypto/base/secret.h"
#include "fs/net/clock.h"
#include "fs/net/http_curl.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct http_client {
	pthread_mutex_t lock;
	pthread_cond_t wakeup;	  /* signalled on cancel; CLOCK_MONOTONIC */
	struct http_handle *idle; /* last used first; guarded by lock */
	char *ca_file;		  /* immutable once requests run */
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

int http_client_new(struct http_client **ret)
{
	static const char *const bundles[] = {"AWS_CA_BUNDLE", "CURL_CA_BUNDLE"};
	_cleanup_(http_client_freep) struct http_client *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;
	int r;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wakeup, &attr);
	pthread_condattr_destroy(&attr);
	r = http_global_init();
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(bundles) && !c->ca_file; i++) {
		const char *path = getenv(bundles[i]);

		if (path && path[0])
			r = http_client_set_ca_file(c, path);
		if (r < 0)
			return r;
	}
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
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&c->lock);
	while (!atomic_load(&c->cancelled) && r == 0)
		r = pthread_cond_timedwait(&c->wakeup, &c->lock, &until);
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

int http_perform(struct http_client *c, const struct http_request *req, struct http_response *ret,
		 struct error *err)
{
	char origin[HTTP_ORIGIN_MAX] = "";
	struct http_handle *h = NULL;
	int r;

	*ret = (struct http_response){.secret_body = req->secret_body};
	if (atomic_load(&c->cancelled))
		return error_set(err, -ECANCELED, "stopped before the request was sent");
	if (url_origin(req->url, origin) < 0)
		return error_set(err, -EINVAL, "not a URL that can be asked: %.200s", req->url);
	r = take_handle(c, origin, &h);
	if (r < 0)
		return error_set(err, r, "out of memory for a connection");
	if (req->secret_body)
		http_wipe_on_free(true);
	r = http_exchange_run(&(struct http_exchange){.req = req,
						      .resp = ret,
						      .handle = h,
						      .ca_file = c->ca_file,
						      .cancelled = &c->cancelled},
			      err);
	/* A secret answer is still in the handle's buffers; after a failure libcurl keeps state
	 * that refuses options. */
	if (req->secret_body || r < 0)
		handle_free(h);
	else
		return_handle(c, h);
	http_wipe_on_free(false);
	return r;
}

void http_response_clear(struct http_response *r)
{
	if (r->body && r->secret_body)
		wipe(r->body, r->body_size);
	free(r->body);
	for (size_t i = 0; i < r->header_count; i++) {
		free(r->headers[i].name);
		free(r->headers[i].value);
	}
	*r = (struct http_response){0};
}

const char *http_response_header(const struct http_response *r, const char *name)
{
	for (size_t i = 0; i < r->header_count; i++)
		if (strcmp(r->headers[i].name, name) == 0)
			return r->headers[i].value;
	return NULL;
}
