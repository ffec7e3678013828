/*
 * http.h: one HTTP/1.1 exchange at a time per thread, connections kept and shared. The only user
 * of libcurl. TLS is verified against the system's roots (or
 * http_client_set_ca_file()). No redirects are
 * followed. What may go without TLS is decided by transport.h, for every request; without TLS no
 * proxy is used, and none for a struct transport_peer.
 *
 * Threads: a client may be used by any number of threads; each call takes an idle handle.
 * Errors: -EINVAL a URL that is not allowed, -ETIMEDOUT deadline or stall, -EHOSTUNREACH name or
 * route, -ECONNREFUSED, -ECONNRESET cut off, -EKEYREJECTED never, -EPROTO not HTTP, -E2BIG body
 * over the limit, -EIO TLS failure, -ECANCELED after http_client_cancel(). Messages start with
 * host:port. An HTTP status is not an error here.
 */
#ifndef SEALEDFS_NET_HTTP_H
#define SEALEDFS_NET_HTTP_H

#include "crypto/base/error.h"
#include "fs/net/message.h"

struct http_client;

int http_client_new(struct http_client **ret);
/* No call may be running. */
void http_client_free(struct http_client *c);
/* A file of PEM roots instead of the system's; before the first request. -ENOMEM. */
int http_client_set_ca_file(struct http_client *c, const char *path);
/* Servers that may be contacted without TLS. Borrowed as long as the client lives; before the first
 * request. */
void http_client_allow_plain(struct http_client *c, const struct transport_hosts *hosts);
/* The only ways out, but for http to loopback addresses: values of net= (route.h), copied. Before
 * the first request. No proxy of the environment is used then. -EINVAL, -ENOMEM, -EIO. */
int http_client_set_routes(struct http_client *c, const struct transport_hosts *places,
			   struct error *err);
/* Set before the first request. */
void http_client_observe_silence(struct http_client *c, http_silence_observer *observe, void *arg);
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
/*
 * The same, repeated after a network error or a 5xx status: at most `attempts` times, wait_ms
 * apart. For small services on the local network.
 */
int http_perform_repeatedly(struct http_client *c, const struct http_request *req,
			    unsigned attempts, unsigned wait_ms, struct http_response *ret,
			    struct error *err);

DEFINE_CLEANUP(struct http_client *, http_client_free)

#endif
