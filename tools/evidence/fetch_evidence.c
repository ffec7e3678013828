/*
 * Asking for evidence. Job: one bounded exchange with a server that is not yet verified. Trusts
 * TLS to prove whose key it is, nothing else. Must never follow a redirect, nor send anything
 * secret.
 */
#include "tools/evidence/fetch_evidence.h"

#include "attest/certificate.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "fs/net/http.h"
#include "fs/net/url.h"
#include "tools/common/interrupt.h"
#include "tools/evidence/evidence.h"

#include <errno.h>
#include <string.h>

#define UNIX_PREFIX "unix:"
#define STALL_MS 60000 /* a TPM, behind other callers */
#define TOTAL_MS 120000
#define ATTEMPTS 4 /* while it asks to retry later */
#define PAUSE_MAX_S 20
#define PATH_MAX_BYTES 200

enum { OK = 200, FORBIDDEN = 403, TOO_MANY = 429, UNAVAILABLE = 503, SERVER_ERROR = 500 };

struct evidence_server {
	char *base;	    /* URL without '/' at its end */
	const char *socket; /* of unix:PATH; NULL */
	char *from;
	struct http_client *client;
	uint8_t key[32];
	bool has_key;
};

static void cancel(void *ctx)
{
	http_client_cancel(ctx);
}

