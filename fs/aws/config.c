/*
 * Configuration. Job: read every variable and profile setting, in this order of precedence: option,
 * environment, profile, default. Trusts its user, but refuses a value that it cannot parse instead
 * of guessing. Must never read credentials.
 */
#include "fs/aws/config.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "fs/aws/peers.h"
#include "fs/aws/profile.h"
#include "fs/net/url.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define MAX_ATTEMPTS_DEFAULT 10
#define MAX_ATTEMPTS_LIMIT 100
#define DEADLINE_MS 120000
#define STALL_TIMEOUT_MS 15000
#define IMDS_TIMEOUT_MS_DEFAULT 1000
#define IMDS_ATTEMPTS_DEFAULT 2

static const char imds_v4[] = "http://169.254.169.254";
static const char imds_v6[] = "http://[fd00:ec2::254]";

static const struct {
	const char *name;
	const char *variable;
} services[AWS_SERVICES] = {
	[AWS_SERVICE_S3] = {"s3", "AWS_ENDPOINT_URL_S3"},
	[AWS_SERVICE_KMS] = {"kms", "AWS_ENDPOINT_URL_KMS"},
	[AWS_SERVICE_STS] = {"sts", "AWS_ENDPOINT_URL_STS"},
	[AWS_SERVICE_SSO] = {"sso", "AWS_ENDPOINT_URL_SSO"},
};

const char *aws_service_name(enum aws_service service)
{
	return services[service].name;
}

void aws_config_clear(struct aws_config *c)
{
	free(c->profile);
	free(c->region);
	for (size_t i = 0; i < AWS_SERVICES; i++)
		free(c->endpoints[i]);
	free(c->sse);
	free(c->sse_key);
	free(c->ca_file);
	free(c->imds_endpoint);
	*c = (struct aws_config){0};
}

const char *aws_env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

static const char *env_or(const char *name, const char *otherwise)
{
	const char *value = aws_env(name);

	return value ? value : otherwise;
}

static int copy(const char *text, char **ret, struct error *err)
{
	if (!text)
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory for the AWS configuration");
}

static int parse_bool(const char *text, const char *what, bool *ret, struct error *err)
{
	if (!text)
		return 0;
	if (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0)
		*ret = true;
	else if (strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0)
		*ret = false;
	else
		return error_set(err, -EINVAL, "%s must be true or false, not %.40s", what, text);
	return 0;
}

static int parse_number(const char *text, const char *what, unsigned max, unsigned *ret,
			struct error *err)
{
	uint64_t value;

	if (!text)
		return 0;
	if (number_parse(text, 10, max, &value) < 0 || value == 0)
		return error_set(err, -EINVAL, "%s must be 1 to %u, not %.40s", what, max, text);
	*ret = (unsigned)value;
	return 0;
}

static int load_region(const struct aws_options *o, const struct profile *p, struct aws_config *c,
		       struct error *err)
{
	const char *region = o->region;

	if (!region)
		region = env_or("AWS_REGION", aws_env("AWS_DEFAULT_REGION"));
	if (!region)
		region = profile_get(p, "region");
	/* Other servers than AWS's have names of their own kind. */
	if (region && !endpoint_region_valid(region) &&
	    !(c->endpoints[AWS_SERVICE_S3] && endpoint_region_plain(region))) {
		error_hint(err, "a region looks like eu-west-1");
		return error_set(err, -EINVAL, "not an AWS region: %.80s", region);
	}
	return copy(region, &c->region, err);
}

static int load_endpoint(const char *option, const char *name, const char *variable,
			 const struct profile *p, const struct transport_hosts *allowed, char **ret,
			 struct error *err)
{
	const char *url = option, *what = "the endpoint option";
	bool ignore = false;
	int r;

	r = parse_bool(env_or("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
			      profile_get(p, "ignore_configured_endpoint_urls")),
		       "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", &ignore, err);
	if (r < 0)
		return r;
	if (!url && !ignore) {
		what = variable;
		url = aws_env(what);
		if (!url) {
			what = "AWS_ENDPOINT_URL";
			url = aws_env(what);
		}
		if (!url && !profile_has_services(p))
			return error_set(err, -EINVAL,
					 "the AWS profile names services section %s, which is not "
					 "there",
					 profile_get(p, "services"));
		if (!url) {
			what = "endpoint_url of the profile";
			url = profile_get_service(p, name, "endpoint_url");
		}
		if (!url)
			url = profile_get(p, "endpoint_url");
	}
	r = url ? url_check(url, what, ret, err) : 0;
	if (!*ret)
		return r;
	r = transport_check(*ret, what, NULL, allowed, err);
	if (r == 0 && transport_judge(*ret, NULL, allowed) == TRANSPORT_PLAIN)
		log_warning("%s: %s is asked without TLS, as allow-http permits", what, *ret);
	return r;
}

