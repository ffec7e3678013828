/*
 * Fuzz target: requests to the evidence endpoint, through its parsers and, as they are, through
 * the running HTTP server (libmicrohttpd and tools/serve/serve_http.c, without a TPM). Each
 * connection must end with a whole answer or with none; a broken promise aborts.
 */
#include "tools/serve/serve_http.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_target(const char *method, const char *uri)
{
	struct serve_request r;
	const char *why = NULL, *allow = NULL;
	unsigned status = serve_request_parse(method, uri, &r, &why, &allow);

	promise(status == 0 || (why && (status == 405) == (allow != NULL)));
	promise(status == 0 || status == 400 || status == 404 || status == 405 || status == 414);
	if (status == 0 && r.what == SERVE_EVIDENCE)
		promise(r.nonce.size >= SERVE_NONCE_MIN && r.nonce.size <= SERVE_NONCE_MAX);
}

static void check_body(const uint8_t *data, size_t size)
{
	struct serve_nonce nonce;
	json_t *evidence = NULL;
	int r = serve_body_parse(data, size, &nonce, &evidence, NULL);

	promise(r == 0 || r == -EPROTO);
	promise((r == 0) == (evidence != NULL));
	promise(r < 0 || (nonce.size >= SERVE_NONCE_MIN && nonce.size <= SERVE_NONCE_MAX));
	json_decref(evidence);
}

struct endpoint {
	struct sockaddr_un address;
	socklen_t size;
};

/* On a socket without a name in the file system. require: a policy file or NULL. */
static void start(const char *require, struct endpoint *ret)
{
	struct serve_site_options options = {
		.evidence = {.tcti = "device:/nonexistent",
			     .event_log = "/nonexistent/log",
			     .pcr = 15},
		.rate_per_minute = 60000000,
		.require = require,
	};
	struct serve_site *site = NULL;
	struct serve_http *http = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ret->address.sun_family = AF_UNIX;
	promise(bind(fd, (const struct sockaddr *)&ret->address,
		     offsetof(struct sockaddr_un, sun_path)) == 0);
	ret->size = sizeof(ret->address);
	promise(getsockname(fd, (struct sockaddr *)&ret->address, &ret->size) == 0);
	promise(listen(fd, 16) == 0);
	promise(serve_site_new(&options, &site, NULL) == 0);
	promise(serve_http_start(fd, site, &http, NULL) == 0);
}

/* Two for all inputs: one answers anybody, the other only those who fit an empty policy. */
static const struct endpoint *endpoints(void)
{
	static struct endpoint both[2];
	static bool started;
	char policy[] = "/tmp/fuzz-serve.XXXXXX";
	int fd;

	if (started)
		return both;
	fd = mkstemp(policy);
	promise(fd >= 0 && write(fd, "{}", 2) == 2 && close(fd) == 0);
	start(NULL, &both[0]);
	start(policy, &both[1]);
	promise(unlink(policy) == 0);
	started = true;
	return both;
}

static void check_exchange(const struct endpoint *to, const uint8_t *data, size_t size)
{
	static const char begin[] = "HTTP/1.";
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char answer[4096];
	size_t total = 0;
	ssize_t n;

	promise(connect(fd, (const struct sockaddr *)&to->address, to->size) == 0);
	(void)send(fd, data, size, MSG_NOSIGNAL);
	(void)shutdown(fd, SHUT_WR);
	while ((n = recv(fd, answer + total, sizeof(answer) - total, 0)) > 0)
		total += (size_t)n;
	promise(total == 0 ||
		(total >= sizeof(begin) - 1 && memcmp(answer, begin, sizeof(begin) - 1) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = strndup((const char *)data, size);

	promise(text);
	check_target("GET", text);
	check_target("POST", text);
	check_target(text, "/v1/evidence");
	check_body(data, size);
	check_exchange(&endpoints()[0], data, size);
	check_exchange(&endpoints()[1], data, size);
	return 0;
}