int evidence_server_new(const char *from, struct evidence_server **ret, struct error *err)
{
	_cleanup_(evidence_server_freep) struct evidence_server *s = calloc(1, sizeof(*s));
	size_t prefix = strlen(UNIX_PREFIX);
	int r;

	if (!s)
		return -ENOMEM;
	s->from = strdup(from);
	if (!s->from)
		return -ENOMEM;
	if (strncmp(from, UNIX_PREFIX, prefix) == 0) {
		if (from[prefix] != '/')
			return error_set(err, -EINVAL, "%s: wanted is an absolute path", from);
		s->socket = s->from + prefix;
		r = (s->base = strdup("http://localhost")) ? 0 : -ENOMEM;
	} else {
		r = url_check(from, "--from", &s->base, err);
	}
	if (r == 0)
		r = http_client_new(&s->client);
	if (r == 0)
		r = interrupt_hook(cancel, s->client);
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

void evidence_server_free(struct evidence_server *s)
{
	if (!s)
		return;
	if (s->client)
		interrupt_unhook(cancel, s->client);
	http_client_free(s->client);
	free(s->base);
	free(s->from);
	free(s);
}

const uint8_t *evidence_server_key(const struct evidence_server *s)
{
	return s->has_key ? s->key : NULL;
}

/* The peer must be the same as before. */
static int note_key(struct evidence_server *s, const struct http_response *answer,
		    struct error *err)
{
	uint8_t key[32];
	int r;

	if (!answer->certificate)
		return 0;
	r = certificate_key_hash(answer->certificate, strlen(answer->certificate), key, err);
	if (r < 0)
		return error_prefix(err, r, "%s", s->from);
	if (s->has_key && memcmp(key, s->key, sizeof(key)) != 0)
		return error_set(err, -EBADMSG, "%s: another TLS key answered than before",
				 s->from);
	memcpy(s->key, key, sizeof(key));
	s->has_key = true;
	return 0;
}

static int refused(const struct evidence_server *s, const struct http_response *answer,
		   struct error *err)
{
	_cleanup_json_ json_t *body =
		answer->body ? json_object_parse(answer->body, answer->body_size) : NULL;
	const char *why = json_text(body, "error");
	int code = answer->status == FORBIDDEN					  ? -EKEYREJECTED
		   : answer->status == TOO_MANY || answer->status >= SERVER_ERROR ? -EREMOTEIO
										  : -ENOENT;

	if (code == -ENOENT)
		error_hint(err, "is it an endpoint of sealctl attest --serve?");
	return error_set(err, code, "%s answered %d%s%.300s", s->from, answer->status,
			 why ? ": " : "", why ? why : "");
}

/* True: the server asked to retry later, and this waited for that long. */
static bool waited(struct evidence_server *s, const struct http_response *answer, unsigned attempt)
{
	const char *after = http_response_header(answer, "retry-after");
	uint64_t seconds;

	return (answer->status == TOO_MANY || answer->status == UNAVAILABLE) && after &&
	       attempt < ATTEMPTS && number_parse(after, 10, PAUSE_MAX_S, &seconds) == 0 &&
	       http_client_wait(s->client, (unsigned)seconds * 1000) == 0;
}

/* The body of an answer of 200; the caller's. */
static int ask(struct evidence_server *s, const char *path, const char *body, char **ret,
	       size_t *ret_size, struct error *err)
{
	static const struct http_header json = {"Content-Type", "application/json"};
	_cleanup_free_ char *url = NULL;
	struct http_request request = {
		.method = body ? "POST" : "GET",
		.headers = &json,
		.header_count = body ? 1 : 0,
		.body = body,
		.body_size = body ? strlen(body) : 0,
		.body_max = EVIDENCE_SIZE_MAX,
		.stall_timeout_ms = STALL_MS,
		.total_timeout_ms = TOTAL_MS,
		.peer = &transport_evidence,
		.unix_socket = s->socket,
	};

	if (asprintf(&url, "%s%s", s->base, path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	request.url = url;
	for (unsigned attempt = 1;; attempt++) {
		_cleanup_http_response_ struct http_response answer = {0};
		int r = http_perform(s->client, &request, &answer, err);

		if (r == 0)
			r = note_key(s, &answer, err);
		if (r == 0 && answer.status != OK && waited(s, &answer, attempt))
			continue;
		if (r == 0 && answer.status != OK)
			r = refused(s, &answer, err);
		if (r < 0)
			return s->socket ? error_prefix(err, r, "%s", s->from) : r;
		*ret = (char *)steal_ptr(answer.body);
		*ret_size = answer.body_size;
		return *ret ? 0 : error_set(err, -EPROTO, "%s: an empty answer", s->from);
	}
}

int evidence_server_get(struct evidence_server *s, const uint8_t nonce[FETCH_NONCE_SIZE],
			char **ret, size_t *ret_size, struct error *err)
{
	char hex[2 * FETCH_NONCE_SIZE + 1], path[PATH_MAX_BYTES];

	hex_encode(nonce, FETCH_NONCE_SIZE, hex);
	(void)snprintf(path, sizeof(path), "/v1/evidence?nonce=%s", hex);
	return ask(s, path, NULL, ret, ret_size, err);
}

int evidence_server_nonce(struct evidence_server *s, uint8_t out[FETCH_NONCE_SIZE],
			  struct error *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *answer = NULL;
	const char *hex;
	size_t size;
	int r = ask(s, "/v1/nonce", NULL, &text, &size, err);

	if (r < 0)
		return r;
	answer = json_object_parse(text, size);
	hex = json_text(answer, "nonce");
	if (!hex || strlen(hex) != (size_t)2 * FETCH_NONCE_SIZE ||
	    hex_decode(hex, out, FETCH_NONCE_SIZE) < 0)
		return error_set(err, -EPROTO, "%s: its nonce is malformed", s->from);
	return 0;
}

int evidence_server_present(struct evidence_server *s, const uint8_t nonce[FETCH_NONCE_SIZE],
			    const char *evidence, char **ret, size_t *ret_size, struct error *err)
{
	char hex[2 * FETCH_NONCE_SIZE + 1];
	_cleanup_free_ char *body = NULL;

	hex_encode(nonce, FETCH_NONCE_SIZE, hex);
	if (asprintf(&body, "{\"nonce\": \"%s\", \"evidence\": %s}", hex, evidence) < 0) {
		body = NULL;
		return -ENOMEM;
	}
	return ask(s, "/v1/evidence", body, ret, ret_size, err);
}
