/*
 * Statement by statement: does it apply to a request, and what follows from all of them. Trusts the
 * shape that keypolicy_parse() checked. Must never let an Allow outweigh a Deny.
 */
#include "fs/keypolicy/condition.h"
#include "fs/keypolicy/policy.h"

#include <string.h>
#include <strings.h>

#define ARN_PARTS 6
#define ACCOUNT_DIGITS 12

struct arn {
	const char *part[ARN_PARTS]; /* "arn", partition, service, region, account, resource */
	size_t size[ARN_PARTS];
};

static bool arn_split(const char *text, struct arn *ret)
{
	for (int i = 0; i < ARN_PARTS; i++) {
		ret->part[i] = text;
		ret->size[i] = i + 1 < ARN_PARTS ? strcspn(text, ":") : strlen(text);
		text += ret->size[i];
		if (i + 1 < ARN_PARTS && *text++ != ':')
			return false;
	}
	return strncmp(ret->part[0], "arn:", 4) == 0;
}

static bool part_equal(const struct arn *a, const struct arn *b, int part)
{
	return a->size[part] == b->size[part] &&
	       memcmp(a->part[part], b->part[part], a->size[part]) == 0;
}

static bool is_account_id(const char *text)
{
	return strlen(text) == ACCOUNT_DIGITS && strspn(text, "0123456789") == ACCOUNT_DIGITS;
}

/* A session of a role: arn:…:sts::A:assumed-role/NAME/SESSION. Its ARN lacks the role's path. */
static bool is_session_of(const struct arn *role, const struct arn *session)
{
	static const char assumed[] = "assumed-role/";
	const char *name = strrchr(role->part[5], '/'), *from = session->part[5];
	size_t n;

	if (!name || strncmp(role->part[5], "role/", 5) != 0 ||
	    strncmp(from, assumed, sizeof(assumed) - 1) != 0 || !part_equal(role, session, 1) ||
	    !part_equal(role, session, 4))
		return false;
	from += sizeof(assumed) - 1;
	n = strcspn(from, "/");
	return strlen(name + 1) == n && strncmp(name + 1, from, n) == 0;
}

/* One entry of {"AWS": …} against a principal that is an ARN. */
static enum keypolicy_match aws_matches(const char *entry, const char *principal)
{
	struct arn who, named;

	if (strcmp(entry, principal) == 0 || pattern_matches(entry, principal, false))
		return KEYPOLICY_NAMED;
	if (!arn_split(principal, &who))
		return KEYPOLICY_OTHER;
	if (is_account_id(entry))
		return who.size[4] != ACCOUNT_DIGITS ||
				       memcmp(who.part[4], entry, ACCOUNT_DIGITS) != 0
			       ? KEYPOLICY_OTHER
		       : strcmp(who.part[5], "root") == 0 ? KEYPOLICY_NAMED
							  : KEYPOLICY_BY_ACCOUNT;
	if (!arn_split(entry, &named))
		return KEYPOLICY_OTHER;
	if (strcmp(named.part[5], "root") == 0 && part_equal(&named, &who, 1) &&
	    part_equal(&named, &who, 4))
		return KEYPOLICY_BY_ACCOUNT;
	return is_session_of(&named, &who) ? KEYPOLICY_NAMED : KEYPOLICY_OTHER;
}

/* The best match among those that Principal or NotPrincipal lists. */
static enum keypolicy_match listed(const json_t *statement, const char *principal)
{
	static const char *const others[] = {"Service", "Federated", "CanonicalUser"};
	const json_t *names = keypolicy_principals(statement, "AWS");
	enum keypolicy_match best = KEYPOLICY_OTHER;
	const char *name;

	for (size_t i = 0; (name = keypolicy_text(names, i)) != NULL; i++)
		best = MAX(best, aws_matches(name, principal));
	for (size_t k = 0; k < ARRAY_LEN(others); k++) {
		names = keypolicy_principals(statement, others[k]);
		for (size_t i = 0; (name = keypolicy_text(names, i)) != NULL; i++)
			if (strcmp(name, "*") == 0 || strcmp(name, principal) == 0)
				best = KEYPOLICY_NAMED;
	}
	return best;
}

enum keypolicy_match keypolicy_principal(const json_t *statement, const char *principal)
{
	enum keypolicy_match match = listed(statement, principal);

	if (json_object_get(statement, "Principal"))
		return match;
	return match == KEYPOLICY_OTHER ? KEYPOLICY_NAMED : KEYPOLICY_OTHER;
}

