/*
 * Container credentials. Job: one GET to the agent that the environment names. The environment may
 * be written by an attacker who wants the token: only https, loopback and the agents' own
 * link-local addresses are used. Must never send the authorization token through a proxy.
 */
#include "fs/aws/container.h"

#include "fs/aws/config.h"
#include "fs/aws/keys.h"
#include "fs/aws/peers.h"
#include "fs/aws/token_file.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define ANSWER_SIZE_MAX 10000
#define TOKEN_SIZE_MAX 16384
#define TIMEOUT_MS 2000
#define ATTEMPTS 3
#define RETRY_WAIT_MS 200

static const char relative_variable[] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
static const char full_variable[] = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

bool container_configured(void)
{
	return aws_env(relative_variable) || aws_env(full_variable);
}

static int build_uri(char **ret, struct error *err)
{
	const char *relative = aws_env(relative_variable), *full = aws_env(full_variable);
	_cleanup_free_ char *uri = NULL;
	int r;

	if (relative && relative[0] != '/')
		return error_set(err, -EINVAL, "%s must begin with /", relative_variable);
	if (asprintf(&uri, "%s%s", relative ? "http://169.254.170.2" : full,
		     relative ? relative : "") < 0) {
		uri = NULL;
		return error_set(err, -ENOMEM, "out of memory for container credentials");
	}
	if (!text_is_graphic(uri) || strchr(uri, '@'))
		return error_set(err, -EINVAL, "the container credentials URI is malformed");
	r = transport_check(uri, full_variable, &aws_container_peer, NULL, err);
	if (r == 0)
		*ret = steal_ptr(uri);
	return r;
}

static int load_token(char **ret, struct error *err)
{
	const char *path = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	int r;

	if (path) {
		/* Read for each request: the agent replaces the file. */
		r = token_file_read(path, TOKEN_SIZE_MAX, ret, err);
		if (r < 0)
			return error_set(err, r, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE %s: %s",
					 path, strerror(-r));
	} else if (token) {
		*ret = strdup(token);
		if (!*ret)
			return error_set(err, -ENOMEM, "out of memory for a token");
	}
	if (*ret && (strlen(*ret) > TOKEN_SIZE_MAX || strpbrk(*ret, "\r\n")))
		return error_set(err, -EINVAL,
				 "the container authorization token is too large, or contains a "
				 "line break");
	return 0;
}

static int ask(struct http_client *http, const char *uri, const char *token,
	       struct http_response *ret, struct error *err)
{
	const struct http_header header = {"Authorization", token};
	const struct http_request req = {.method = "GET",
					 .url = uri,
					 .headers = &header,
					 .header_count = token ? 1 : 0,
					 .body_max = ANSWER_SIZE_MAX,
					 .connect_timeout_ms = TIMEOUT_MS,
					 .total_timeout_ms = TIMEOUT_MS,
					 .peer = &aws_container_peer,
					 .secret_body = true};

	return http_perform_repeatedly(http, &req, ATTEMPTS, RETRY_WAIT_MS, ret, err);
}

int container_credentials(struct http_client *http, struct credentials **ret, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = {0};
	_cleanup_(text_wipe_freep) char *token = NULL;
	_cleanup_free_ char *uri = NULL;
	int r = build_uri(&uri, err);

	if (r < 0)
		return r;
	r = load_token(&token, err);
	if (r >= 0)
		r = ask(http, uri, token, &resp, err);
	if (r < 0)
		return error_prefix(err, r, "container credentials");
	if (resp.status != 200)
		return error_set(err, resp.status >= 500 ? -EREMOTEIO : -EKEYREJECTED,
				 "container credentials: the agent answered %d", resp.status);
	r = credentials_parse_json(resp.body, resp.body_size, "container agent", ret, err);
	return r < 0 ? error_prefix(err, r, "container credentials") : 0;
}
