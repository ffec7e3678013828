/*
 * Container credentials. Job: one GET to the agent that the environment names. The environment may
 * be written by someone who wants the token: only https, loopback and the agents' own link-local
 * addresses are asked. Must never send the authorization token through a proxy.
 */
#include "fs/net/container.h"

#include "crypto/base/secret.h"
#include "fs/net/credentials.h"
#include "fs/net/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#define ANSWER_SIZE_MAX 10000
#define TOKEN_SIZE_MAX 16384
#define TIMEOUT_MS 2000
#define ATTEMPTS 3
#define RETRY_WAIT_MS 200

static const char relative_variable[] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
static const char full_variable[] = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

bool container_configured(void)
{
	return env(relative_variable) || env(full_variable);
}

bool container_uri_allowed(const char *uri)
{
	static const char *const hosts[] = {"localhost",      "127.",  "169.254.170.2",
					    "169.254.170.23", "[::1]", "[fd00:ec2::23]"};
	const char *host = uri + strlen("http://");
	size_t size;

	if (strncasecmp(uri, "https://", 8) == 0)
		return true;
	if (strncasecmp(uri, "http://", 7) != 0)
		return false;
	size = strcspn(host, host[0] == '[' ? "]" : ":/?#");
	size += host[size] == ']';
	if (host[size] && !strchr(":/?#", host[size]))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		if (strcmp(hosts[i], "127.") == 0) {
			/* The loopback network, but not a name that starts like it. */
			if (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == size)
				return true;
		} else if (size == strlen(hosts[i]) && strncasecmp(host, hosts[i], size) == 0) {
			return true;
		}
	}
	return false;
}

static int build_uri(char **ret, struct error *err)
{
	const char *relative = env(relative_variable), *full = env(full_variable);
	_cleanup_free_ char *uri = NULL;

	if (relative && relative[0] != '/')
		return error_set(err, -EINVAL, "%s must begin with /", relative_variable);
	if (!relative && !container_uri_allowed(full))
		return error_set(err, -EINVAL,
				 "%s: only https, loopback and the container agents' addresses "
				 "may be asked",
				 full_variable);
	if (asprintf(&uri, "%s%s", relative ? "http://169.254.170.2" : full,
		     relative ? relative : "") < 0) {
		uri = NULL;
		return error_set(err, -ENOMEM, "out of memory for container credentials");
	}
	for (const char *p = uri; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '@')
			return error_set(err, -EINVAL,
					 "the container credentials URI is malformed");
	*ret = steal_ptr(uri);
	return 0;
}

/* Read anew each time: the agent replaces the file. */
static int read_token_file(const char *path, char *out, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, TOKEN_SIZE_MAX);

	if (n < 0 || n == TOKEN_SIZE_MAX)
		return error_set(err, n < 0 ? -errno : -E2BIG,
				 "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE %s: %s", path,
				 n < 0 ? strerror(errno) : "too large");
	out[n] = '\0';
	return 0;
}

static int load_token(char *out, struct error *err)
{
	const char *path = env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	int r;

	out[0] = '\0';
	if (path) {
		r = read_token_file(path, out, err);
		if (r < 0)
			return r;
	} else if (token) {
		if (strlen(token) >= TOKEN_SIZE_MAX)
			return error_set(err, -E2BIG,
					 "AWS_CONTAINER_AUTHORIZATION_TOKEN is too large");
		memcpy(out, token, strlen(token) + 1);
	}
	if (strpbrk(out, "\r\n"))
		return error_set(err, -EINVAL,
				 "the container authorization token contains a line break");
	return 0;
}

static int ask(struct http_client *http, const char *uri, const char *token,
	       struct http_response *ret, struct error *err)
{
	const struct http_header header = {"Authorization", token};
	const struct http_request req = {.method = "GET",
					 .url = uri,
					 .headers = &header,
					 .header_count = token[0] ? 1 : 0,
					 .body_max = ANSWER_SIZE_MAX,
					 .connect_timeout_ms = TIMEOUT_MS,
					 .total_timeout_ms = TIMEOUT_MS,
					 .no_proxy = true,
					 .secret_body = true};

	for (unsigned attempt = 1;; attempt++) {
		struct error last = {0};
		int r = http_perform(http, &req, ret, &last);

		if ((r >= 0 && ret->status < 500) || r == -ECANCELED || attempt == ATTEMPTS) {
			if (r < 0 && err && !err->code)
				*err = last;
			return r < 0 ? error_prefix(err, r, "container credentials") : 0;
		}
		http_response_clear(ret);
		if (http_client_wait(http, RETRY_WAIT_MS) < 0)
			return error_set(err, -ECANCELED, "container credentials: stopped");
	}
}

int container_credentials(struct http_client *http, struct credentials **ret, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = {0};
	_cleanup_free_ char *uri = NULL;
	char token[TOKEN_SIZE_MAX + 1];
	int r;

	r = build_uri(&uri, err);
	if (r < 0)
		return r;
	r = load_token(token, err);
	if (r >= 0)
		r = ask(http, uri, token, &resp, err);
	wipe(token, sizeof(token));
	if (r < 0)
		return r;
	if (resp.status != 200)
		return error_set(err, resp.status >= 500 ? -EREMOTEIO : -EKEYREJECTED,
				 "container credentials: the agent answered %d", resp.status);
	r = credentials_parse_json(resp.body, resp.body_size, "container agent", ret, err);
	return r < 0 ? error_prefix(err, r, "container credentials") : 0;
}
