/*
 * AWS STS. Job: one POST that turns a web identity token, or other keys, into keys of a role.
 * Trusts STS over TLS (or an endpoint that the user configured). Must never put a token or key
 * into a message, nor leave one in memory that is given back.
 */
#include "fs/aws/sts.h"

#include "crypto/base/encode.h"
#include "fs/aws/call.h"
#include "fs/aws/imds.h"
#include "fs/aws/token_file.h"
#include "fs/net/text.h"
#include "fs/net/xml.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define API_VERSION "2011-06-15"
#define DEFAULT_SESSION_NAME "sealedfs"
#define WEB_TOKEN_MAX ((size_t)20000) /* STS's own limit */
#define ROLE_ARN_MAX 2048
#define ANSWER_SIZE_MAX 65536
#define DEADLINE_MS 30000
#define ATTEMPTS 3

static const char global_region[] = "us-east-1";

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
		r = credentials_from_answer(
			&(struct credentials_answer){a->id[0] ? a->id : NULL,
						     a->key[0] ? a->key : NULL,
						     a->token[0] ? a->token : NULL,
						     a->expiration[0] ? a->expiration : NULL},
			source, ret, err);
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
		text_copy(f->code, sizeof(f->code), text);
	else if (strcmp(path, "ErrorResponse/Error/Message") == 0)
		text_copy(f->message, sizeof(f->message), text);
	return 0;
}

/* One request for keys. */
struct exchange {
	const struct sts *sts;
	struct credentials *signer; /* NULL: not signed */
	const char *action;
	const char *source; /* of the keys that STS issues: for messages */
	bool global;	    /* the one STS that older regions share */
	struct text body;
	struct credentials *issued;
};

static void exchange_clear(struct exchange *x)
{
	text_clear(&x->body);
	credentials_unref(x->issued);
}

static int find_region(const struct sts *sts, char ret[ENDPOINT_REGION_MAX], struct error *err)
{
	const struct aws_config *c = sts->config;
	_cleanup_free_ char *found = NULL;
	const char *region = c->region;

	if (!region && sts->imds && !c->imds_disabled && imds_region(sts->imds, &found, NULL) == 0)
		region = found;
	if (!region && c->endpoints[AWS_SERVICE_STS])
		region = global_region;
	if (!region) {
		error_hint(err, "set AWS_REGION, or region in ~/.aws/config");
		return error_set(err, -EINVAL, "no AWS region is configured for STS");
	}
	text_copy(ret, ENDPOINT_REGION_MAX, region);
	return 0;
}

/* Those that had one STS before there were regional ones (SDK reference guide, "AWS STS regional
 * endpoints"). */
static bool is_legacy_region(const char *region)
{
	static const char *const regions[] = {
		"ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
		"eu-central-1",	  "eu-north-1", "eu-west-1",	  "eu-west-2",	    "eu-west-3",
		"sa-east-1",	  "us-east-1",	"us-east-2",	  "us-west-1",	    "us-west-2"};

	for (size_t i = 0; i < ARRAY_LEN(regions); i++)
		if (strcmp(region, regions[i]) == 0)
			return true;
	return false;
}

static int base_url(void *arg, const char *region, char **ret)
{
	const struct exchange *x = arg;
	const struct aws_config *c = x->sts->config;
	const struct endpoint_params p = {.service = "sts",
					  .region = region,
					  .override = c->endpoints[AWS_SERVICE_STS],
					  .fips = c->fips,
					  .dualstack = c->dualstack};

	if (!x->global)
		return endpoint_url(&p, ret);
	*ret = strdup("https://sts.amazonaws.com");
	return *ret ? 0 : -ENOMEM;
}

static void parse_failure(const struct http_response *resp, struct call_failure *ret)
{
	if (resp->body)
		(void)xml_parse(resp->body, resp->body_size, take_failure, ret);
}

static int map_failure(void *arg, const struct call_failure *f, struct error *err)
{
	bool passing =
		f->status >= 500 || retry_class_answer(f->status, f->code) == RETRY_THROTTLED;

	(void)arg;
	(void)err;
	return passing ? -EREMOTEIO : -EKEYREJECTED;
}

static int check_answer(void *arg, const struct http_response *resp, struct error *err)
{
	struct exchange *x = arg;

	return sts_parse_answer(resp->body, resp->body_size, x->action, x->source, &x->issued, err);
}

/* The keys that STS was called with. STS is not called again with others. */
static int signer_keys(void *arg, const struct credentials *rejected, struct credentials **ret,
		       struct error *err)
{
	struct exchange *x = arg;

