/*
 * Configuration. Job: one place that knows every variable and profile setting, and which wins:
 * option, environment, profile, default. Trusts its user, but refuses a value it does not
 * understand instead of guessing. Must never look at credentials.
 */
#include "fs/net/config.h"

#include "fs/net/profile.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define MAX_ATTEMPTS_DEFAULT 10
#define MAX_ATTEMPTS_LIMIT 100
#define DEADLINE_MS_DEFAULT 120000
#define STALL_TIMEOUT_MS_DEFAULT 15000
#define IMDS_TIMEOUT_MS_DEFAULT 1000
#define IMDS_ATTEMPTS_DEFAULT 2

static const char imds_v4[] = "http://169.254.169.254";
static const char imds_v6[] = "http://[fd00:ec2::254]";

static const struct {
	const char *name;
	const char *variable;
} services[AWS_SERVICE_COUNT] = {
	[AWS_SERVICE_S3] = {"s3", "AWS_ENDPOINT_URL_S3"},
	[AWS_SERVICE_KMS] = {"kms", "AWS_ENDPOINT_URL_KMS"},
};

const char *aws_service_name(enum aws_service service)
{
	return services[service].name;
}

void aws_config_clear(struct aws_config *c)
{
	free(c->profile);
	free(c->region);
	for (size_t i = 0; i < AWS_SERVICE_COUNT; i++)
		free(c->endpoints[i]);
	free(c->sts_endpoint);
	free(c->ca_file);
	free(c->imds_endpoint);
	*c = (struct aws_config){0};
}

/* A variable that is set and not empty, else NULL. */
static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

static const char *env_or(const char *name, const char *otherwise)
{
	const char *value = env(name);

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
	unsigned long value;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || text[0] == '-' || value == 0 || value > max)
		return error_set(err, -EINVAL, "%s must be 1 to %u, not %.40s", what, max, text);
	*ret = (unsigned)value;
	return 0;
}

static int load_region(const struct aws_options *o, const struct profile *p, struct aws_config *c,
		       struct error *err)
{
	const char *region = o->region;

	if (!region)
		region = env_or("AWS_REGION", env("AWS_DEFAULT_REGION"));
	if (!region)
		region = profile_get(p, "region");
	if (region && !endpoint_region_valid(region)) {
		error_hint(err, "a region looks like eu-west-1");
		return error_set(err, -EINVAL, "not an AWS region: %.80s", region);
	}
	return copy(region, &c->region, err);
}

static int load_endpoint(const char *option, const char *name, const char *variable,
			 const struct profile *p, char **ret, struct error *err)
{
	const char *url = option, *what = "the endpoint option";
	bool ignore = false;
	int r;

	r = parse_bool(env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
		       "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", &ignore, err);
	if (r < 0)
		return r;
	if (!url && !ignore) {
		what = variable;
		url = env(what);
		if (!url) {
			what = "AWS_ENDPOINT_URL";
			url = env(what);
		}
		if (!url) {
			what = "endpoint_url of the profile";
			url = profile_get_service(p, name, "endpoint_url");
		}
		if (!url)
			url = profile_get(p, "endpoint_url");
	}
	return url ? endpoint_check_url(url, what, ret, err) : 0;
}

static int load_endpoints(const struct aws_options *o, const struct profile *p,
			  struct aws_config *c, struct error *err)
{
	const char *options[AWS_SERVICE_COUNT] = {
		[AWS_SERVICE_S3] = o->s3_endpoint,
		[AWS_SERVICE_KMS] = o->kms_endpoint,
	};
	int r = 0;

	for (size_t i = 0; r >= 0 && i < AWS_SERVICE_COUNT; i++)
		r = load_endpoint(options[i], services[i].name, services[i].variable, p,
				  &c->endpoints[i], err);
	if (r >= 0)
		r = load_endpoint(NULL, "sts", "AWS_ENDPOINT_URL_STS", p, &c->sts_endpoint, err);
	return r;
}

static int load_style(const struct aws_options *o, const struct profile *p, struct aws_config *c,
		      struct error *err)
{
	const char *style = profile_get_nested(p, "s3", "addressing_style");

	if (o->path_style && o->virtual_host)
		return error_set(err, -EINVAL, "path style and virtual hosts exclude each other");
	if (o->path_style)
		c->style = ENDPOINT_STYLE_PATH;
	else if (o->virtual_host)
		c->style = ENDPOINT_STYLE_VIRTUAL;
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

static int load_imds(struct aws_config *c, const struct profile *p, struct error *err)
{
	const char *mode = env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
	const char *url = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	unsigned timeout_s = 0;
	int r;

	r = parse_bool(env("AWS_EC2_METADATA_DISABLED"), "AWS_EC2_METADATA_DISABLED",
		       &c->imds_disabled, err);
	if (r < 0)
		return r;
	if (mode && strcasecmp(mode, "ipv4") != 0 && strcasecmp(mode, "ipv6") != 0)
		return error_set(err, -EINVAL,
				 "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE must be "
				 "IPv4 or IPv6");
	if (!url)
		url = mode && strcasecmp(mode, "ipv6") == 0 ? imds_v6 : imds_v4;
	r = endpoint_check_url(url, "AWS_EC2_METADATA_SERVICE_ENDPOINT", &c->imds_endpoint, err);
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

static int load_retries(const struct aws_options *o, const struct profile *p, struct aws_config *c,
			struct error *err)
{
	c->stall_timeout_ms = o->stall_timeout_ms ? o->stall_timeout_ms : STALL_TIMEOUT_MS_DEFAULT;
	c->deadline_ms = o->deadline_ms ? o->deadline_ms : DEADLINE_MS_DEFAULT;
	c->max_attempts = o->max_attempts ? o->max_attempts : MAX_ATTEMPTS_DEFAULT;
	if (o->max_attempts)
		return 0;
	return parse_number(env_or("AWS_MAX_ATTEMPTS", profile_get(p, "max_attempts")),
			    "AWS_MAX_ATTEMPTS", MAX_ATTEMPTS_LIMIT, &c->max_attempts, err);
}

static int load_profile(const struct aws_options *o, struct aws_config *c, struct profile **ret,
			struct error *err)
{
	const char *name = o->profile;
	int r;

	c->profile_explicit = name != NULL;
	if (!name)
		name = env_or("AWS_PROFILE", env("AWS_DEFAULT_PROFILE"));
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

	r = load_profile(o, ret, &p, err);
	if (r >= 0)
		r = load_region(o, p, ret, err);
	if (r >= 0)
		r = load_endpoints(o, p, ret, err);
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
		r = load_imds(ret, p, err);
	if (r >= 0)
		r = load_retries(o, p, ret, err);
	if (r >= 0)
		r = copy(profile_get(p, "ca_bundle"), &ret->ca_file, err);
	return r;
}
