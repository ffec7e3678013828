/*
 * One HTTP exchange on one libcurl handle. Job: set every option anew, store the answer within its
 * limits, and turn libcurl's codes into errno. Trusts libcurl's framing of the answer, not the
 * answer. Must never store a byte before the limit was checked, and never send a header with a
 * line break in it.
 *
 * Secret answers: libcurl cannot be told to wipe its buffers, so its allocator is ours, and wipes
 * when a thread has asked for it. What stays beyond reach are OpenSSL's record buffers and the
 * kernel's.
 */
#include "crypto/base/secret.h"
#include "fs/net/clock.h"
#include "fs/net/far_copy.h"
#include "fs/net/http_curl.h"

#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 3000
#define STALL_TIMEOUT_MS 30000
/* S3 closes idle connections after about 5 s. */
#define IDLE_CONNECTION_S 4L
#define CONNECTIONS_PER_HANDLE 2L
/* Fits the L2 cache with what it is copied to; measured: from 16 KiB to 1 MiB within the noise. */
#define RECEIVE_BUFFER_BYTES (128L * 1024)
#define UPLOAD_BUFFER_BYTES (256L * 1024)
#define HEADER_BYTES_MAX 65536
/* A body that fits the processor's cache is wanted at once; of a larger one the first byte has left
 * it before the last one comes. */
#define FAR_BODY_BYTES ((uint64_t)1 << 20)

static _Thread_local bool wiping;

void http_wipe_on_free(bool on)
{
	wiping = on;
}

static void curl_free_wiped(void *p)
{
	if (wiping && p)
		wipe(p, malloc_usable_size(p));
	free(p);
}

static void *curl_realloc_wiped(void *p, size_t size)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *bigger;

	if (!wiping)
		return realloc(p, size);
	bigger = malloc(size);
	if (!bigger)
		return NULL;
	if (p)
		memcpy(bigger, p, MIN(old, size));
	curl_free_wiped(p);
	return bigger;
}

static CURLcode global_result = CURLE_FAILED_INIT;

static void global_init_once(void)
{
	global_result = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_free_wiped,
					     curl_realloc_wiped, strdup, calloc);
}

int http_global_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, global_init_once);
	return global_result == CURLE_OK ? 0 : -EIO;
}

static size_t stop(struct http_exchange *x, int code)
{
	x->failure = code;
	return 0;
}

static bool is_success(const struct http_response *resp)
{
	return resp->status >= 200 && resp->status < 300;
}

