/*
 * Signature Version 4. Job: compute the signature of a request that is ready to be sent. Trusts its
 * caller for the time and for sending the same bytes; checked against AWS's
 * own vectors (tests/vectors/sigv4). Must never copy the secret key anywhere but into the first
 * HMAC key, which is wiped like every derived key.
 */
#include "fs/aws/sigv4.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "fs/net/dates.h"
#include "fs/net/text.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

#define SHA256_BYTES 32
#define QUERY_PAIRS_MAX 64
#define SECRET_KEY_MAX 256

static const char algorithm[] = "AWS4-HMAC-SHA256";

struct pair {
	char *key;
	char *value;
};

/* Sorted, encoded query parameters, or merged headers. */
struct pairs {
	struct pair items[QUERY_PAIRS_MAX];
	size_t count;
};

static void pairs_clear(struct pairs *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->items[i].key);
		free(p->items[i].value);
	}
	p->count = 0;
}

static int pairs_add(struct pairs *p, char *key, char *value)
{
	if (!key || !value || p->count == QUERY_PAIRS_MAX) {
		free(key);
		free(value);
		return key && value ? -EINVAL : -ENOMEM;
	}
	p->items[p->count++] = (struct pair){key, value};
	return 0;
}

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int r = strcmp(x->key, y->key);

	return r ? r : strcmp(x->value, y->value);
}

void sigv4_steps_clear(struct sigv4_steps *s)
{
	free(s->canonical_request);
	free(s->string_to_sign);
	*s = (struct sigv4_steps){0};
}

int sigv4_hash(const void *data, size_t size, char out[SIGV4_HEX_SIZE])
{
	uint8_t digest[SHA256_BYTES];

	if (digest_buffer(DIGEST_SHA256, size ? data : "", size, digest) < 0)
		return -EIO;
	hex_encode(digest, sizeof(digest), out);
	return 0;
}

/* text decoded and encoded again, so that every spelling of it becomes the canonical one. */
static int encode_again(const char *text, size_t size, bool keep_slash, char **ret)
{
	_cleanup_free_ char *plain = strndup(text, size);
	_cleanup_text_ struct text out = {0};
	ssize_t n;

	if (!plain)
		return -ENOMEM;
	n = uri_decode(plain, false);
	if (n < 0)
		return -EINVAL;
	text_append_uri(&out, plain, (size_t)n, keep_slash);
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

/* Resolves ".", ".." and repeated '/'; keeps a slash at the end. */
static char *normalize_path(const char *path)
{
	size_t size = strlen(path);
	char *out = malloc(size + 2);
	size_t used = 0;

	if (!out)
		return NULL;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			while (used > 0 && out[--used] != '/')
				;
		} else if (n > 0 && !(n == 1 && p[0] == '.')) {
			out[used++] = '/';
			memcpy(out + used, p, n);
			used += n;
		}
		p += n + (p[n] == '/');
	}
	if (used == 0 || path[size - 1] == '/')
		out[used++] = '/';
	out[used] = '\0';
	return out;
}

