/*
 * IMDSv2 client. Job: role keys and region of the instance we run on. Trusts the link-local
 * network as every EC2 program does. Must never fall back to version 1, and never send the session
 * token anywhere but to IMDS.
 */
#include "fs/aws/imds.h"

#include "crypto/base/clock.h"
#include "fs/aws/keys.h"
#include "fs/aws/peers.h"
#include "fs/net/text.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define TOKEN_TTL "21600"
#define TOKEN_LIFE_MS (21600 * (int64_t)1000 - 60000)
#define TOKEN_SIZE_MAX 1024
#define ANSWER_SIZE_MAX 65535
#define RETRY_WAIT_MS 100

static const char role_path[] = "/latest/meta-data/iam/security-credentials/";

struct imds {
	const struct aws_config *config;
	struct http_client *http;
	pthread_mutex_t lock;
	char *token; /* guarded by lock, like its end */
	uint64_t token_end_ms;
};

int imds_new(const struct aws_config *config, struct http_client *http, struct imds **ret)
{
	struct imds *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->config = config;
	m->http = http;
	pthread_mutex_init(&m->lock, NULL);
	*ret = m;
	return 0;
}

void imds_free(struct imds *m)
{
	if (!m)
		return;
	text_wipe_free(m->token);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* One request, repeated after a network error or 5xx as often as configured. */
static int ask(struct imds *m, const char *method, const char *path,
	       const struct http_header *header, struct http_response *ret, struct error *err)
{
	_cleanup_free_ char *url = NULL;
	struct http_request req = {.method = method,
				   .headers = header,
				   .header_count = 1,
				   .body_max = ANSWER_SIZE_MAX,
				   .connect_timeout_ms = m->config->imds_timeout_ms,
				   .total_timeout_ms = 2 * m->config->imds_timeout_ms,
				   .peer = &aws_metadata_peer,
				   .secret_body = true};
	int r;

	if (asprintf(&url, "%s%s", m->config->imds_endpoint, path) < 0) {
		url = NULL;
		return error_set(err, -ENOMEM, "out of memory for a metadata request");
	}
	req.url = url;
	r = http_perform_repeatedly(m->http, &req, m->config->imds_attempts, RETRY_WAIT_MS, ret,
				    err);
	return r < 0 ? error_prefix(err, r, "instance metadata") : 0;
}

/* The body as text; NULL when it is empty or has a NUL in it. */
static char *answer_text(const struct http_response *resp)
{
	char *text = (char *)resp->body;

	return text && text[0] && strlen(text) == resp->body_size ? text : NULL;
}

static int fetch_token(struct imds *m, char **ret, struct error *err)
{
	const struct http_header ttl = {"x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL};
	_cleanup_http_response_ struct http_response resp = {0};
	int r = ask(m, "PUT", "/latest/api/token", &ttl, &resp, err);
	const char *token;

	if (r < 0)
		return r;
	if (resp.status == 403)
		return error_set(err, -EKEYREJECTED,
				 "instance metadata is switched off for this instance (403)");
	if (resp.status == 404 || resp.status == 405)
		return error_set(err, -EREMOTEIO, "instance metadata: no IMDSv2 at %s (%d)",
				 m->config->imds_endpoint, resp.status);
	if (resp.status != 200)
		return error_set(err, -EREMOTEIO, "instance metadata: no session token (%d)",
				 resp.status);
	token = answer_text(&resp);
	if (!token || resp.body_size > TOKEN_SIZE_MAX || !text_is_graphic(token))
		return error_set(err, -EREMOTEIO, "instance metadata: malformed session token");
	*ret = strdup(token);
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory for a metadata token");
}

/* A copy of the current token, a new one if need be. refused: one that got a 401. */
static int get_token(struct imds *m, const char *refused, char **ret, struct error *err)
{
	_cleanup_(text_wipe_freep) char *fresh = NULL;
	int r;

	pthread_mutex_lock(&m->lock);
	if (m->token && monotonic_ms() < m->token_end_ms &&
	    !(refused && strcmp(refused, m->token) == 0))
		fresh = strdup(m->token);
	pthread_mutex_unlock(&m->lock);
	if (fresh) {
		*ret = steal_ptr(fresh);
		return 0;
	}
	r = fetch_token(m, &fresh, err);
	if (!fresh)
		return r;
	pthread_mutex_lock(&m->lock);
	text_wipe_free(m->token);
	m->token = strdup(fresh);
	m->token_end_ms = monotonic_ms() + TOKEN_LIFE_MS;
	pthread_mutex_unlock(&m->lock);
	*ret = steal_ptr(fresh);
	return 0;
}

/*
 * GET with a token; a 401 means that it has expired: once more with a new one. *ret_text points
 * into *ret. -ENOENT sets no message.
 */
static int get(struct imds *m, const char *path, struct http_response *ret, char **ret_text,
	       struct error *err)
{
	_cleanup_(text_wipe_freep) char *token = NULL;
	int r;

	if (m->config->imds_disabled)
		return error_set(err, -EINVAL,
				 "instance metadata: disabled by "
				 "AWS_EC2_METADATA_DISABLED");
	r = get_token(m, NULL, &token, err);
	if (!token)
		return r;
	r = ask(m, "GET", path, &(struct http_header){"x-aws-ec2-metadata-token", token}, ret, err);
	if (r >= 0 && ret->status == 401) {
		_cleanup_(text_wipe_freep) char *fresh = NULL;

		http_response_clear(ret);
		r = get_token(m, token, &fresh, err);
		if (!fresh)
			return r;
		r = ask(m, "GET", path, &(struct http_header){"x-aws-ec2-metadata-token", fresh},
			ret, err);
	}
	if (r < 0)
		return r;
	if (ret->status == 404)
		return -ENOENT;
	if (ret->status == 401 || ret->status == 403)
		return error_set(err, -EKEYREJECTED, "instance metadata: %s refused (%d)", path,
				 ret->status);
	*ret_text = ret->status == 200 ? answer_text(ret) : NULL;
	if (!*ret_text)
		return error_set(err, -EREMOTEIO, "instance metadata: %s: unusable answer (%d)",
				 path, ret->status);
	return 0;
}

int imds_credentials(struct imds *m, struct credentials **ret, struct error *err)
{
	_cleanup_http_response_ struct http_response role = {0}, keys = {0};
	_cleanup_text_ struct text path = {0};
	char *name = NULL, *document = NULL;
	int r;

	r = get(m, role_path, &role, &name, err);
	if (r == -ENOENT) {
		error_hint(err, "attach an IAM role to this instance");
		return error_set(err, -EAGAIN, "instance metadata: this instance has no IAM role");
	}
	if (!name)
		return r;
	/* One role an instance; a list would have line ends. */
	name[strcspn(name, "\r\n")] = '\0';
	if (!name[0] || !text_is_graphic(name))
		return error_set(err, -EREMOTEIO, "instance metadata: malformed role name");
	text_append(&path, role_path);
	text_append_uri(&path, name, strlen(name), false);
	if (path.failed)
		return error_set(err, -ENOMEM, "out of memory for a metadata request");
	r = get(m, path.data, &keys, &document, err);
	if (!document)
		return error_set(err, r == -ENOENT ? -EAGAIN : r,
				 "instance metadata: no keys for role %.100s", name);
	r = credentials_parse_json(document, strlen(document), "instance metadata", ret, err);
	return r < 0 ? error_prefix(err, r, "instance metadata: role %.100s", name) : 0;
}

int imds_region(struct imds *m, char **ret, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = {0};
	char *region = NULL;
	int r = get(m, "/latest/meta-data/placement/region", &resp, &region, err);

	if (!region)
		return error_set(err, r, "instance metadata: no region");
	if (!endpoint_region_valid(region))
		return error_set(err, -EREMOTEIO, "instance metadata: malformed region");
	*ret = strdup(region);
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory for the region");
}
