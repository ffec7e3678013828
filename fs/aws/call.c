/*
 * Signed calls. Job: the loop of sign, send, judge, wait. Trusts the services' callbacks for what
 * an answer means. Must never send a request unsigned, retry beyond attempts or deadline, or let a
 * server's text reach a message with control characters in it.
 */
#include "fs/aws/call.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "fs/aws/sigv4.h"
#include "fs/net/dates.h"
#include "fs/net/text.h"
#include "fs/net/url.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Own headers: host, x-amz-date, x-amz-content-sha256, x-amz-security-token, authorization. */
#define OWN_HEADERS 5
/* Beyond this the difference of the clocks explains a refusal. */
#define SKEW_SUSPECT_S 240
/* A body may be sent as slowly as this. */
#define SLOWEST_BYTES_PER_MS 64
#define UPLOAD_EXTRA_MS_MAX ((size_t)24 * 3600 * 1000)

/* State of one operation. */
struct run {
	struct caller *caller;
	struct call *call;
	struct retry retry;
	struct credentials *keys;
	int64_t signed_offset_s; /* clock offset of the last attempt */
	bool tried_credentials;
	bool tried_skew;
	bool tried_region;
};

/* One attempt's outcome, if it was not success. */
struct outcome {
	enum retry_class class;
	int code; /* errno if this is the end; 0: map_failure() decides */
	unsigned attempts_cap;
	int retry_after_s;
	struct call_failure failure; /* status 0: none */
	struct error error;	     /* of network and check() */
};

struct own_headers {
	char *host;
	char stamp[DATE_BASIC_SIZE];
	char hash[SIGV4_HEX_SIZE];
	char *authorization;
	struct http_header list[CALL_HEADERS_MAX + OWN_HEADERS];
	size_t count;
};

static void own_headers_clear(struct own_headers *h)
{
	free(h->host);
	free(h->authorization);
}

static void add_header(struct own_headers *h, const char *name, const char *value)
{
	h->list[h->count++] = (struct http_header){name, value};
}

/* Every body is hashed, over TLS too: it costs 0.7 ms for each MiB, and the server then refuses a
 * body that was changed on the way. */
static int sign(struct run *run, const char *base, const char *path, struct own_headers *h)
{
	const struct call *call = run->call;
	struct sigv4_request req = {
		.method = call->method,
		.query = call->query,
		.path_rule = call->service == AWS_SERVICE_S3 ? SIGV4_PATH_S3 : SIGV4_PATH_GENERAL,
		.region = call->region,
		.service =
			call->signing_name ? call->signing_name : aws_service_name(call->service),
		.path = path,
		.payload_hash = h->hash,
		.headers = h->list,
	};
	int r = sigv4_hash(call->body, call->body_size, h->hash);

	if (r < 0)
		return r;
	h->host = url_host(base);
	if (!h->host)
		return -ENOMEM;
	run->signed_offset_s = atomic_load(&run->caller->clock_offset_s);
	req.time_s = clock_now_s() + run->signed_offset_s;
	date_format_basic(req.time_s, h->stamp);
	for (size_t i = 0; i < call->header_count; i++)
		h->list[h->count++] = call->headers[i];
	add_header(h, "Host", h->host);
	if (call->anonymous)
		return 0;
	add_header(h, "x-amz-date", h->stamp);
	if (call->service == AWS_SERVICE_S3)
		add_header(h, "x-amz-content-sha256", h->hash);
	req.access_key_id = run->keys->access_key_id;
	req.secret_key = run->keys->secret_key;
	if (run->keys->session_token)
		add_header(h, "x-amz-security-token", run->keys->session_token);
	req.header_count = h->count;
	r = sigv4_sign(&req, &h->authorization, NULL);
	if (r < 0)
		return r;
	add_header(h, "Authorization", h->authorization);
	return 0;
}

/* Sends one attempt. Errors are those of building the request or of the network. */
static int send_once(struct run *run, struct http_response *ret, struct error *err)
{
	struct call *call = run->call;
	_cleanup_(own_headers_clear) struct own_headers h = {0};
	_cleanup_free_ char *base = NULL;
	_cleanup_text_ struct text url = {0};
	struct http_request req = {.method = call->method,
				   .body = call->body,
				   .body_size = call->body_size,
				   .sink = call->sink,
				   .body_max = call->body_max,
				   .secret_body = call->secret,
				   .fresh_connection = call->counts,
				   .stall_timeout_ms = run->caller->config->stall_timeout_ms,
				   .total_timeout_ms = retry_left_ms(&run->retry)};
	size_t path_start;
	int r;

	/* 0 would mean that there is no limit. */
	if (req.total_timeout_ms == 0)
		req.total_timeout_ms = 1;
	if (call->answers_late)
		req.stall_timeout_ms = req.total_timeout_ms;
	r = call->base_url(call->arg, call->region, &base);
	if (r < 0)
		return error_set(err, r, "cannot make the URL: %s", strerror(-r));
	text_append(&url, base);
	text_append(&url, call->path);
	if (url.failed)
		return error_set(err, -ENOMEM, "out of memory for a request");
	path_start = (size_t)(strstr(base, "://") - base) + 3;
	path_start += strcspn(base + path_start, "/");
	r = sign(run, base, url.data + path_start, &h);
	if (r < 0)
		return error_set(err, r, "cannot sign the request: %s", strerror(-r));
	if (call->query)
		text_printf(&url, "?%s", call->query);
	if (url.failed)
		return error_set(err, -ENOMEM, "out of memory for a request");
	req.url = url.data;
	req.headers = h.list;
	req.header_count = h.count;
	return http_perform(run->caller->http, &req, ret, err);
}