static int canonical_path(const struct sigv4_request *req, char **ret)
{
	const char *path = req->path[0] ? req->path : "/";
	_cleanup_free_ char *normal = NULL;
	_cleanup_text_ struct text out = {0};

	if (req->path_rule == SIGV4_PATH_S3)
		return encode_again(path, strlen(path), true, ret);
	normal = normalize_path(path);
	if (!normal)
		return -ENOMEM;
	text_append_uri(&out, normal, strlen(normal), true);
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

static int parse_query(const char *query, struct pairs *ret)
{
	for (const char *p = query ? query : ""; *p;) {
		size_t n = strcspn(p, "&");
		const char *equals = memchr(p, '=', n);
		size_t key_size = equals ? (size_t)(equals - p) : n;
		char *key = NULL, *value = NULL;
		int r;

		if (n > 0) {
			r = encode_again(p, key_size, false, &key);
			if (r >= 0)
				r = encode_again(equals ? equals + 1 : "",
						 equals ? n - key_size - 1 : 0, false, &value);
			if (r < 0) {
				free(key);
				return r;
			}
			r = pairs_add(ret, key, value);
			if (r < 0)
				return r;
		}
		p += n + (p[n] == '&');
	}
	return 0;
}

static void append_query(struct text *out, const struct pairs *query)
{
	for (size_t i = 0; i < query->count; i++)
		text_printf(out, "%s%s=%s", i ? "&" : "", query->items[i].key,
			    query->items[i].value);
}

static bool is_unsigned_header(const char *name)
{
	static const char *const names[] = {"authorization",  "connection",	   "expect",
					    "upgrade",	      "transfer-encoding", "user-agent",
					    "x-amzn-trace-id"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return strncmp(name, "sec-websocket-", strlen("sec-websocket-")) == 0;
}

/* Trims the ends and squeezes inner white space, folded lines included. */
static char *squeeze(const char *value)
{
	char *out = malloc(strlen(value) + 1);
	size_t used = 0;

	if (!out)
		return NULL;
	for (const char *p = value; *p; p++) {
		bool space = *p == ' ' || (*p >= '\t' && *p <= '\r');

		if (!space)
			out[used++] = *p;
		else if (used > 0 && out[used - 1] != ' ')
			out[used++] = ' ';
	}
	if (used > 0 && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
	return out;
}

static int merge_header(struct pairs *merged, char *name, char *value)
{
	for (size_t i = 0; name && value && i < merged->count; i++) {
		char *joined = NULL;
		int r;

		if (strcmp(merged->items[i].key, name) != 0)
			continue;
		r = asprintf(&joined, "%s,%s", merged->items[i].value, value);
		free(name);
		free(value);
		if (r < 0)
			return -ENOMEM;
		free(merged->items[i].value);
		merged->items[i].value = joined;
		return 0;
	}
	return pairs_add(merged, name, value);
}

static int merge_headers(const struct sigv4_request *req, struct pairs *ret)
{
	bool has_host = false;
	int r;

	for (size_t i = 0; i < req->header_count; i++) {
		char *name = strdup(req->headers[i].name);

		for (char *p = name; p && *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (name && is_unsigned_header(name)) {
			free(name);
			continue;
		}
		has_host |= name && strcmp(name, "host") == 0;
		r = merge_header(ret, name, squeeze(req->headers[i].value));
		if (r < 0)
			return r;
	}
	qsort(ret->items, ret->count, sizeof(ret->items[0]), compare_pairs);
	return has_host ? 0 : -EINVAL;
}

static char *signed_names(const struct pairs *headers)
{
	_cleanup_text_ struct text out = {0};

	for (size_t i = 0; i < headers->count; i++)
		text_printf(&out, "%s%s", i ? ";" : "", headers->items[i].key);
	return text_steal(&out);
}

static int canonical_request(const struct sigv4_request *req, const struct pairs *query,
			     const struct pairs *headers, const char *names, char **ret)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_text_ struct text out = {0};
	int r = canonical_path(req, &path);

	if (r < 0)
		return r;
	text_printf(&out, "%s\n%s\n", req->method, path);
	append_query(&out, query);
	text_append(&out, "\n");
	for (size_t i = 0; i < headers->count; i++)
		text_printf(&out, "%s:%s\n", headers->items[i].key, headers->items[i].value);
	text_printf(&out, "\n%s\n%s", names, req->payload_hash);
	*ret = text_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

/* out may be the key's own memory. */
static int hmac_step(const void *key, size_t key_size, const char *data, uint8_t out[SHA256_BYTES])
{
	uint8_t digest[SHA256_BYTES];
	unsigned n = 0;

	if (!HMAC(EVP_sha256(), key, (int)key_size, (const uint8_t *)data, strlen(data), digest,
		  &n) ||
	    n != SHA256_BYTES)
		return -EIO;
	memcpy(out, digest, SHA256_BYTES);
	wipe(digest, sizeof(digest));
	return 0;
}

static int make_signature(const struct sigv4_request *req, const char *date, const char *text,
			  char out[SIGV4_HEX_SIZE])
{
	static const char prefix[] = {'A', 'W', 'S', '4'};
	uint8_t first[sizeof(prefix) + SECRET_KEY_MAX], key[SHA256_BYTES];
	size_t size = secret_size(req->secret_key);
	int r;

	if (size > SECRET_KEY_MAX)
		return -EINVAL;
	memcpy(first, prefix, sizeof(prefix));
	memcpy(first + sizeof(prefix), secret_data(req->secret_key), size);
	r = hmac_step(first, sizeof(prefix) + size, date, key);
	wipe(first, sizeof(first));
	if (r >= 0)
		r = hmac_step(key, sizeof(key), req->region, key);
	if (r >= 0)
		r = hmac_step(key, sizeof(key), req->service, key);
	if (r >= 0)
		r = hmac_step(key, sizeof(key), "aws4_request", key);
	if (r >= 0)
		r = hmac_step(key, sizeof(key), text, key);
	if (r >= 0)
		hex_encode(key, sizeof(key), out);
	wipe(key, sizeof(key));
	return r;
}

/* Canonical request, string to sign, signature. */
static int sign_request(const struct sigv4_request *req, const char *stamp, const char *scope,
			const struct pairs *query, const struct pairs *headers, const char *names,
			struct sigv4_steps *ret)
{
	char hash[SIGV4_HEX_SIZE], day[9];
	int r;

	r = canonical_request(req, query, headers, names, &ret->canonical_request);
	if (r < 0)
		return r;
	r = sigv4_hash(ret->canonical_request, strlen(ret->canonical_request), hash);
	if (r < 0)
		return r;
	if (asprintf(&ret->string_to_sign, "%s\n%s\n%s\n%s", algorithm, stamp, scope, hash) < 0) {
		ret->string_to_sign = NULL;
		return -ENOMEM;
	}
	memcpy(day, stamp, 8);
	day[8] = '\0';
	return make_signature(req, day, ret->string_to_sign, ret->signature);
}

int sigv4_sign(const struct sigv4_request *req, char **ret_authorization, struct sigv4_steps *steps)
{
	_cleanup_(pairs_clear) struct pairs query = {.count = 0}, headers = {.count = 0};
	_cleanup_(sigv4_steps_clear) struct sigv4_steps mine = {0};
	_cleanup_free_ char *names = NULL, *scope = NULL;
	char stamp[DATE_BASIC_SIZE];
	int r;

	date_format_basic(req->time_s, stamp);
	if (asprintf(&scope, "%.8s/%s/%s/aws4_request", stamp, req->region, req->service) < 0) {
		scope = NULL;
		return -ENOMEM;
	}
	r = merge_headers(req, &headers);
	if (r < 0)
		return r;
	r = parse_query(req->query, &query);
	if (r < 0)
		return r;
	qsort(query.items, query.count, sizeof(query.items[0]), compare_pairs);
	names = signed_names(&headers);
	if (!names)
		return -ENOMEM;
	r = sign_request(req, stamp, scope, &query, &headers, names, &mine);
	if (r < 0)
		return r;
	if (asprintf(ret_authorization, "%s Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		     algorithm, req->access_key_id, scope, names, mine.signature) < 0) {
		*ret_authorization = NULL;
		return -ENOMEM;
	}
	if (steps) {
		*steps = mine;
		mine = (struct sigv4_steps){0};
	}
	return 0;
}