static bool any_matches(const json_t *patterns, const char *text, bool nocase)
{
	const char *pattern;

	for (size_t i = 0; (pattern = keypolicy_text(patterns, i)) != NULL; i++)
		if (pattern_matches(pattern, text, nocase))
			return true;
	return false;
}

bool keypolicy_covers_action(const json_t *statement, const char *action)
{
	const json_t *not_action = json_object_get(statement, "NotAction");

	if (not_action)
		return !any_matches(not_action, action, true);
	return any_matches(json_object_get(statement, "Action"), action, true);
}

/* Without a key's ARN, an ARN in the policy is taken to be the key's. */
static bool covers_resource(const json_t *statement, const char *resource)
{
	const json_t *not_resource = json_object_get(statement, "NotResource");

	if (not_resource)
		return !any_matches(not_resource, resource ? resource : "", false);
	return !resource || any_matches(json_object_get(statement, "Resource"), resource, false);
}

enum keypolicy_truth keypolicy_applies(const json_t *statement,
				       const struct keypolicy_request *request,
				       enum keypolicy_match *ret_match)
{
	json_t *condition = json_object_get(statement, "Condition"), *block, *wanted;
	enum keypolicy_match match = keypolicy_principal(statement, request->principal);
	enum keypolicy_truth all = KEYPOLICY_YES;
	const char *name, *key;

	if (ret_match)
		*ret_match = match;
	if (match == KEYPOLICY_OTHER || !keypolicy_covers_action(statement, request->action) ||
	    !covers_resource(statement, request->resource))
		return KEYPOLICY_NO;
	json_object_foreach (condition, name, block) {
		const struct condition_operator op = condition_operator_parse(name);

		json_object_foreach (block, key, wanted) {
			enum keypolicy_truth one =
				condition_holds(&op, key, wanted, request->context, request->open);

			all = MIN(all, one);
		}
	}
	return all;
}

/* What is known so far, the strongest first: Deny, perhaps Deny, Allow, … */
struct verdict {
	size_t denied, maybe_denied, allowed, iam, maybe_allowed; /* statements */
};

static enum keypolicy_decision conclude(const struct verdict *v, size_t none, size_t *ret)
{
	const struct {
		size_t statement;
		enum keypolicy_decision decision;
	} order[] = {
		{v->denied, KEYPOLICY_DENIED},
		{v->maybe_denied, KEYPOLICY_UNKNOWN},
		{v->allowed, KEYPOLICY_ALLOWED},
		{v->iam, v->maybe_allowed == none ? KEYPOLICY_IAM : KEYPOLICY_UNKNOWN},
		{v->maybe_allowed, KEYPOLICY_UNKNOWN},
	};
	bool allowable = v->allowed != none || v->iam != none || v->maybe_allowed != none;

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		if (order[i].statement == none || (i == 1 && !allowable))
			continue;
		*ret = order[i].statement;
		return order[i].decision;
	}
	*ret = none;
	return KEYPOLICY_NOT_ALLOWED;
}

enum keypolicy_decision keypolicy_decide(const struct keypolicy *p,
					 const struct keypolicy_request *request,
					 size_t *ret_statement)
{
	size_t none = keypolicy_count(p), decisive;
	struct verdict v = {none, none, none, none, none};
	enum keypolicy_decision decision;

	for (size_t i = none; i-- > 0;) {
		const json_t *s = keypolicy_statement(p, i);
		enum keypolicy_match match;
		enum keypolicy_truth applies = keypolicy_applies(s, request, &match);

		if (applies == KEYPOLICY_NO)
			continue;
		if (keypolicy_denies(s))
			*(applies == KEYPOLICY_YES ? &v.denied : &v.maybe_denied) = i;
		else if (applies == KEYPOLICY_MAYBE)
			v.maybe_allowed = i;
		else
			*(match == KEYPOLICY_NAMED ? &v.allowed : &v.iam) = i;
	}
	decision = conclude(&v, none, &decisive);
	if (ret_statement)
		*ret_statement = decisive;
	return decision;
}

const char *keypolicy_decision_name(enum keypolicy_decision decision)
{
	static const char *const names[] = {
		[KEYPOLICY_NOT_ALLOWED] = "none", [KEYPOLICY_DENIED] = "deny",
		[KEYPOLICY_ALLOWED] = "allow",	  [KEYPOLICY_IAM] = "iam",
		[KEYPOLICY_UNKNOWN] = "unknown",
	};

	return names[decision];
}
