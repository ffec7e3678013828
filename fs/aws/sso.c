/*
 * SSO. Job: one GET that turns a cached token into keys of a role. Trusts the portal over TLS (or
 * an endpoint that the user configured). Must never write the cache, nor put the token anywhere but
 * in the portal's header. Tokens are not renewed here: that is `aws sso login`.
 */
#include "fs/aws/sso.h"

#include "crypto/base/clock.h"
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/base/json.h"
#include "fs/aws/call.h"
#include "fs/aws/kms_json.h"
#include "fs/aws/token_file.h"
#include "fs/net/dates.h"
#include "fs/net/text.h"

#include <errno.h>
#include <string.h>

#define SHA1_SIZE 20
#define CACHE_FILE_MAX 65536
#define ANSWER_SIZE_MAX 65536
#define DEADLINE_MS 30000
#define ATTEMPTS 3

/* What a profile must say. */
struct settings {
	const char *start_url, *region, *account, *role;
	const char *token_name; /* whose SHA-1 is the name of the token's file */
};

static const char *either(const struct profile *p, const char *name)
{
	const char *value = profile_get(p, name);

	return value ? value : profile_get_session(p, name);
}

static int find_settings(const struct profile *p, const char *name, struct settings *ret,
			 struct error *err)
{
	const char *session = profile_get(p, "sso_session");

	*ret = (struct settings){.start_url = either(p, "sso_start_url"),
				 .region = either(p, "sso_region"),
				 .account = profile_get(p, "sso_account_id"),
				 .role = profile_get(p, "sso_role_name")};
	if (!session && !ret->start_url && !ret->account && !ret->role)
		return -ENOENT;
	if (session && !profile_has_session(p))
		return error_set(err, -EINVAL, "AWS profile %s: there is no section sso-session %s",
				 name, session);
	if (!ret->start_url || !ret->region || !ret->account || !ret->role)
		return error_set(err, -EINVAL,
				 "AWS profile %s needs sso_start_url, sso_region, sso_account_id "
				 "and sso_role_name",
				 name);
	if (!endpoint_region_valid(ret->region))
		return error_set(err, -EINVAL, "AWS profile %s: sso_region is not a region", name);
	ret->token_name = session ? session : ret->start_url;
	return 0;
}

static char *cache_path(const char *token_name)
{
	char digits[2 * SHA1_SIZE + 1];
	uint8_t digest[SHA1_SIZE];
	_cleanup_free_ char *file = NULL;

	if (digest_buffer(DIGEST_SHA1, token_name, strlen(token_name), digest) < 0)
		return NULL;
	hex_encode(digest, sizeof(digest), digits);
	if (asprintf(&file, "sso/cache/%s.json", digits) < 0) {
		file = NULL;
		return NULL;
	}
	return profile_path(file);
}

/* *ret_token points into *ret, which the caller releases. */
static int load_token(const struct settings *s, json_t **ret, const char **ret_token,
		      struct error *err)
{
	_cleanup_free_ char *path = cache_path(s->token_name);
	_cleanup_(text_wipe_freep) char *text = NULL;
	struct error why = {0};
	const char *expires;
	int64_t expires_s;
	int r;

	if (!path)
		return error_set(err, -EINVAL, "no home directory is known");
	r = token_file_read(path, CACHE_FILE_MAX, &text, &why);
	if (r < 0 && r != -ENOENT && r != -EAGAIN) {
		if (why.hint[0])
			error_hint(err, "%s", why.hint);
		return error_set(err, r, "%s", error_text(&why, r));
	}
	*ret = text ? json_object_parse(text, strlen(text)) : NULL;
	*ret_token = json_text(*ret, "accessToken");
	expires = json_text(*ret, "expiresAt");
	if (!*ret_token || !expires || date_parse_rfc3339(expires, &expires_s) < 0)
		return error_set(err, -EKEYREJECTED, "there is no SSO token in %s", path);
	if (expires_s <= clock_now_s())
		return error_set(err, -EKEYREJECTED, "the SSO token in %s has expired", path);
	if (!text_is_graphic(*ret_token))
		return error_set(err, -EKEYREJECTED, "the SSO token in %s is malformed", path);
	return 0;
}

