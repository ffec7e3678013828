/*
 * Keys by way of a profile. Job: follow role_arn to where its keys come from. Trusts the user's
 * files, but not to end: a chain of profiles is short and has no circles. Must never fall back to
 * other keys than those that a profile asks for.
 */
#include "fs/net/profile_keys.h"

#include "fs/net/container.h"
#include "fs/net/imds.h"
#include "fs/net/profile.h"

#include <errno.h>
#include <string.h>

/* Roles that are assumed by way of each other; AWS's limit on useful chains is far lower. */
#define CHAIN_MAX 5

static const char *env(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

int environment_keys(struct credentials **ret, struct error *err)
{
	const char *id = env("AWS_ACCESS_KEY_ID"), *key = env("AWS_SECRET_ACCESS_KEY");
	int r;

	if (!id)
		return -ENOENT;
	if (!key)
		return error_set(err, -EINVAL,
				 "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
	r = credentials_new(id, key, env("AWS_SESSION_TOKEN"), 0, "environment", ret);
	return r < 0 ? error_set(err, r, "the AWS keys in the environment are malformed") : 0;
}

int web_identity_keys(const struct sts *sts, struct credentials **ret, struct error *err)
{
	const struct sts_role role = {.arn = env("AWS_ROLE_ARN"),
				      .session_name = env("AWS_ROLE_SESSION_NAME")};
	const char *file = env("AWS_WEB_IDENTITY_TOKEN_FILE");

	if (!file)
		return -ENOENT;
	if (!role.arn)
		return error_set(err, -EINVAL,
				 "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
	return sts_assume_with_token(sts, &role, file, ret, err);
}

struct chain {
	const struct sts *sts;
	const char *names[CHAIN_MAX];
	unsigned count;
};

static int own_keys(const struct profile *p, const char *name, struct credentials **ret,
		    struct error *err)
{
	const char *id = profile_get(p, "aws_access_key_id");
	const char *key = profile_get(p, "aws_secret_access_key");
	int r;

	if (!id && !key)
		return -ENOENT;
	if (!id || !key)
		return error_set(err, -EINVAL, "AWS profile %s has only one half of a key pair",
				 name);
	r = credentials_new(id, key, profile_get(p, "aws_session_token"), 0, "profile", ret);
	return r < 0 ? error_set(err, r, "the keys of AWS profile %s are malformed", name) : 0;
}

static int refuse_others(const struct profile *p, const char *name, struct error *err)
{
	static const char *const others[] = {"sso_session", "sso_start_url", "credential_process",
					     "login_session"};

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		if (!profile_get(p, others[i]))
			continue;
		error_hint(err, "aws configure export-credentials --format env gives keys that "
				"can be set in the environment");
		return error_set(err, -EINVAL,
				 "AWS profile %s wants keys by way of %s, which sealedfs does not "
				 "do",
				 name, others[i]);
	}
	return -ENOENT;
}

static int follow(struct chain *chain, const char *name, struct credentials **ret,
		  struct error *err);

/* The keys that a role is assumed with. */
static int source_of(struct chain *chain, const struct profile *p, const char *name,
		     struct credentials **ret, struct error *err)
{
	const struct sts *sts = chain->sts;
	const char *profile = profile_get(p, "source_profile");
	const char *source = profile_get(p, "credential_source");
	int r = -EINVAL;

	if (!profile == !source)
		return error_set(err, -EINVAL,
				 "AWS profile %s has role_arn, and needs one of source_profile, "
				 "credential_source and web_identity_token_file",
				 name);
	if (profile) {
		r = strcmp(profile, name) == 0 ? own_keys(p, name, ret, err)
					       : follow(chain, profile, ret, err);
		return r == -ENOENT ? error_set(err, -EINVAL,
						"AWS profile %s, the source of %s, has no keys",
						profile, name)
				    : r;
	}
	if (strcmp(source, "Environment") == 0)
		r = environment_keys(ret, err);
	else if (strcmp(source, "EcsContainer") == 0)
		r = container_configured() ? container_credentials(sts->http, ret, err) : -ENOENT;
	else if (strcmp(source, "Ec2InstanceMetadata") == 0)
		r = sts->imds && !sts->config->imds_disabled ? imds_credentials(sts->imds, ret, err)
							     : -ENOENT;
	else
		return error_set(err, -EINVAL,
				 "credential_source of AWS profile %s must be Environment, "
				 "Ec2InstanceMetadata or EcsContainer, not %.40s",
				 name, source);
	return r == -ENOENT ? error_set(err, -EINVAL,
					"credential_source %s of AWS profile %s: "
					"there are no keys",
					source, name)
			    : r;
}

static int role_keys(struct chain *chain, const struct profile *p, const char *name,
		     struct credentials **ret, struct error *err)
{
	const struct sts_role role = {.arn = profile_get(p, "role_arn"),
				      .session_name = profile_get(p, "role_session_name"),
				      .external_id = profile_get(p, "external_id"),
				      .duration_s = profile_get(p, "duration_seconds")};
	const char *file = profile_get(p, "web_identity_token_file");
	_cleanup_(credentials_unrefp) struct credentials *source = NULL;
	int r;

	if (!role.arn)
		return error_set(err, -EINVAL,
				 "AWS profile %s has web_identity_token_file, but no role_arn",
				 name);
	if (file)
		return sts_assume_with_token(chain->sts, &role, file, ret, err);
	if (profile_get(p, "mfa_serial"))
		return error_set(err, -EINVAL,
				 "AWS profile %s wants a code of mfa_serial, and nobody can be "
				 "asked for it",
				 name);
	r = source_of(chain, p, name, &source, err);
	return r < 0 ? r : sts_assume(chain->sts, &role, source, ret, err);
}

static int follow(struct chain *chain, const char *name, struct credentials **ret,
		  struct error *err)
{
	_cleanup_(profile_freep) struct profile *p = NULL;
	int r;

	for (unsigned i = 0; i < chain->count; i++)
		if (strcmp(chain->names[i], name) == 0)
			return error_set(err, -EINVAL,
					 "AWS profile %s is its own source_profile by way of %s",
					 name, chain->names[chain->count - 1]);
	if (chain->count == CHAIN_MAX)
		return error_set(err, -EINVAL, "more than %d AWS profiles lead to each other",
				 CHAIN_MAX);
	r = profile_load(name, &p, err);
	if (r < 0)
		return r;
	if (chain->count > 0 && !profile_exists(p))
		return error_set(err, -EINVAL,
				 "no AWS profile is called %s, the source_profile of %s", name,
				 chain->names[chain->count - 1]);
	chain->names[chain->count++] = name;
	if (profile_get(p, "role_arn") || profile_get(p, "web_identity_token_file"))
		return role_keys(chain, p, name, ret, err);
	r = own_keys(p, name, ret, err);
	return r == -ENOENT ? refuse_others(p, name, err) : r;
}

int profile_keys(const struct sts *sts, const char *name, struct credentials **ret,
		 struct error *err)
{
	struct chain chain = {.sts = sts};

	return follow(&chain, name, ret, err);
}