static int load_endpoints(const struct aws_options *o, const struct profile *p,
			  struct aws_config *c, struct error *err)
{
	const char *options[AWS_SERVICES] = {
		[AWS_SERVICE_S3] = o->s3_endpoint,
		[AWS_SERVICE_KMS] = o->kms_endpoint,
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < AWS_SERVICES; i++)
		r = load_endpoint(options[i], services[i].name, services[i].variable, p,
				  &c->allow_http, &c->endpoints[i], err);
	return r;
}

static int load_style(const struct aws_options *o, const struct profile *p, struct aws_config *c,
		      struct error *err)
{
	const char *style = profile_get_nested(p, "s3", "addressing_style");

	if (o->path_style)
		c->style = ENDPOINT_STYLE_PATH;
	else if (style && strcmp(style, "path") == 0)
		c->style = ENDPOINT_STYLE_PATH;
	else if (style && strcmp(style, "virtual") == 0)
		c->style = ENDPOINT_STYLE_VIRTUAL;
	else if (style && strcmp(style, "auto") != 0)
		return error_set(err, -EINVAL,
				 "addressing_style of the profile must be auto, "
				 "path or virtual");
	return 0;
}

/* The host settings of the nested block `s3 =`; load_style() reads the address style. */
static int load_s3(const struct profile *p, struct aws_config *c, struct error *err)
{
	int r;

	if (profile_get(p, "s3"))
		return error_set(err, -EINVAL,
				 "s3 of the AWS profile must be a block of indented lines, not a "
				 "value");
	c->s3_dualstack = c->dualstack;
	r = parse_bool(profile_get_nested(p, "s3", "use_dualstack_endpoint"),
		       "s3 use_dualstack_endpoint of the profile", &c->s3_dualstack, err);
	if (r == 0)
		r = parse_bool(profile_get_nested(p, "s3", "use_accelerate_endpoint"),
			       "s3 use_accelerate_endpoint of the profile", &c->s3_accelerate, err);
	return r;
}

static int load_sse(const char *sse, struct aws_config *c, struct error *err)
{
	static const char *const kinds[] = {"AES256", "aws:kms:dsse", "aws:kms"};

	for (size_t i = 0; sse && i < ARRAY_LEN(kinds); i++) {
		size_t n = strlen(kinds[i]);
		int r;

		if (strncmp(sse, kinds[i], n) != 0 || (sse[n] && (i == 0 || sse[n] != ':')))
			continue;
		if (sse[n] && (!sse[n + 1] || strpbrk(sse, " \r\n")))
			break;
		r = copy(kinds[i], &c->sse, err);
		return r == 0 && sse[n] ? copy(sse + n + 1, &c->sse_key, err) : r;
	}
	return sse ? error_set(err, -EINVAL,
			       "sse=%.80s: must be AES256, aws:kms[:KEY] or aws:kms:dsse[:KEY]",
			       sse)
		   : 0;
}

static int load_sts(const struct profile *p, struct aws_config *c, struct error *err)
{
	const char *which =
		env_or("AWS_STS_REGIONAL_ENDPOINTS", profile_get(p, "sts_regional_endpoints"));

	c->sts_legacy = which && strcasecmp(which, "legacy") == 0;
	if (!which || c->sts_legacy || strcasecmp(which, "regional") == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "AWS_STS_REGIONAL_ENDPOINTS must be regional or legacy, not %.40s", which);
}

/* An empty variable is one that is not set: there is no way to go without verification. */
static const char *ca_bundle(const struct profile *p)
{
	const char *path = env_or("AWS_CA_BUNDLE", profile_get(p, "ca_bundle"));

	return path ? path : aws_env("CURL_CA_BUNDLE");
}

