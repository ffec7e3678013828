/*
 * Options of one exchange. Job: set every option of a libcurl handle anew. Must never send a header
 * with a line break in it, allow a redirect, or disable the verification of certificates
 * except for evidence, whose caller compares the key.
 */
#include "fs/net/http_internal.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 3000
/* S3 closes idle connections after about 5 s. */
#define IDLE_CONNECTION_S 4L
#define CONNECTIONS_PER_HANDLE 2L
/* Fits the L2 cache with what it is copied to; measured: from 16 KiB to 1 MiB within the noise. */
#define RECEIVE_BUFFER_BYTES (128L * 1024)
#define UPLOAD_BUFFER_BYTES (256L * 1024)

static bool has_line_break(const char *s)
{
	return strpbrk(s, "\r\n") != NULL;
}

static int add_header_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (!longer)
		return -ENOMEM;
	*list = longer;
	return 0;
}

int http_build_headers(const struct http_request *req, struct curl_slist **list)
{
	bool has_type = false;
	int r;

	for (size_t i = 0; i < req->header_count; i++) {
		const struct http_header *h = &req->headers[i];
		_cleanup_(text_wipe_freep) char *line = NULL; /* may hold a token */

		if (has_line_break(h->name) || has_line_break(h->value))
			return -EINVAL;
		has_type |= strcasecmp(h->name, "content-type") == 0;
		/* libcurl's spelling of a header without a value ends with a semicolon. */
		if (asprintf(&line, h->value[0] ? "%s: %s" : "%s;%s", h->name, h->value) < 0) {
			line = NULL;
			return -ENOMEM;
		}
		r = add_header_line(list, line);
		if (r < 0)
			return r;
	}
	r = add_header_line(list, "Accept:");
	if (r >= 0)
		r = add_header_line(list, "Expect:");
	if (r >= 0 && !has_type)
		r = add_header_line(list, "Content-Type:");
	return r;
}

static CURLcode set_method(CURL *c, const struct http_request *req)
{
	bool sends = req->body_size > 0 || strcmp(req->method, "PUT") == 0 ||
		     strcmp(req->method, "POST") == 0;
	CURLcode rc = CURLE_OK;

	if (strcmp(req->method, "HEAD") == 0) {
		SET(CURLOPT_NOBODY, 1L);
		return rc;
	}
	if (sends) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDS, req->body_size > 0 ? (const char *)req->body : "");
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_size);
	} else {
		SET(CURLOPT_HTTPGET, 1L);
	}
	SET(CURLOPT_CUSTOMREQUEST, req->method);
	return rc;
}

/* A name that is to lead to this machine must not lead elsewhere. */
static curl_socket_t open_loopback(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	if (purpose != CURLSOCKTYPE_IPCXN || !transport_is_loopback(&address->addr))
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static curl_socket_t open_relayed(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	const struct http_exchange *x = arg;
	int fd = purpose == CURLSOCKTYPE_IPCXN && address->family == AF_UNIX
			 ? relay_socket(x->relay, x->authority)
			 : -EINVAL;

	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* One scheme, no redirects, and no proxy where the request itself is not encrypted. */
static CURLcode set_transport(CURL *c, const struct http_exchange *x)
{
	const char *scheme = x->transport == TRANSPORT_TLS ? "https" : "http";
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, scheme);
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
#else
	SET(CURLOPT_PROTOCOLS,
	    (long)(x->transport == TRANSPORT_TLS ? CURLPROTO_HTTPS : CURLPROTO_HTTP));
	SET(CURLOPT_REDIR_PROTOCOLS, (long)CURLPROTO_HTTPS);
	(void)scheme;
#endif
	if (x->transport != TRANSPORT_TLS || x->req->peer)
		SET(CURLOPT_NOPROXY, "*");
	if (x->relay) {
		SET(CURLOPT_NOPROXY, "*");
		SET(CURLOPT_ABSTRACT_UNIX_SOCKET, relay_name(x->relay));
		SET(CURLOPT_OPENSOCKETFUNCTION, open_relayed);
		SET(CURLOPT_OPENSOCKETDATA, x);
		return rc;
	}
	if (x->req->unix_socket)
		SET(CURLOPT_UNIX_SOCKET_PATH, x->req->unix_socket);
	else if (x->transport == TRANSPORT_LOOPBACK)
		SET(CURLOPT_OPENSOCKETFUNCTION, open_loopback);
	return rc;
}

static CURLcode set_connection(CURL *c, const struct http_exchange *x)
{
	const struct http_request *req = x->req;
	bool any_certificate = req->peer == &transport_evidence;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, any_certificate ? 0L : 1L);
	SET(CURLOPT_SSL_VERIFYHOST, any_certificate ? 0L : 2L);
	SET(CURLOPT_CERTINFO, (long)any_certificate);
	/* Such a connection is not shared, and a resumed session shows no certificate. */
	SET(CURLOPT_SSL_SESSIONID_CACHE, (long)!any_certificate);
	SET(CURLOPT_FORBID_REUSE, (long)any_certificate);
	if (x->ca_file)
		SET(CURLOPT_CAINFO, x->ca_file);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* A new connection looks the name up again and takes one of its addresses at random:
	 * that is how the load spreads over S3's front ends. */
	SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	SET(CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
	/* A cancelled or late call must not wait for the thread that is stuck in the resolver. */
	SET(CURLOPT_QUICK_EXIT, 1L);
#endif
	SET(CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S);
	SET(CURLOPT_MAXCONNECTS, CONNECTIONS_PER_HANDLE);
	SET(CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
	SET(CURLOPT_FRESH_CONNECT, (long)(req->fresh_connection || any_certificate));
	SET(CURLOPT_CONNECTTIMEOUT_MS,
	    (long)(req->connect_timeout_ms ? req->connect_timeout_ms : CONNECT_TIMEOUT_MS));
	SET(CURLOPT_TIMEOUT_MS, (long)req->total_timeout_ms);
	return rc;
}

CURLcode http_set_options(struct http_exchange *x, struct curl_slist *headers)
{
	CURL *c = x->handle->curl;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_URL, x->req->url);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_USERAGENT, "sealedfs/" SEALEDFS_VERSION);
	if (rc == CURLE_OK)
		rc = set_method(c, x->req);
	if (rc == CURLE_OK)
		rc = set_transport(c, x);
	if (rc == CURLE_OK)
		rc = set_connection(c, x);
	return rc;
}
