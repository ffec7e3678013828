/*
 * Requests. Job: recognise the five of them, exactly. Trusts nothing. Must never guess what a
 * malformed request could have meant.
 */
#include "tools/serve/serve_request.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <string.h>

enum { BAD_REQUEST = 400, NOT_FOUND = 404, NOT_ALLOWED = 405, TOO_LONG = 414 };

static const struct {
	const char *method, *path;
	enum serve_what what;
} requests[] = {
	{"GET", "/", SERVE_TEXT},
	{"GET", "/v1/mounts", SERVE_MOUNTS},
	{"GET", "/v1/evidence", SERVE_EVIDENCE},
	{"GET", "/v1/nonce", SERVE_NONCE},
	{"POST", "/v1/evidence", SERVE_PRESENT},
};

static int parse_nonce(const char *hex, struct serve_nonce *ret)
{
	size_t digits = hex ? strlen(hex) : 0;

	ret->size = digits / 2;
	if (ret->size < SERVE_NONCE_MIN || ret->size > SERVE_NONCE_MAX || digits % 2 != 0)
		return -EPROTO;
	return hex_decode(hex, ret->bytes, ret->size);
}

/* The text behind "?"; NULL: none. */
static unsigned parse_query(const char *query, struct serve_request *ret, const char **ret_why)
{
	static const char name[] = "nonce=";

	if (ret->what != SERVE_EVIDENCE) {
		*ret_why = "this path has no parameters";
		return query ? BAD_REQUEST : 0;
	}
	*ret_why = "one parameter is wanted: nonce=HEX, 16 to 64 bytes";
	if (!query || strncmp(query, name, sizeof(name) - 1) != 0 ||
	    parse_nonce(query + sizeof(name) - 1, &ret->nonce) < 0)
		return BAD_REQUEST;
	return 0;
}

unsigned serve_request_parse(const char *method, const char *uri, struct serve_request *ret,
			     const char **ret_why, const char **ret_allow)
{
	size_t path = strcspn(uri, "?");
	const char *query = uri[path] ? uri + path + 1 : NULL;

	*ret = (struct serve_request){0};
	*ret_allow = NULL;
	if (path + (query ? strlen(query) : 0) > SERVE_URI_MAX) {
		*ret_why = "the address is too long";
		return TOO_LONG;
	}
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		if (strlen(requests[i].path) != path || memcmp(requests[i].path, uri, path) != 0)
			continue;
		if (strcmp(requests[i].method, method) == 0) {
			*ret_allow = NULL;
			ret->what = requests[i].what;
			return parse_query(query, ret, ret_why);
		}
		*ret_allow = *ret_allow ? "GET, POST" : requests[i].method;
	}
	*ret_why = *ret_allow ? "this path does not have this method" : "there is no such path";
	return *ret_allow ? NOT_ALLOWED : NOT_FOUND;
}

int serve_body_parse(const void *body, size_t size, struct serve_nonce *ret, json_t **ret_evidence,
		     struct error *err)
{
	_cleanup_json_ json_t *whole =
		size <= SERVE_BODY_MAX ? json_object_parse(body, size) : NULL;
	json_t *evidence = json_object_get(whole, "evidence");

	if (!whole)
		return error_set(err, -EPROTO, "the body is not a JSON object");
	if (parse_nonce(json_text(whole, "nonce"), ret) < 0)
		return error_set(err, -EPROTO, "\"nonce\" is not 16 to 64 bytes in hex");
	if (!json_is_object(evidence))
		return error_set(err, -EPROTO, "\"evidence\" is not an object");
	*ret_evidence = json_incref(evidence);
	return 0;
}
