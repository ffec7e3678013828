/*
 * message.h: an HTTP request and its response. Threads: one at a time.
 */
#ifndef SEALEDFS_NET_MESSAGE_H
#define SEALEDFS_NET_MESSAGE_H

#include "crypto/base/cleanup.h"
#include "fs/net/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
	unsigned stall_timeout_ms;   /* less than 1 byte/s for this long: -ETIMEDOUT. 0: 30,000 */
	unsigned total_timeout_ms;   /* 0: none */
	const struct transport_peer *peer; /* NULL: a service that the user has configured */
	/* Connect to this socket of the machine instead of the URL's host; with http only. NULL:
	 * no. */
	const char *unix_socket;
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
	/* transport_evidence over TLS: the certificate whose key the peer has proved to have,
	 * in PEM; else NULL. */
	char *certificate;
};

/*
 * While a call waits for a silent server: called about once a second, with the whole seconds of
 * silence, and at the end of such a call with 0. host: "example.com:443", only during the call.
 * From any thread.
 */
typedef void http_silence_observer(void *arg, const char *host, unsigned seconds);

void http_response_clear(struct http_response *r);
void http_response_clear_headers(struct http_response *r);
/* Value of the first header with this lower-case name, or NULL. */
const char *http_response_header(const struct http_response *r, const char *name);

#define _cleanup_http_response_ _cleanup_(http_response_clear)

#endif