/* Room for `extra` more bytes and a NUL in the response's own memory. */
static int reserve_body(struct http_exchange *x, size_t extra, size_t limit)
{
	struct http_response *resp = x->resp;
	size_t want = resp->body_size + extra + 1, capacity;
	curl_off_t announced = -1;
	uint8_t *bigger;

	if (want <= x->capacity)
		return 0;
	(void)curl_easy_getinfo(x->handle->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
	capacity = MAX(want, MIN(2 * x->capacity, limit + 1));
	if (announced > 0 && (uint64_t)announced <= limit)
		capacity = MAX(capacity, (size_t)announced + 1);
	bigger = malloc(capacity);
	if (!bigger)
		return -ENOMEM;
	if (resp->body_size > 0)
		memcpy(bigger, resp->body, resp->body_size);
	if (resp->secret_body && resp->body)
		wipe(resp->body, resp->body_size);
	free(resp->body);
	resp->body = bigger;
	x->capacity = capacity;
	return 0;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct http_exchange *x = arg;
	struct http_response *resp = x->resp;
	bool success = is_success(resp);
	size_t limit = success ? x->req->body_max : HTTP_ERROR_BODY_MAX, keep = size * one;
	int r;

	size = keep;
	x->body_started = true;
	if (size > limit - resp->body_size) {
		if (success)
			return stop(x, -E2BIG);
		keep = limit - resp->body_size;
	}
	if (success && x->req->sink) {
		uint8_t *to = x->req->sink + resp->body_size;

		if (x->req->body_max > FAR_BODY_BYTES)
			far_copy(to, data, keep);
		else
			memcpy(to, data, keep);
	} else {
		r = reserve_body(x, keep, limit);
		if (r < 0)
			return stop(x, r);
		memcpy(resp->body + resp->body_size, data, keep);
		resp->body[resp->body_size + keep] = '\0';
	}
	resp->body_size += keep;
	return size;
}

static void forget_headers(struct http_response *resp)
{
	for (size_t i = 0; i < resp->header_count; i++) {
		free(resp->headers[i].name);
		free(resp->headers[i].value);
	}
	resp->header_count = 0;
}

/* "HTTP/1.1 206 Partial Content": a new answer begins (an earlier one was 1xx). */
static int start_answer(struct http_exchange *x, const char *line, size_t size)
{
	const char *space = memchr(line, ' ', size);
	int status = 0;

	forget_headers(x->resp);
	if (!space || (size_t)(line + size - space) < 4)
		return -EPROTO;
	for (int i = 1; i <= 3; i++) {
		if (!isdigit((unsigned char)space[i]))
			return -EPROTO;
		status = status * 10 + (space[i] - '0');
	}
	x->resp->status = status;
	return 0;
}

static int store_header(struct http_response *resp, const char *line, size_t size)
{
	const char *colon = memchr(line, ':', size), *value, *end = line + size;
	_cleanup_free_ char *name = NULL;
	char *copy;

	if (!colon || colon == line)
		return -EPROTO;
	if (resp->header_count == HTTP_RESPONSE_HEADERS_MAX)
		return -EOVERFLOW;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	name = strndup(line, (size_t)(colon - line));
	copy = strndup(value, (size_t)(end - value));
	if (!name || !copy) {
		free(copy);
		return -ENOMEM;
	}
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	resp->headers[resp->header_count].name = steal_ptr(name);
	resp->headers[resp->header_count].value = copy;
	resp->header_count++;
	return 0;
}

/* Refuses a body that is announced to be too large before its first byte. */
static int check_announced(const struct http_exchange *x)
{
	const char *text = http_response_header(x->resp, "content-length");
	size_t size = 0;

	if (!text || !is_success(x->resp) || strcmp(x->req->method, "HEAD") == 0)
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		size = size * 10 + (size_t)(*text - '0');
		if (size > x->req->body_max)
			return -E2BIG;
	}
	return 0;
}

static size_t on_header(char *line, size_t one, size_t count, void *arg)
{
	struct http_exchange *x = arg;
	size_t full = one * count, size = full;
	int r = 0;

	/* Trailers of a chunked body tell nothing that is used here. */
	if (x->body_started)
		return full;
	x->header_bytes += full;
	if (x->header_bytes > HEADER_BYTES_MAX)
		return stop(x, -EOVERFLOW);
	while (size > 0 && (line[size - 1] == '\r' || line[size - 1] == '\n'))
		size--;
	if (size >= 5 && memcmp(line, "HTTP/", 5) == 0)
		r = start_answer(x, line, size);
	else if (size > 0)
		r = store_header(x->resp, line, size);
	else
		r = check_announced(x);
	return r < 0 ? stop(x, r) : full;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	struct http_exchange *x = arg;
	unsigned limit_ms = x->req->stall_timeout_ms ? x->req->stall_timeout_ms : STALL_TIMEOUT_MS;
	int64_t now_ms = clock_monotonic_ms();

	if (atomic_load_explicit(x->cancelled, memory_order_relaxed)) {
		x->failure = -ECANCELED;
		return 1;
	}
	if (down + up != x->last_bytes) {
		x->last_bytes = down + up;
		x->last_progress_ms = now_ms;
	} else if (now_ms - x->last_progress_ms > limit_ms) {
		x->failure = -ETIMEDOUT;
		return 1;
	}
	return 0;
}

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