/* One request for keys of a role. */
struct exchange {
	const struct sts *sts;
	const struct settings *settings;
	struct credentials *issued;
};

static int check_answer(void *arg, const struct http_response *resp, struct error *err)
{
	struct exchange *x = arg;
	_cleanup_json_ json_t *object = json_object_parse(resp->body, resp->body_size);
	const json_t *keys = json_object_get(object, "roleCredentials");
	const char *id = json_text(keys, "accessKeyId"), *key = json_text(keys, "secretAccessKey");
	const char *token = json_text(keys, "sessionToken");
	int64_t expires_ms = json_integer_value(json_object_get(keys, "expiration"));
	int r;

	if (resp->status != 200 || !id || !key || !token || expires_ms <= 0)
		return error_set(err, -EREMOTEIO, "the answer has no keys");
	r = credentials_new(id, key, token, expires_ms / 1000, "SSO", &x->issued);
	return r < 0 ? error_set(err, r == -EINVAL ? -EREMOTEIO : r, "malformed keys") : 0;
}

static int base_url(void *arg, const char *region, char **ret)
{
	const struct exchange *x = arg;

	return endpoint_url(
		&(struct endpoint_params){.service = "portal.sso",
					  .region = region,
					  .override = x->sts->config->endpoints[AWS_SERVICE_SSO]},
		ret);
}

static void parse_failure(const struct http_response *resp, struct call_failure *ret)
{
	kms_json_failure(resp->body, resp->body_size,
			 http_response_header(resp, "x-amzn-errortype"), ret);
}

static int map_failure(void *arg, const struct call_failure *f, struct error *err)
{
	(void)arg;
	if (f->status / 100 != 4 || f->status == 429)
		return -EREMOTEIO;
	if (f->status != 401)
		error_hint(err, "check sso_account_id and sso_role_name, and that the role is "
				"assigned to this user");
	return -EKEYREJECTED;
}

static int ask(struct exchange *x, const char *token, struct error *err)
{
	_cleanup_http_response_ struct http_response resp = {0};
	const struct settings *s = x->settings;
	_cleanup_text_ struct text query = {0}, what = {0};
	struct caller caller = {.config = x->sts->config, .http = x->sts->http};
	struct call call = {.service = AWS_SERVICE_SSO,
			    .anonymous = true,
			    .method = "GET",
			    .base_url = base_url,
			    .path = "/federation/credentials",
			    .headers = {{"x-amz-sso_bearer_token", token}},
			    .header_count = 1,
			    .body_max = ANSWER_SIZE_MAX,
			    .secret = true,
			    .max_attempts = ATTEMPTS,
			    .deadline_ms = DEADLINE_MS,
			    .parse_failure = parse_failure,
			    .check = check_answer,
			    .map_failure = map_failure,
			    .arg = x};

	text_append(&query, "role_name=");
	text_append_uri(&query, s->role, strlen(s->role), false);
	text_append(&query, "&account_id=");
	text_append_uri(&query, s->account, strlen(s->account), false);
	text_printf(&what, "role %s of account %s", s->role, s->account);
	if (query.failed || what.failed)
		return error_set(err, -ENOMEM, "out of memory for a request");
	call.query = query.data;
	call.what = what.data;
	text_copy(call.region, sizeof(call.region), s->region);
	return call_run(&caller, &call, &resp, NULL, err);
}

int sso_credentials(const struct sts *sts, const struct profile *p, const char *name,
		    struct credentials **ret, struct error *err)
{
	_cleanup_json_ json_t *cache = NULL;
	const char *token = NULL;
	struct settings s;
	struct exchange x = {.sts = sts, .settings = &s};
	struct error last = {0};
	int r = find_settings(p, name, &s, err);

	if (r < 0)
		return r;
	r = load_token(&s, &cache, &token, &last);
	if (r == 0)
		r = ask(&x, token, &last);
	if (r == 0) {
		*ret = x.issued;
		return 0;
	}
	/* Only a new login helps if the token is absent, has expired, or was refused (401). */
	if (r == -EKEYREJECTED && !last.hint[0])
		error_hint(&last, "log in with: aws sso login --profile %s", name);
	if (err && !err->code)
		*err = last;
	return error_prefix(err, r, "SSO of AWS profile %s", name);
}