	(void)rejected;
	(void)err;
	*ret = credentials_ref(x->signer);
	return 0;
}

static int run(struct exchange *x, struct credentials **ret, struct error *err)
{
	const struct aws_config *config = x->sts->config;
	_cleanup_http_response_ struct http_response resp = {0};
	struct caller caller = {
		.config = config, .http = x->sts->http, .keys = signer_keys, .keys_arg = x};
	struct call call = {.service = AWS_SERVICE_STS,
			    .anonymous = !x->signer,
			    .what = "STS",
			    .method = "POST",
			    .base_url = base_url,
			    .path = "/",
			    .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
			    .header_count = 1,
			    .body = x->body.data,
			    .body_size = x->body.size,
			    .body_max = ANSWER_SIZE_MAX,
			    .secret = true,
			    .max_attempts = ATTEMPTS,
			    .deadline_ms = DEADLINE_MS,
			    .parse_failure = parse_failure,
			    .check = check_answer,
			    .map_failure = map_failure,
			    .arg = x};
	int r = find_region(x->sts, call.region, err);

	if (r == 0 && x->body.failed)
		r = error_set(err, -ENOMEM, "out of memory for a request to STS");
	if (r < 0)
		return r;
	x->global = config->sts_legacy && !config->endpoints[AWS_SERVICE_STS] && !config->fips &&
		    !config->dualstack && is_legacy_region(call.region);
	if (x->global)
		text_copy(call.region, sizeof(call.region), global_region);
	r = call_run(&caller, &call, &resp, NULL, err);
	if (r == 0)
		*ret = steal_ptr(x->issued);
	return r;
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
	uint64_t duration;

	if (strncmp(role->arn, "arn:", 4) != 0 || strlen(role->arn) > ROLE_ARN_MAX)
		return error_set(err, -EINVAL, "not the ARN of a role: %.100s", role->arn);
	x->body.secret = true;
	text_printf(&x->body, "Action=%s&Version=" API_VERSION, x->action);
	add_parameter(&x->body, "RoleArn", role->arn, strlen(role->arn));
	add_parameter(&x->body, "RoleSessionName", session, strlen(session));
	if (role->external_id)
		add_parameter(&x->body, "ExternalId", role->external_id, strlen(role->external_id));
	if (role->mfa_serial) {
		add_parameter(&x->body, "SerialNumber", role->mfa_serial, strlen(role->mfa_serial));
		add_parameter(&x->body, "TokenCode", role->mfa_code, strlen(role->mfa_code));
	}
	if (!role->duration_s)
		return 0;
	if (number_parse(role->duration_s, 10, 43200, &duration) < 0 || duration < 900)
		return error_set(err, -EINVAL, "duration_seconds must be 900 to 43200, not %.40s",
				 role->duration_s);
	text_printf(&x->body, "&DurationSeconds=%u", (unsigned)duration);
	return 0;
}

/* Read for each request: its writer replaces the file. */
static int add_token(struct exchange *x, const char *path, struct error *err)
{
	_cleanup_(text_wipe_freep) char *token = NULL;
	int r = token_file_read(path, WEB_TOKEN_MAX, &token, err);

	if (r == -ENOENT)
		return error_set(err, -EAGAIN, "web identity token %s: %s", path, strerror(ENOENT));
	if (r < 0)
		return error_prefix(err, r, "web identity token");
	if (!text_is_graphic(token))
		return error_set(err, -EINVAL, "%s does not contain a web identity token", path);
	add_parameter(&x->body, "WebIdentityToken", token, strlen(token));
	return 0;
}

int sts_assume_with_token(const struct sts *sts, const struct sts_role *role,
			  const char *token_file, struct credentials **ret, struct error *err)
{
	_cleanup_(exchange_clear) struct exchange x = {
		.sts = sts, .action = "AssumeRoleWithWebIdentity", .source = "web identity"};
	int r = start(&x, role, err);

	if (r == 0)
		r = add_token(&x, token_file, err);
	if (r == 0)
		r = run(&x, ret, err);
	return r < 0 ? error_prefix(err, r, "web identity for %s", role->arn) : 0;
}

int sts_assume(const struct sts *sts, const struct sts_role *role, struct credentials *source,
	       struct credentials **ret, struct error *err)
{
	_cleanup_(exchange_clear) struct exchange x = {
		.sts = sts, .action = "AssumeRole", .source = "assumed role", .signer = source};
	int r = start(&x, role, err);

	if (r == 0)
		r = run(&x, ret, err);
	return r < 0 ? error_prefix(err, r, "assuming %s with keys from %s", role->arn,
				    source->source)
		     : 0;
}
