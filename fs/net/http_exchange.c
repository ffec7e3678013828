/*
 * One HTTP exchange on one libcurl handle. Job: store the response within its limits, and turn
 * libcurl's codes into errno. Trusts libcurl's framing of the response, not the response. Must
 * never store a byte before the limit was checked.
 */
#include "crypto/base/clock.h"
#include "crypto/base/secret.h"
#include "fs/net/far_copy.h"
#include "fs/net/http_internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define STALL_TIMEOUT_MS 30000
#define HEADER_BYTES_MAX 65536
/* A body that fits the processor's cache is wanted at once; of a larger one the first byte has left
 * it before the last one comes. */
#define FAR_BODY_BYTES ((uint64_t)1 << 20)

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

/* "HTTP/1.1 206 Partial Content": a new answer begins (an earlier one was 1xx). */
static int start_answer(struct http_exchange *x, const char *line, size_t size)
{
	const char *space = memchr(line, ' ', size);
	int status = 0;

	http_response_clear_headers(x->resp);
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

static void tell_silence(struct http_exchange *x, unsigned seconds)
{
	const char *host = strstr(x->handle->origin, "://");

	if (!x->silence->observe || seconds == x->silent_s)
		return;
	x->silent_s = seconds;
	x->silence->observe(x->silence->arg, host ? host + 3 : x->handle->origin, seconds);
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	struct http_exchange *x = arg;
	unsigned limit_ms = x->req->stall_timeout_ms ? x->req->stall_timeout_ms : STALL_TIMEOUT_MS;
	uint64_t now_ms = monotonic_ms();

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
	} else {
		tell_silence(x, (unsigned)((now_ms - x->last_progress_ms) / 1000));
	}
	return 0;
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

/* What the proxy refused CONNECT with; 0: it did not. */
static long proxy_refusal(CURL *c)
{
	long status = 0;

	(void)curl_easy_getinfo(c, CURLINFO_HTTP_CONNECTCODE, &status);
	return status / 100 == 2 ? 0 : status;
}

/* Whom the proxy does not know, or may not let through, it will not let through later either. */
static int report_proxy(const char *host, long status, int code, struct error *err)
{
	if (status == 401 || status == 407)
		error_hint(err, "put the proxy's user and password into HTTPS_PROXY, or the server "
				"into NO_PROXY");
	else
		error_hint(err, "see HTTPS_PROXY and NO_PROXY");
	if (status / 100 == 4 && status != 408 && status != 429)
		code = -EINVAL;
	return error_set(err, code, "%s: the proxy answered %ld to CONNECT", host, status);
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
	if (!x->failure && proxy_refusal(x->handle->curl))
		return report_proxy(host, proxy_refusal(x->handle->curl), code, err);
	if (x->failure)
		return error_set(err, code, "%s: bad answer: %s", host, strerror(-code));
	if (code == -EIO)
		error_hint(err, "check the certificate; AWS_CA_BUNDLE names another file of roots");
	return error_set(err, code, "%s: %s", host,
			 x->handle->error[0] ? x->handle->error : curl_easy_strerror(rc));
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

/* The first one that the peer has sent is its own (RFC 8446, 4.4.2). */
static CURLcode keep_certificate(CURL *c, struct http_response *resp)
{
	static const char name[] = "Cert:";
	struct curl_certinfo *info = NULL;
	CURLcode rc = curl_easy_getinfo(c, CURLINFO_CERTINFO, &info);

	if (rc != CURLE_OK || !info || info->num_of_certs < 1)
		return CURLE_SSL_CONNECT_ERROR;
	for (const struct curl_slist *i = info->certinfo[0]; i && !resp->certificate; i = i->next)
		if (strncmp(i->data, name, sizeof(name) - 1) == 0)
			resp->certificate = strdup(i->data + sizeof(name) - 1);
	return resp->certificate ? CURLE_OK : CURLE_SSL_CONNECT_ERROR;
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
	x->last_progress_ms = monotonic_ms();
	r = http_build_headers(x->req, &headers);
	if (r < 0) {
		curl_slist_free_all(headers);
		return error_set(err, r, "cannot build the headers of a request: %s", strerror(-r));
	}
	rc = http_set_options(x, headers);
	if (rc == CURLE_OK)
		rc = set_callbacks(c, x);
	if (rc == CURLE_OK)
		rc = curl_easy_perform(c);
	tell_silence(x, 0);
	if (rc == CURLE_OK && x->req->peer == &transport_evidence && x->transport == TRANSPORT_TLS)
		rc = keep_certificate(c, x->resp);
	/* Nothing in the handle may point at this exchange any more. */
	r = map_code(x, rc);
	if (r < 0 && !x->failure && x->relay) {
		int why = relay_trouble(x->relay, x->authority, err);

		r = why < 0 ? why : r;
	}
	if (r < 0)
		r = report(x, rc, r, err);
	curl_easy_reset(c);
	curl_slist_free_all(headers);
	return r;
}
