/*
 * AWS STS. Job: one POST that turns a web identity token, or other keys, into keys of a role.
 * Trusts STS over TLS (or an endpoint that the user configured). Must never put a token or key
 * into a message, nor leave one in memory that is given back.
 */
#include "fs/net/sts.h"

#include "crypto/base/fileio.h"
#include "fs/net/call.h"
#include "fs/net/clock.h"
#include "fs/net/imds.h"
#include "fs/net/retry.h"
#include "fs/net/sigv4.h"
#include "fs/net/text.h"
#include "fs/net/xml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define API_VERSION "2011-06-15"
#define DEFAULT_SESSION_NAME "sealedfs"
#define WEB_TOKEN_MAX ((size_t)20000) /* STS's own limit */
#define ROLE_ARN_MAX 2048
#define ANSWER_SIZE_MAX 65536
#define CONNECT_MS 3000
#define TOTAL_MS 10000
#define ATTEMPTS 3
#define RETRY_WAIT_MS 300
#define SKEW_SUSPECT_S 240

struct answer {
	char prefix[128]; /* "ACTIONResponse/ACTIONResult/Credentials/" */
	char id[256], key[256], token[XML_TEXT_MAX], expiration[64];
};

static int take_member(void *arg, const char *path, const char *text)
{
	struct answer *a = arg;
	const struct {
		const char *name;
		char *to;
		size_t size;
	} members[] = {
		{"AccessKeyId", a->id, sizeof(a->id)},
		{"SecretAccessKey", a->key, sizeof(a->key)},
		{"SessionToken", a->token, sizeof(a->token)},
		{"Expiration", a->expiration, sizeof(a->expiration)},
	};
	size_t length = strlen(text);

	if (strncmp(path, a->prefix, strlen(a->prefix)) != 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (strcmp(path + strlen(a->prefix), members[i].name) != 0)
			continue;
		if (members[i].to[0] || length >= members[i].size)
			return -EPROTO;
		memcpy(members[i].to, text, length + 1);
	}
	return 0;
}

static int to_credentials(const struct answer *a, const char *source, struct credentials **ret,
			  struct error *err)
{
	int64_t expires_s = 0;
	int r;

	if (!a->id[0] || !a->key[0] || !a->token[0] || !a->expiration[0])
		return error_set(err, -EREMOTEIO,
				 "the answer lacks AccessKeyId, SecretAccessKey, SessionToken or "
				 "Expiration");
	if (clock_parse_rfc3339(a->expiration, &expires_s) < 0)
		return error_set(err, -EREMOTEIO, "malformed Expiration");
	r = credentials_new(a->id, a->key, a->token, expires_s, source, ret);
	if (r == -EINVAL)
		return error_set(err, -EREMOTEIO, "malformed keys");
	return r < 0 ? error_set(err, r, "out of memory for keys") : 0;
}

int sts_parse_answer(const void *data, size_t size, const char *action, const char *source,
		     struct credentials **ret, struct error *err)
{
	struct answer *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_set(err, -ENOMEM, "out of memory for keys");
	(void)snprintf(a->prefix, sizeof(a->prefix), "%sResponse/%sResult/Credentials/", action,
		       action);
	r = data ? xml_parse(data, size, take_member, a) : -EPROTO;
	if (r == 0)
		r = to_credentials(a, source, ret, err);
	else
		r = error_set(err, r == -ENOMEM ? r : -EREMOTEIO, "the answer makes no sense");
	wipe(a, sizeof(*a));
	free(a);
	return r;
}

static int take_failure(void *arg, const char *path, const char *text)
{
	struct call_failure *f = arg;

	if (strcmp(path, "ErrorResponse/Error/Code") == 0)
		call_copy_text(f->code, sizeof(f->code), text);
	else if (strcmp(path, "ErrorResponse/Error/Message") == 0)
		call_copy_text(f->message, sizeof(f->message), text);
	return 0;
}

/* One request for keys. */
struct exchange {
	const struct sts *sts;
	const struct credentials *signer; /* NULL: not signed */
	const char *action;
	char region[ENDPOINT_REGION_MAX];
	char *url; /* with the path */
	struct text body;
	int64_t offset_s; /* the server's clock minus ours */
};

static void exchange_clear(struct exchange *x)
{
	text_clear(&x->body);
	free(x->url);
}

static int find_region(struct exchange *x, struct error *err)
{
	const struct aws_config *c = x->sts->config;
	_cleanup_free_ char *found = NULL;
	const char *region = c->region;

	if (!region && x->sts->imds && !c->imds_disabled &&
	    imds_region(x->sts->imds, &found, NULL) == 0)
		region = found;
	if (!region && c->sts_endpoint)
		region = "us-east-1";
	if (!region) {
		error_hint(err, "set AWS_REGION, or region in ~/.aws/config");
		return error_set(err, -EINVAL, "no AWS region is configured for STS");
	}
	call_copy_text(x->region, sizeof(x->region), region);
	return 0;
}