static void judge_network(int code, struct outcome *o)
{
	o->class = retry_class_network(code);
	/* What does not speak HTTP is no server for us; -EPROTO is for sealed data. */
	o->code = code == -EPROTO ? -EREMOTEIO : code;
	o->attempts_cap = retry_network_cap(code);
}

static void fill_failure(const struct call *call, bool own_server, const struct http_response *resp,
			 struct call_failure *f)
{
	const char *id = http_response_header(resp, "x-amz-request-id");

	f->status = resp->status;
	call->parse_failure(resp, f);
	if (!id)
		id = http_response_header(resp, "x-amzn-requestid");
	if (id)
		text_copy(f->request_id, sizeof(f->request_id), id);
	/* A server may send us to another region, not to another partition's servers. */
	if (f->region[0] &&
	    (!(own_server ? endpoint_region_plain : endpoint_region_valid)(f->region) ||
	     strcmp(endpoint_partition(f->region), endpoint_partition(call->region)) != 0))
		f->region[0] = '\0';
}

/* The server's clock minus ours; what the attempt was signed with when it does not say. */
static int64_t server_offset_s(const struct run *run, const struct http_response *resp)
{
	const char *date = http_response_header(resp, "date");
	int64_t server_s;

	if (!date || date_parse_http(date, &server_s) < 0)
		return run->signed_offset_s;
	return server_s - clock_now_s();
}

static void judge_answer(struct run *run, const struct http_response *resp, struct outcome *o)
{
	const struct call *call = run->call;
	int64_t difference_s = server_offset_s(run, resp) - run->signed_offset_s;
	bool skewed = difference_s > SKEW_SUSPECT_S || difference_s < -SKEW_SUSPECT_S;
	bool elsewhere;
	int r;

	if (resp->status >= 200 && resp->status < 300) {
		r = call->check ? call->check(call->arg, resp, &o->error) : 0;
		o->class = r > 0 ? (enum retry_class)r : RETRY_FATAL;
		o->code = r > 0 ? -EREMOTEIO : r;
		o->attempts_cap = RETRY_NONSENSE_ATTEMPTS;
		return;
	}
	fill_failure(call, run->caller->config->endpoints[call->service] != NULL, resp,
		     &o->failure);
	o->retry_after_s = retry_parse_after(http_response_header(resp, "retry-after"));
	o->class = retry_class_answer(resp->status, o->failure.code);
	elsewhere = o->failure.region[0] && strcmp(o->failure.region, call->region) != 0;
	/* Answers to HEAD have no body: the headers must tell what the code would have. */
	if (o->class == RETRY_FATAL && !o->failure.code[0] &&
	    (resp->status == 400 || resp->status == 403)) {
		if (elsewhere)
			o->class = RETRY_REGION;
		else if (skewed)
			o->class = RETRY_SKEW;
		else if (run->keys && run->keys->session_token)
			o->class = RETRY_CREDENTIALS;
	}
	if (o->class == RETRY_REGION && !elsewhere)
		o->class = RETRY_FATAL;
	if (o->class == RETRY_SKEW && !skewed)
		o->class = RETRY_FATAL;
}

/* Renews the keys; false when there are no others. */
static bool change_keys(struct run *run)
{
	struct credentials *fresh = NULL;

	if (run->tried_credentials || !run->keys)
		return false;
	run->tried_credentials = true;
	if (run->caller->keys(run->caller->keys_arg, run->keys, &fresh, NULL) < 0)
		return false;
	if (credentials_same(fresh, run->keys)) {
		credentials_unref(fresh);
		return false;
	}
	credentials_unref(run->keys);
	run->keys = fresh;
	return true;
}

