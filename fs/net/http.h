/*
 * http.h: one HTTP/1.1 exchange at a time per thread, connections kept and shared. The only user
 * of libcurl. TLS is verified against the system's roots (or AWS_CA_BUNDLE). No redirects are
 * followed, no proxy is used for link-local addresses.
 *
 * Threads: a client may be used by any number of threads; each call takes an idle handle.
 * Errors: -ETIMEDOUT deadline or stall, -EHOSTUNREACH name or route, -ECONNREFUSED, -ECONNRESET
 * cut off, -EKEYREJECTED never, -EPROTO not HTTP, -E2BIG body over the limit, -EIO TLS failure,
 * -ECANCELED after http_client_cancel(). Messages start with host:port. An HTTP status is not an
 * error here.
 */
#ifndef SEALEDFS_HTTP_H
#define SEALEDFS_HTTP_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_client;

struct http_header {
	const char *name;
	const char *value;
};

struct http_request {
	const char *method; /* "GET", "PUT", … */
	const char *url;    /* finished: sent byte for byte */
	const struct http_header *headers;
	size_t header_count;
	const void *body; /* may be NULL */
	size_t body_size;
	/*
	 * Where the body of a 2xx response goes: a caller's buffer, or (sink NULL) fresh memory.
	 * Other bodies go to fresh memory; what exceeds HTTP_ERROR_BODY_MAX of them is dropped.
	 */
	uint8_t *sink;
	size_t body_max;	     /* more than this is -E2BIG; with a sink, its size */
	unsigned connect_timeout_ms; /* 0: 3,000 */
	unsigned stall_timeout_ms;   /* less than 1 byte/s for so long: -ETIMEDOUT. 0: 30,000 */
	unsigned total_timeout_ms;   /* 0: none */
	bool no_proxy;
	/*
	 * Never on a kept connection. libcurl sends a request again by itself when a kept one turns
	 * out to be dead, so only with this is it sent at most once.
	 */
	bool fresh_connection;
	/* Wipe every copy of the response; costs the connection, which is not kept. */
	bool secret_body;
};

#define HTTP_RESPONSE_HEADERS_MAX 64
#define HTTP_ERROR_BODY_MAX 65536

struct http_response {
	int status;    /* 0: no answer */
	uint8_t *body; /* NUL-terminated beyond body_size; NULL when empty or in the sink */
	size_t body_size;
	struct {
		char *name; /* lower case */
		char *value;
	} headers[HTTP_RESPONSE_HEADERS_MAX];
	size_t header_count;
	bool secret_body;
};

int http_client_new(struct http_client **ret);
/* No call may be running. */
void http_client_free(struct http_client *c);
/* A file of PEM roots instead of the system's; before the first request. -ENOMEM. */
int http_client_set_ca_file(struct http_client *c, const char *path);
/* For shutdown: running calls return -ECANCELED within a second, later ones at once. */
void http_client_cancel(struct http_client *c);
/* Calls work again, for cleaning up after a cancellation. All cancelled calls must have returned.
 */
void http_client_resume(struct http_client *c);
/* Sleeps; -ECANCELED as soon as the client is cancelled. */
int http_client_wait(struct http_client *c, unsigned ms);
/* Fills *ret; the caller calls http_response_clear() also after an error. */
int http_perform(struct http_client *c, const struct http_request *req, struct http_response *ret,
		 struct error *err);
void http_response_clear(struct http_response *r);
/* Value of the first header with this lower-case name, or NULL. */
const char *http_response_header(const struct http_response *r, const char *name);

DEFINE_CLEANUP(struct http_client *, http_client_free)
#define _cleanup_http_response_ _cleanup_(http_response_clear)

#endif