static int find_url(struct exchange *x, struct error *err)
{
	const struct aws_config *c = x->sts->config;
	const struct endpoint_params p = {.service = "sts",
					  .region = x->region,
					  .override = c->sts_endpoint,
					  .fips = c->fips,
					  .dualstack = c->dualstack};
	_cleanup_free_ char *base = NULL;
	int r = endpoint_url(&p, &base);

	if (r == 0 && asprintf(&x->url, "%s/", base) < 0) {
		x->url = NULL;
		r = -ENOMEM;
	}
	return r < 0 ? error_set(err, r, "cannot make the URL of STS: %s", strerror(-r)) : 0;
}

struct headers {
	char stamp[CLOCK_BASIC_SIZE];
	char hash[SIGV4_HEX_SIZE];
	char *host, *authorization;
	struct http_header list[5];
	size_t count;
};

static void headers_clear(struct headers *h)
{
	free(h->host);
	free(h->authorization);
}

static int sign(const struct exchange *x, struct headers *h)
{
	const char *path = strstr(x->url, "://") + 3;
	struct sigv4_request req = {.method = "POST",
				    .path = path + strcspn(path, "/"),
				    .headers = h->list,
				    .payload_hash = h->hash,
				    .path_rule = SIGV4_PATH_GENERAL,
				    .region = x->region,
				    .service = "sts",
				    .time_s = clock_now_s() + x->offset_s,
				    .access_key_id = x->signer->access_key_id,
				    .secret_key = x->signer->secret_key};
	int r = sigv4_hash(x->body.data, x->body.size, h->hash);

	h->host = endpoint_host(x->url);
	if (r < 0 || !h->host)
		return r < 0 ? r : -ENOMEM;
	clock_format_basic(req.time_s, h->stamp);
	h->list[h->count++] = (struct http_header){"Host", h->host};
	h->list[h->count++] = (struct http_header){"x-amz-date", h->stamp};
	if (x->signer->session_token)
		h->list[h->count++] =
			(struct http_header){"x-amz-security-token", x->signer->session_token};
	req.header_count = h->count;
	r = sigv4_sign(&req, &h->authorization, NULL);
	if (r == 0)
		h->list[h->count++] = (struct http_header){"Authorization", h->authorization};
	return r;
}

static int send_once(const struct exchange *x, struct http_response *ret, struct error *err)
{
	_cleanup_(headers_clear) struct headers h = {0};
	struct http_request req = {.method = "POST",
				   .url = x->url,
				   .headers = h.list,
				   .body = x->body.data,
				   .body_size = x->body.size,
				   .body_max = ANSWER_SIZE_MAX,
				   .connect_timeout_ms = CONNECT_MS,
				   .total_timeout_ms = TOTAL_MS,
				   .secret_body = true};
	int r;

	h.list[h.count++] =
		(struct http_header){"Content-Type", "application/x-www-form-urlencoded"};
	r = x->signer ? sign(x, &h) : 0;
	if (r < 0)
		return error_set(err, r, "cannot sign the request: %s", strerror(-r));
	req.header_count = h.count;
	return http_perform(x->sts->http, &req, ret, err);
}

/* True: our clock explains the refusal, and the next attempt goes by the server's. */
static bool follow_clock(struct exchange *x, const struct http_response *resp)
{
	const char *date = http_response_header(resp, "date");
	int64_t server_s, difference_s;

	if (!x->signer || x->offset_s || !date || clock_parse_http(date, &server_s) < 0)
		return false;
	difference_s = server_s - clock_now_s();
	if (difference_s > -SKEW_SUSPECT_S && difference_s < SKEW_SUSPECT_S)
		return false;
	x->offset_s = difference_s;
	return true;
}

/* 0: an answer to take; 1: try again; else final. */
static int judge(struct exchange *x, int sent, const struct http_response *resp, struct error *err)
{
	struct call_failure f = {.status = resp->status};
	enum retry_class class;

	if (sent == -ECANCELED || sent == -EINVAL || sent == -ENOMEM)
		return sent;
	if (sent < 0)
		return 1;
	if (resp->status == 200)
		return 0;
	if (resp->body)
		(void)xml_parse(resp->body, resp->body_size, take_failure, &f);
	class = retry_class_answer(f.status, f.code);
	if (strcmp(f.code, "IDPCommunicationError") == 0)
		class = RETRY_TRANSIENT;
	(void)error_set(err,
			f.status >= 500 || class == RETRY_THROTTLED ? -EREMOTEIO : -EKEYREJECTED,
			"%d%s%s%s%s", f.status, f.code[0] ? " " : "", f.code,
			f.message[0] ? ": " : "", f.message);
	if (class == RETRY_TRANSIENT || class == RETRY_THROTTLED || follow_clock(x, resp))
		return 1;
	return f.status >= 500 ? -EREMOTEIO : -EKEYREJECTED;
}