/* Acts on an outcome. True: try again. */
static bool prepare_retry(struct run *run, const struct outcome *o,
			  const struct http_response *resp, int *ret_canceled)
{
	struct call *call = run->call;
	int64_t wait_ms;

	switch (o->class) {
	case RETRY_FATAL:
		return false;
	case RETRY_CREDENTIALS:
		return change_keys(run);
	case RETRY_SKEW:
		if (run->tried_skew)
			return false;
		run->tried_skew = true;
		atomic_store(&run->caller->clock_offset_s, server_offset_s(run, resp));
		return true;
	case RETRY_REGION:
		if (run->tried_region)
			return false;
		run->tried_region = true;
		text_copy(call->region, sizeof(call->region), o->failure.region);
		return true;
	case RETRY_TRANSIENT:
	case RETRY_THROTTLED:
		break;
	}
	wait_ms = retry_next(&run->retry, o->class, o->attempts_cap, o->retry_after_s);
	if (wait_ms < 0)
		return false;
	if (run->caller->observe) {
		char why[sizeof(o->error.message)];

		(void)snprintf(
			why, sizeof(why), "%s%s%s", o->failure.code, o->failure.code[0] ? ": " : "",
			o->failure.code[0] ? o->failure.message : error_text(&o->error, o->code));
		run->caller->observe(run->caller->observe_arg, call->what, why,
				     o->class == RETRY_THROTTLED &&
					     call->service == AWS_SERVICE_S3);
	}
	log_debug("%s: attempt %u in %lld ms after: %s %s", call->what, run->retry.attempt,
		  (long long)wait_ms, o->failure.code, error_text(&o->error, o->code));
	*ret_canceled = http_client_wait(run->caller->http, (unsigned)wait_ms);
	return true;
}

static int report(const struct run *run, struct outcome *o, struct error *err)
{
	const struct call_failure *f = &o->failure;
	const struct retry *retry = &run->retry;
	double seconds = (double)(monotonic_ms() - retry->start_ms) / 1000;
	char tail[128] = "", id[128] = "";
	int code = o->code;

	if (f->status)
		code = run->call->map_failure(run->call->arg, f, err);
	if ((retry->deadline_hit || (retry_left_ms(retry) == 0 && o->class != RETRY_FATAL)) &&
	    code != -EAGAIN)
		code = -ETIMEDOUT;
	if (retry->attempt > 1)
		(void)snprintf(tail, sizeof(tail), "; gave up after %u attempts in %.1f s",
			       retry->attempt, seconds);
	if (f->request_id[0])
		(void)snprintf(id, sizeof(id), " (request %s)", f->request_id);
	if (o->error.hint[0])
		error_hint(err, "%s", o->error.hint);
	if (f->status)
		return error_set(err, code, "%s: %d%s%s%s%s%s%s", run->call->what, f->status,
				 f->code[0] ? " " : "", f->code, f->message[0] ? ": " : "",
				 f->message, id, tail);
	return error_set(err, code, "%s: %.600s%s", run->call->what, error_text(&o->error, code),
			 tail);
}

/* True if check() finds that the start of an oversized answer is already wrong. */
static bool call_is_nonsense(const struct call *call, const struct http_response *resp,
			     struct outcome *o)
{
	struct error err = {0};

	if (!call->check || call->check(call->arg, resp, &err) <= 0)
		return false;
	o->error = err;
	o->code = -EREMOTEIO;
	o->attempts_cap = RETRY_NONSENSE_ATTEMPTS;
	return true;
}

static void count(atomic_ullong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static int run_attempts(struct run *run, struct http_response *ret, struct error *err)
{
	struct caller_counters *counters = &run->caller->counters[run->call->service];

	for (;;) {
		struct outcome o = {.retry_after_s = -1};
		int canceled = 0, r;

		count(&counters->requests);
		r = send_once(run, ret, &o.error);
		if (r < 0)
			judge_network(r, &o);
		else
			judge_answer(run, ret, &o);
		/* An answer may be too large because it answers something else. */
		if (r == -E2BIG && ret->status && call_is_nonsense(run->call, ret, &o))
			o.class = RETRY_TRANSIENT;
		if (o.class == RETRY_FATAL && o.code == 0 && !o.failure.status)
			return 0;
		if (o.class == RETRY_THROTTLED)
			count(&counters->slow_downs);
		if (!prepare_retry(run, &o, ret, &canceled)) {
			count(&counters->failures);
			return report(run, &o, err);
		}
		http_response_clear(ret);
		if (canceled < 0)
			return error_set(err, canceled, "%s: stopped", run->call->what);
		count(&counters->retries);
	}
}

int call_run(struct caller *caller, struct call *call, struct http_response *ret,
	     unsigned *ret_attempts, struct error *err)
{
	const struct aws_config *config = caller->config;
	unsigned max_attempts = config->max_attempts;
	unsigned deadline_ms = call->deadline_ms ? call->deadline_ms : config->deadline_ms;
	struct run run = {.caller = caller, .call = call};
	int r;

	*ret = (struct http_response){0};
	if (call->max_attempts)
		max_attempts = MIN(max_attempts, call->max_attempts);
	deadline_ms += (unsigned)MIN(call->body_size / SLOWEST_BYTES_PER_MS, UPLOAD_EXTRA_MS_MAX);
	retry_start(&run.retry, max_attempts, deadline_ms);
	r = call->anonymous ? 0 : caller->keys(caller->keys_arg, NULL, &run.keys, err);
	if (r < 0)
		return error_prefix(err, r, "%s", call->what);
	r = run_attempts(&run, ret, err);
	if (ret_attempts)
		*ret_attempts = run.retry.attempt;
	credentials_unref(run.keys);
	return r;
}
