/*
 * Keys of a profile. Job: follow role_arn to the source of its keys. Trusts the user's files, but
 * limits a chain of profiles and refuses circles. Must never fall back to keys other than those
 * that a profile requires.
 */
#include "fs/aws/profile_keys.h"

#include "fs/aws/container.h"
#include "fs/aws/imds.h"
#include "fs/aws/process.h"
#include "fs/aws/profile.h"
#include "fs/aws/sso.h"
#include "fs/aws/terminal.h"

#include <errno.h>
#include <string.h>

/* Length of a chain of assumed roles; AWS's limit on useful chains is far lower. */

int environment_keys(struct credentials **ret, struct error *err)
{
	const char *id = aws_env("AWS_ACCESS_KEY_ID"), *key = aws_env("AWS_SECRET_ACCESS_KEY");
	const char *token = aws_env("AWS_SESSION_TOKEN");
	int r;

	if (!id && !key)
		return -ENOENT;
	if (!id || !key)
		return error_set(err, -EINVAL, "%s is set, but %s is not",
				 id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
				 id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
	r = credentials_new(id, key, token ? token : aws_env("AWS_SECURITY_TOKEN"), 0,
			    "environment", ret);
	return r < 0 ? error_set(err, r, "the AWS keys in the environment are malformed") : 0;
}

struct chain {
	const struct sts *sts;
	const char *names[PROFILE_CHAIN_MAX];
	unsigned count;
};

/* From the environment, where that counts, else from the profile. */
static int web_identity_keys(const struct chain *chain, const struct profile *p, const char *name,
			     struct credentials **ret, struct error *err)
{
	bool by_env = chain->count == 1 && !chain->sts->config->profile_explicit;
	const char *file = by_env ? aws_env("AWS_WEB_IDENTITY_TOKEN_FILE") : NULL;
	struct sts_role role = {.duration_s = profile_get(p, "duration_seconds")};

	if (by_env) {
		role.arn = aws_env("AWS_ROLE_ARN");
		role.session_name = aws_env("AWS_ROLE_SESSION_NAME");
	}
	if (!file)
		file = profile_get(p, "web_identity_token_file");
	if (!role.arn)
		role.arn = profile_get(p, "role_arn");
	if (!role.session_name)
		role.session_name = profile_get(p, "role_session_name");
	if (!file)
		return -ENOENT;
	if (!role.arn)
		return error_set(err, -EINVAL,
				 "a web identity token is configured, but neither AWS_ROLE_ARN nor "
				 "role_arn of AWS profile %s",
				 name);
	return sts_assume_with_token(chain->sts, &role, file, ret, err);
}

static int own_keys(const struct profile *p, enum profile_file file, const char *name,
		    struct credentials **ret, struct error *err)
{
	const char *id = profile_get_from(p, file, "aws_access_key_id");
	const char *key = profile_get_from(p, file, "aws_secret_access_key");
	const char *token = profile_get_from(p, file, "aws_session_token");
	int r;

	if (!id && !key)
		return -ENOENT;
	if (!id || !key)
		return error_set(err, -EINVAL,
				 "AWS profile %s has only one half of a key pair in its %s file",
				 name, file == PROFILE_CONFIG ? "config" : "credentials");
	if (!token)
		token = profile_get_from(p, file, "aws_security_token");
	r = credentials_new(id, key, token, 0, "profile", ret);
	if (r == -EINVAL)
		error_hint(err, "quotes, and # behind a value, are part of the value");
	return r < 0 ? error_set(err, r, "the keys of AWS profile %s are malformed", name) : 0;
}

static int run_process(const struct chain *chain, const struct profile *p, const char *name,
		       struct credentials **ret, struct error *err)
{
	const char *command = profile_get(p, "credential_process");
	enum profile_file file;
	int r;

	if (!command)
		return -ENOENT;
	if (!chain->sts->config->interactive) {
		error_hint(err, "give the mount a role of its own, or keys in the environment: aws "
				"configure export-credentials --format env");
		return error_set(err, -EINVAL,
				 "AWS profile %s has credential_process, and a mount starts no "
				 "programs",
				 name);
	}
	file = profile_get_from(p, PROFILE_CREDENTIALS, "credential_process") ? PROFILE_CREDENTIALS
									      : PROFILE_CONFIG;
	if (profile_file_is_others(p, file)) {
		error_hint(err, "make the file yours, and writable by nobody else");
		return error_set(err, -EINVAL,
				 "AWS profile %s: another user may write to the %s file, so that "
				 "its credential_process is not started",
				 name, file == PROFILE_CONFIG ? "config" : "credentials");
	}
	r = process_credentials(chain->sts->http, command, PROCESS_TIMEOUT_MS, ret, err);
	return r < 0 ? error_prefix(err, r, "AWS profile %s", name) : 0;
}

/* A profile's settings other than an assumed role, in the order of the AWS CLI. */
static int direct_keys(const struct chain *chain, const struct profile *p, const char *name,
		       struct credentials **ret, struct error *err)
{
	int r = web_identity_keys(chain, p, name, ret, err);

	if (r == -ENOENT)
		r = sso_credentials(chain->sts, p, name, ret, err);
	if (r == -ENOENT)
		r = own_keys(p, PROFILE_CREDENTIALS, name, ret, err);
	if (r == -ENOENT)
		r = run_process(chain, p, name, ret, err);
	if (r == -ENOENT)
		r = own_keys(p, PROFILE_CONFIG, name, ret, err);
	if (r != -ENOENT || !profile_get(p, "login_session"))
		return r;
	error_hint(err, "aws configure export-credentials --format env gives keys that can be set "
			"in the environment");
	return error_set(err, -EINVAL,
			 "AWS profile %s wants keys by way of login_session, which sealedfs does "
			 "not do",
			 name);
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
		r = strcmp(profile, name) == 0 ? direct_keys(chain, p, name, ret, err)
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
	char code[TERMINAL_ANSWER_MAX] = "";
	struct sts_role role = {.arn = profile_get(p, "role_arn"),
				.session_name = profile_get(p, "role_session_name"),
				.external_id = profile_get(p, "external_id"),
				.duration_s = profile_get(p, "duration_seconds"),
				.mfa_serial = profile_get(p, "mfa_serial"),
				.mfa_code = code};
	_cleanup_(credentials_unrefp) struct credentials *source = NULL;
	int r = source_of(chain, p, name, &source, err);

	if (r == 0 && role.mfa_serial && !chain->sts->config->interactive)
		r = error_set(err, -EINVAL,
			      "AWS profile %s wants a code of mfa_serial, and a mount asks nobody "
			      "for it",
			      name);
	else if (r == 0 && role.mfa_serial)
		r = terminal_ask("MFA code for", role.mfa_serial, code, err);
	if (r == 0)
		r = sts_assume(chain->sts, &role, source, ret, err);
	wipe(code, sizeof(code));
	return r;
}

static int follow(struct chain *chain, const char *name, struct credentials **ret,
		  struct error *err)
{
	_cleanup_(profile_freep) struct profile *p = NULL;
	bool is_source;
	int r;

	for (unsigned i = 0; i < chain->count; i++)
		if (strcmp(chain->names[i], name) == 0)
			return error_set(err, -EINVAL,
					 "AWS profile %s is its own source_profile by way of %s",
					 name, chain->names[chain->count - 1]);
	if (chain->count == PROFILE_CHAIN_MAX)
		return error_set(err, -EINVAL, "more than %d AWS profiles lead to each other",
				 PROFILE_CHAIN_MAX);
	r = profile_load(name, &p, err);
	if (r < 0)
		return r;
	if (chain->count > 0 && !profile_exists(p))
		return error_set(err, -EINVAL,
				 "no AWS profile is called %s, the source_profile of %s", name,
				 chain->names[chain->count - 1]);
	chain->names[chain->count++] = name;
	/* As a source, another profile provides its own keys, even if it has a role too. */
	is_source = chain->count > 1 && (profile_get(p, "aws_access_key_id") ||
					 profile_get(p, "aws_secret_access_key"));
	if (profile_get(p, "role_arn") && !profile_get(p, "web_identity_token_file") && !is_source)
		return role_keys(chain, p, name, ret, err);
	return direct_keys(chain, p, name, ret, err);
}

int profile_keys(const struct sts *sts, const char *name, struct credentials **ret,
		 struct error *err)
{
	struct chain chain = {.sts = sts};

	return follow(&chain, name, ret, err);
}