static int build_headers(const struct http_request *req, struct curl_slist **list)
{
	bool has_type = false;
	int r;

	for (size_t i = 0; i < req->header_count; i++) {
		const struct http_header *h = &req->headers[i];
		_cleanup_free_ char *line = NULL;

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

#define SET(option, value)                                       \
	do {                                                     \
		if (rc == CURLE_OK)                              \
			rc = curl_easy_setopt(c, option, value); \
	} while (0)

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

static CURLcode set_connection(CURL *c, const struct http_exchange *x)
{
	const struct http_request *req = x->req;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PATH_AS_IS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (x->ca_file)
		SET(CURLOPT_CAINFO, x->ca_file);
	if (req->no_proxy)
		SET(CURLOPT_NOPROXY, "*");
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
	SET(CURLOPT_FRESH_CONNECT, (long)req->fresh_connection);
	SET(CURLOPT_CONNECTTIMEOUT_MS,
	    (long)(req->connect_timeout_ms ? req->connect_timeout_ms : CONNECT_TIMEOUT_MS));
	SET(CURLOPT_TIMEOUT_MS, (long)req->total_timeout_ms);
	return rc;
}

static CURLcode set_callbacks(CURL *c, struct http_exchange *x)
{
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_ERRORBUFFER, x->handle->error);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, x);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, x);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, x);
	return rc;
}

static CURLcode set_options(struct http_exchange *x, struct curl_slist *headers)
{
	CURL *c = x->handle->curl;
	CURLcode rc = CURLE_OK;

	SET(CURLOPT_URL, x->req->url);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_USERAGENT, "sealedfs/" SEALEDFS_VERSION);
	if (rc == CURLE_OK)
		rc = set_method(c, x->req);
	if (rc == CURLE_OK)
		rc = set_connection(c, x);
	if (rc == CURLE_OK)
		rc = set_callbacks(c, x);
	return rc;
}

static int connect_errno(CURL *c)
{
	long number = 0;

	(void)curl_easy_getinfo(c, CURLINFO_OS_ERRNO, &number);
	switch (number) {
	case ECONNREFUSED:
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ECONNRESET:
	case ETIMEDOUT:
		return -(int)number;
	default:
		return -EHOSTUNREACH;
	}
}

static int map_code(struct http_exchange *x, CURLcode rc)
{
	if (x->failure)
		return x->failure == -EOVERFLOW ? -EPROTO : x->failure;
	switch (rc) {
	case CURLE_OK:
		return 0;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return connect_errno(x->handle->curl);
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return -ECONNRESET;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
		return -EIO;
	default:
		return -EPROTO;
	}
}

static int report(struct http_exchange *x, CURLcode rc, int code, struct error *err)
{
	const char *host = strstr(x->handle->origin, "://") + 3;
	const struct http_request *req = x->req;

	if (x->failure == -ETIMEDOUT)
		return error_set(err, code, "%s: stalled: no data for %u ms", host,
				 req->stall_timeout_ms ? req->stall_timeout_ms : STALL_TIMEOUT_MS);
	if (x->failure == -ECANCELED)
		return error_set(err, code, "%s: stopped while the request was running", host);
	if (x->failure == -EOVERFLOW)
		return error_set(err, code, "%s: too many headers in the answer", host);
	if (x->failure == -E2BIG)
		return error_set(err, code, "%s: the answer is larger than the %zu bytes allowed",
				 host, req->body_max);
	if (x->failure)
		return error_set(err, code, "%s: bad answer: %s", host, strerror(-code));
	if (code == -EIO)
		error_hint(err, "check the certificate; AWS_CA_BUNDLE names another file of roots");
	return error_set(err, code, "%s: %s", host,
			 x->handle->error[0] ? x->handle->error : curl_easy_strerror(rc));
}

int http_exchange_run(struct http_exchange *x, struct error *err)
{
	struct curl_slist *headers = NULL;
	CURL *c = x->handle->curl;
	CURLcode rc;
	int r;

	/* Keeps connections, forgets every option of the last request. */
	curl_easy_reset(c);
	x->handle->error[0] = '\0';
	x->last_progress_ms = clock_monotonic_ms();
	r = build_headers(x->req, &headers);
	if (r < 0) {
		curl_slist_free_all(headers);
		return error_set(err, r, "cannot build the headers of a request: %s", strerror(-r));
	}
	rc = set_options(x, headers);
	if (rc == CURLE_OK)
		rc = curl_easy_perform(c);
	/* Nothing in the handle may point at this exchange any more. */
	r = map_code(x, rc);
	if (r < 0)
		r = report(x, rc, r, err);
	curl_easy_reset(c);
	curl_slist_free_all(headers);
	return r;
}