static int load_imds(struct aws_config *c, const struct profile *p, struct error *err)
{
	const char *mode = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	const char *url = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	unsigned timeout_s = 0;
	int r;

	r = parse_bool(aws_env("AWS_EC2_METADATA_DISABLED"), "AWS_EC2_METADATA_DISABLED",
		       &c->imds_disabled, err);
	if (r < 0)
		return r;
	if (mode && strcasecmp(mode, "ipv4") != 0 && strcasecmp(mode, "ipv6") != 0)
		return error_set(err, -EINVAL,
				 "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE must be "
				 "IPv4 or IPv6");
	if (!url)
		url = mode && strcasecmp(mode, "ipv6") == 0 ? imds_v6 : imds_v4;
	r = url_check(url, "AWS_EC2_METADATA_SERVICE_ENDPOINT", &c->imds_endpoint, err);
	if (r == 0)
		r = transport_check(c->imds_endpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT",
				    &aws_metadata_peer, &c->allow_http, err);
	if (r < 0)
		return r;
	r = parse_number(
		env_or("AWS_METADATA_SERVICE_TIMEOUT", profile_get(p, "metadata_service_timeout")),
		"AWS_METADATA_SERVICE_TIMEOUT", 60, &timeout_s, err);
	if (r < 0)
		return r;
	c->imds_timeout_ms = timeout_s ? timeout_s * 1000 : IMDS_TIMEOUT_MS_DEFAULT;
	c->imds_attempts = IMDS_ATTEMPTS_DEFAULT;
	return parse_number(env_or("AWS_METADATA_SERVICE_NUM_ATTEMPTS",
				   profile_get(p, "metadata_service_num_attempts")),
			    "AWS_METADATA_SERVICE_NUM_ATTEMPTS", 10, &c->imds_attempts, err);
}

static int load_retries(const struct profile *p, struct aws_config *c, struct error *err)
{
	c->stall_timeout_ms = STALL_TIMEOUT_MS;
	c->deadline_ms = DEADLINE_MS;
	c->max_attempts = MAX_ATTEMPTS_DEFAULT;
	return parse_number(env_or("AWS_MAX_ATTEMPTS", profile_get(p, "max_attempts")),
			    "AWS_MAX_ATTEMPTS", MAX_ATTEMPTS_LIMIT, &c->max_attempts, err);
}

static int load_profile(const struct aws_options *o, struct aws_config *c, struct profile **ret,
			struct error *err)
{
	const char *name = o->profile;
	int r;

	c->profile_explicit = name != NULL;
	if (!name) {
		const char *other = aws_env("AWS_DEFAULT_PROFILE");

		name = env_or("AWS_PROFILE", other);
		/* The CLI takes the one, the SDKs take the other. */
		if (other && strcmp(name, other) != 0)
			return error_set(err, -EINVAL,
					 "AWS_PROFILE and AWS_DEFAULT_PROFILE name different "
					 "profiles");
	}
	c->profile_named = name != NULL;
	r = copy(name ? name : "default", &c->profile, err);
	if (r >= 0)
		r = profile_load(c->profile, ret, err);
	if (r < 0)
		return r;
	if (c->profile_named && !profile_exists(*ret)) {
		error_hint(err, "see ~/.aws/config and ~/.aws/credentials");
		return error_set(err, -EINVAL, "no AWS profile is called %s", c->profile);
	}
	return 0;
}

int aws_config_load(const struct aws_options *options, struct aws_config *ret, struct error *err)
{
	static const struct aws_options none;
	const struct aws_options *o = options ? options : &none;
	_cleanup_(profile_freep) struct profile *p = NULL;
	int r;

	ret->allow_http = o->allow_http;
	ret->interactive = o->interactive;
	ret->anonymous = o->anonymous;
	ret->request_payer = o->request_payer;
	for (size_t i = 0; i < o->allow_http.count; i++) {
		r = transport_check_host(o->allow_http.items[i], err);
		if (r < 0)
			return r;
	}
	r = load_profile(o, ret, &p, err);
	if (r >= 0)
		r = load_endpoints(o, p, ret, err);
	if (r >= 0)
		r = load_region(o, p, ret, err);
	if (r >= 0)
		r = load_style(o, p, ret, err);
	if (r >= 0)
		r = parse_bool(env_or("AWS_USE_FIPS_ENDPOINT", profile_get(p, "use_fips_endpoint")),
			       "AWS_USE_FIPS_ENDPOINT", &ret->fips, err);
	if (r >= 0)
		r = parse_bool(env_or("AWS_USE_DUALSTACK_ENDPOINT",
				      profile_get(p, "use_dualstack_endpoint")),
			       "AWS_USE_DUALSTACK_ENDPOINT", &ret->dualstack, err);
	if (r >= 0)
		r = load_s3(p, ret, err);
	if (r >= 0)
		r = load_sse(o->sse, ret, err);
	if (r >= 0)
		r = load_sts(p, ret, err);
	if (r >= 0)
		r = load_imds(ret, p, err);
	if (r >= 0)
		r = load_retries(p, ret, err);
	if (r >= 0)
		r = copy(ca_bundle(p), &ret->ca_file, err);
	return r;
}
