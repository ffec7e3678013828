/*
 * A policy file as expectations. Job: read it and the files that it names, relative to its folder.
 * Trusts it only if nobody else can change it. Must never take a part of it.
 */
#include "attest/verdict/policy_file.h"
#include "crypto/base/fileio.h"
#include "crypto/base/trust_file.h"
#include "tools/verify/expectations.h"

#include <errno.h>
#include <string.h>

static int read_policy(const char *path, struct policy_file *ret, struct error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = malloc(POLICY_FILE_SIZE_MAX + 1);
	ssize_t n;
	int r = text ? trust_file_open(path, TRUST_UNCHANGED, &fd, err) : -ENOMEM;

	if (r < 0)
		return error_set(err, r, "cannot read %s: %s", path, strerror(-r));
	n = file_read(fd, text, POLICY_FILE_SIZE_MAX + 1);
	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	return policy_file_parse(text, (size_t)n, path, ret, err);
}

/* A path of the policy as the process can open it; the caller frees it. */
static char *locate(const char *policy, const char *path)
{
	const char *slash = strrchr(policy, '/');
	char *found = NULL;

	if (path[0] == '/' || !slash || source_spec_is_s3(path))
		return strdup(path);
	return asprintf(&found, "%.*s/%s", (int)(slash - policy), policy, path) < 0 ? NULL : found;
}

static int each(struct expectations *e, const char *policy, const struct text_list *list,
		int (*expect)(struct expectations *, const char *, struct error *),
		struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->count; i++) {
		_cleanup_free_ char *path = locate(policy, list->items[i]);

		r = path ? expect(e, path, err) : -ENOMEM;
	}
	return r;
}

static bool is_digest(const char *text)
{
	return strncmp(text, "sha256:", 7) == 0 || strncmp(text, "sha384:", 7) == 0 ||
	       strncmp(text, "verity:", 7) == 0 || strncmp(text, "set:", 4) == 0;
}

static int take_models(struct expectations *e, const char *policy, const struct text_list *list,
		       struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->count; i++) {
		const struct text_list one = {&list->items[i], 1};

		r = is_digest(list->items[i]) ? expect_model(e, list->items[i], err)
					      : each(e, policy, &one, expect_model, err);
	}
	return r;
}

/* "NAME=FILE": the file is relative. */
static int take_owners(struct expectations *e, const char *policy, const struct text_list *list,
		       struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->count; i++) {
		const char *text = list->items[i], *equals = strchr(text, '=');
		const char *slash = strchr(text, '/');
		bool named = equals && equals > text && (!slash || equals < slash);
		_cleanup_free_ char *path = locate(policy, named ? equals + 1 : text);
		_cleanup_free_ char *whole = NULL;

		if (!path ||
		    (named && asprintf(&whole, "%.*s=%s", (int)(equals - text), text, path) < 0))
			return -ENOMEM;
		r = expect_owner(e, named ? whole : path, err);
	}
	return r;
}

/* Alternatives beside those of the policy would accept more than it does. */
static int check_once(const struct expectations *e, const struct policy_file *policy,
		      struct error *err)
{
	const struct {
		bool given, in_policy;
		const char *what;
	} members[] = {
		{e->root, policy->root, "root"},
		{e->req.has_max_age, policy->has_max_age, "max_age"},
		{e->req.boot_count > 0, policy->boot_count + policy->measurements.count > 0,
		 "pcrs or measurements"},
		{e->req.model_count > 0, policy->models.count > 0, "models"},
		{e->req.modes, policy->modes, "measure"},
		{owner_keys_count(e->owners) > 0, policy->owner_keys.count > 0, "owner_keys"},
		{e->has_pcr, policy->has_pcr, "model_pcr"},
		{e->req.allow_debug, policy->has_debug, "debug"},
	};

	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		if (members[i].given && members[i].in_policy)
			return error_set(err, -EINVAL,
					 "it has %s, so the options for that are left out",
					 members[i].what);
	return 0;
}

static int apply(struct expectations *e, const char *path, const struct policy_file *policy,
		 struct error *err)
{
	const struct text_list root = {&(const char *){policy->root}, policy->root ? 1 : 0};
	int r = each(e, path, &root, expect_root, err);

	for (size_t i = 0; r == 0 && i < policy->boot_count; i++)
		r = expect_boot_value(e, &policy->boot[i], err);
	if (r == 0)
		r = each(e, path, &policy->measurements, expect_measurements, err);
	if (r == 0)
		r = take_models(e, path, &policy->models, err);
	if (r == 0)
		r = take_owners(e, path, &policy->owner_keys, err);
	e->req.modes |= policy->modes;
	e->req.allow_debug |= policy->debug;
	if (policy->has_max_age) {
		e->req.has_max_age = true;
		e->req.max_age_s = policy->max_age_s;
	}
	if (policy->has_pcr) {
		e->has_pcr = true;
		e->req.pcr = policy->pcr;
	}
	return r;
}

int expect_policy(struct expectations *e, const char *path, struct error *err)
{
	_cleanup_policy_file_ struct policy_file policy = {.json = NULL};
	int r = read_policy(path, &policy, err);

	if (r == 0)
		r = check_once(e, &policy, err);
	if (r == 0)
		r = apply(e, path, &policy, err);
	return r < 0 ? error_prefix(err, r, "policy %s", path) : 0;
}