static int run(struct exchange *x, const char *source, struct credentials **ret, struct error *err)
{
	int r = find_region(x, err);

	if (r == 0 && x->body.failed)
		r = error_set(err, -ENOMEM, "out of memory for a request to STS");
	if (r == 0)
		r = find_url(x, err);
	if (r < 0)
		return r;
	for (unsigned attempt = 1;; attempt++) {
		_cleanup_http_response_ struct http_response resp = {0};
		struct error last = {0};

		r = send_once(x, &resp, &last);
		r = judge(x, r, &resp, &last);
		if (r == 0)
			return sts_parse_answer(resp.body, resp.body_size, x->action, source, ret,
						err);
		if (r < 0 || attempt == ATTEMPTS) {
			r = last.code ? last.code : r;
			return error_set(err, r, "%s", error_text(&last, r));
		}
		if (http_client_wait(x->sts->http, RETRY_WAIT_MS * attempt) < 0)
			return error_set(err, -ECANCELED, "stopped");
	}
}

static void add_parameter(struct text *body, const char *name, const char *value, size_t size)
{
	text_printf(body, "&%s=", name);
	text_append_uri(body, value, size, false);
}

/* Roles and names come from the user's own files; STS has the last word on them. */
static int start(struct exchange *x, const struct sts_role *role, struct error *err)
{
	const char *session = role->session_name ? role->session_name : DEFAULT_SESSION_NAME;
	unsigned long duration;
	char *end = NULL;

	if (strncmp(role->arn, "arn:", 4) != 0 || strlen(role->arn) > ROLE_ARN_MAX)
		return error_set(err, -EINVAL, "not the ARN of a role: %.100s", role->arn);
	x->body.secret = true;
	text_printf(&x->body, "Action=%s&Version=" API_VERSION, x->action);
	add_parameter(&x->body, "RoleArn", role->arn, strlen(role->arn));
	add_parameter(&x->body, "RoleSessionName", session, strlen(session));
	if (role->external_id)
		add_parameter(&x->body, "ExternalId", role->external_id, strlen(role->external_id));
	if (!role->duration_s)
		return 0;
	duration = strtoul(role->duration_s, &end, 10);
	if (!isdigit((unsigned char)role->duration_s[0]) || *end || duration < 900 ||
	    duration > 43200)
		return error_set(err, -EINVAL, "duration_seconds must be 900 to 43200, not %.40s",
				 role->duration_s);
	text_printf(&x->body, "&DurationSeconds=%lu", duration);
	return 0;
}

/* Read anew each time: whoever writes it replaces it. */
static int add_token(struct exchange *x, const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *token = fd < 0 ? NULL : malloc(WEB_TOKEN_MAX + 2);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return error_set(err, errno == ENOENT ? -EAGAIN : -EINVAL,
				 "cannot read the web identity token %s: %s", path,
				 strerror(errno));
	if (!token)
		return error_set(err, -ENOMEM, "out of memory for a token");
	n = file_read(fd, token, WEB_TOKEN_MAX + 2);
	while (n > 0 && isspace((unsigned char)token[n - 1]))
		n--;
	if (n < 4 || (size_t)n > WEB_TOKEN_MAX)
		r = error_set(err, n < 0 ? -EINVAL : -EAGAIN, "no web identity token is in %s",
			      path);
	for (ssize_t i = 0; r == 0 && i < n; i++)
		if (token[i] <= ' ' || token[i] > '~')
			r = error_set(err, -EINVAL, "%s is no web identity token", path);
	if (r == 0)
		add_parameter(&x->body, "WebIdentityToken", token, (size_t)n);
	wipe(token, WEB_TOKEN_MAX + 2);
	free(token);
	return r;
}

int sts_assume_with_token(const struct sts *sts, const struct sts_role *role,
			  const char *token_file, struct credentials **ret, struct error *err)
{
	_cleanup_(exchange_clear) struct exchange x = {.sts = sts,
						       .action = "AssumeRoleWithWebIdentity"};
	int r = start(&x, role, err);

	if (r == 0)
		r = add_token(&x, token_file, err);
	if (r == 0)
		r = run(&x, "web identity", ret, err);
	return r < 0 ? error_prefix(err, r, "web identity for %s", role->arn) : 0;
}

int sts_assume(const struct sts *sts, const struct sts_role *role, const struct credentials *source,
	       struct credentials **ret, struct error *err)
{
	_cleanup_(exchange_clear) struct exchange x = {
		.sts = sts, .action = "AssumeRole", .signer = source};
	int r = start(&x, role, err);

	if (r == 0)
		r = run(&x, "assumed role", ret, err);
	return r < 0 ? error_prefix(err, r, "assuming %s with keys from %s", role->arn,
				    source->source)
		     : 0;
}
