/*
 * Conditions of statements. Job: each operator as IAM documents it, with an answer for "cannot be
 * judged". Trusts the shape that keypolicy_parse() checked. Must never answer yes or no where IAM's
 * answer depends on something that is not in the request.
 */
#include "fs/keypolicy/condition.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCALAR_MAX 64 /* of a number or Boolean as text */

bool condition_is_attestation(const char *key)
{
	return strncasecmp(key, KEYPOLICY_ATTESTATION, strlen(KEYPOLICY_ATTESTATION)) == 0;
}

bool pattern_has_wildcard(const char *pattern)
{
	return strpbrk(pattern, "*?") != NULL;
}

bool pattern_matches(const char *pattern, const char *text, bool nocase)
{
	const char *star = NULL, *resume = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text ||
			   (nocase &&
			    tolower((unsigned char)*pattern) == tolower((unsigned char)*text))) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

static const struct {
	const char *name;
	struct condition_operator op;
} operators[] = {
	{"StringEquals", {.compare = COMPARE_EQUALS}},
	{"StringNotEquals", {.compare = COMPARE_EQUALS, .negated = true}},
	{"StringEqualsIgnoreCase", {.compare = COMPARE_EQUALS_NOCASE}},
	{"StringNotEqualsIgnoreCase", {.compare = COMPARE_EQUALS_NOCASE, .negated = true}},
	{"StringLike", {.compare = COMPARE_LIKE}},
	{"StringNotLike", {.compare = COMPARE_LIKE, .negated = true}},
	{"ArnEquals", {.compare = COMPARE_ARN}},
	{"ArnLike", {.compare = COMPARE_ARN}},
	{"ArnNotEquals", {.compare = COMPARE_ARN, .negated = true}},
	{"ArnNotLike", {.compare = COMPARE_ARN, .negated = true}},
	{"NumericEquals", {.compare = COMPARE_NUMBER, .equal = 1}},
	{"NumericNotEquals", {.compare = COMPARE_NUMBER, .negated = true, .equal = 1}},
	{"NumericLessThan", {.compare = COMPARE_NUMBER, .less = 1}},
	{"NumericLessThanEquals", {.compare = COMPARE_NUMBER, .less = 1, .equal = 1}},
	{"NumericGreaterThan", {.compare = COMPARE_NUMBER, .greater = 1}},
	{"NumericGreaterThanEquals", {.compare = COMPARE_NUMBER, .greater = 1, .equal = 1}},
	{"Bool", {.compare = COMPARE_BOOL}},
	{"Null", {.compare = COMPARE_NULL}},
};

static bool take_prefix(const char **name, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncasecmp(*name, prefix, n) != 0)
		return false;
	*name += n;
	return true;
}

struct condition_operator condition_operator_parse(const char *name)
{
	static const char suffix[] = "IfExists";
	struct condition_operator op = {.compare = COMPARE_UNKNOWN};
	bool all = take_prefix(&name, "ForAllValues:");
	bool any = !all && take_prefix(&name, "ForAnyValue:");
	size_t n = strlen(name), s = sizeof(suffix) - 1;
	bool if_exists = n > s && strcasecmp(name + n - s, suffix) == 0;

	n -= if_exists ? s : 0;
	for (size_t i = 0; i < ARRAY_LEN(operators); i++)
		if (strlen(operators[i].name) == n && strncasecmp(operators[i].name, name, n) == 0)
			op = operators[i].op;
	op.if_exists = if_exists;
	op.for_all = all;
	op.for_any = any;
	return op;
}

const json_t *condition_context(const json_t *context, const char *key)
{
	void *at = json_object_iter((json_t *)(uintptr_t)context);

	for (; at; at = json_object_iter_next((json_t *)(uintptr_t)context, at))
		if (strcasecmp(json_object_iter_key(at), key) == 0)
			return json_object_iter_value(at);
	return NULL;
}

/* A value as text; true, 1 and 1.5 are written as in JSON. */
static const char *scalar_text(const json_t *value, char out[SCALAR_MAX])
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_integer(value))
		(void)snprintf(out, SCALAR_MAX, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))
		(void)snprintf(out, SCALAR_MAX, "%.17g", json_real_value(value));
	else
		(void)snprintf(out, SCALAR_MAX, "%s", json_is_true(value) ? "true" : "false");
	return out;
}

static size_t value_count(const json_t *values)
{
	return json_is_array(values) ? json_array_size(values) : 1;
}

static const char *value_at(const json_t *values, size_t i, char out[SCALAR_MAX])
{
	return scalar_text(json_is_array(values) ? json_array_get(values, i) : values, out);
}

/* Each of the first five parts by itself, so that "*" does not reach over a colon. */
static bool arn_matches(const char *pattern, const char *text)
{
	for (int part = 0; part < 5; part++) {
		size_t a = strcspn(pattern, ":"), b = strcspn(text, ":");
		_cleanup_free_ char *one = strndup(pattern, a), *other = strndup(text, b);

		if (!pattern[a] || !text[b] || !one || !other ||
		    !pattern_matches(one, other, false))
			return false;
		pattern += a + 1;
		text += b + 1;
	}
	return pattern_matches(pattern, text, false);
}

/* "*", "arn:*" and so on: too few parts, the last of which stands for all the others. */
static bool is_short_arn(const char *pattern)
{
	const char *last = strrchr(pattern, ':');
	int colons = 0;

	for (const char *at = pattern; *at; at++)
		colons += *at == ':';
	return colons < 5 && strcmp(last ? last + 1 : pattern, "*") == 0;
}

static enum keypolicy_truth truth(bool yes)
{
	return yes ? KEYPOLICY_YES : KEYPOLICY_NO;
}

static enum keypolicy_truth number_matches(const struct condition_operator *op, const char *wanted,
					   const char *actual)
{
	char *end_wanted, *end_actual;
	double w = strtod(wanted, &end_wanted), a = strtod(actual, &end_actual);

	if (end_wanted == wanted || *end_wanted || end_actual == actual || *end_actual)
		return KEYPOLICY_MAYBE;
	return truth((op->less && a < w) || (op->greater && a > w) ||
		     (op->equal && !(a < w) && !(a > w)));
}

static enum keypolicy_truth value_matches(const struct condition_operator *op, const char *wanted,
					  const char *actual)
{
	if (strstr(wanted, "${"))
		return KEYPOLICY_MAYBE;
	switch (op->compare) {
	case COMPARE_EQUALS:
		return truth(strcmp(wanted, actual) == 0);
	case COMPARE_EQUALS_NOCASE:
	case COMPARE_BOOL:
		return truth(strcasecmp(wanted, actual) == 0);
	case COMPARE_LIKE:
		return truth(pattern_matches(wanted, actual, false));
	case COMPARE_ARN:
		/* AWS does not document whether they match; policies have them. */
		return is_short_arn(wanted) ? KEYPOLICY_MAYBE : truth(arn_matches(wanted, actual));
	case COMPARE_NUMBER:
		return number_matches(op, wanted, actual);
	default:
		return KEYPOLICY_MAYBE;
	}
}

/* Whether one value of the request is among those of the policy; the opposite, if negated. */
static enum keypolicy_truth is_among(const struct condition_operator *op, const json_t *wanted,
				     const char *actual)
{
	enum keypolicy_truth best = KEYPOLICY_NO;
	char buf[SCALAR_MAX];

	for (size_t i = 0; i < value_count(wanted); i++)
		best = MAX(best, value_matches(op, value_at(wanted, i, buf), actual));
	return op->negated ? KEYPOLICY_YES - best : best;
}

static enum keypolicy_truth null_holds(const json_t *wanted, const json_t *actual, bool unknown)
{
	char buf[SCALAR_MAX];

	if (unknown)
		return KEYPOLICY_MAYBE;
	for (size_t i = 0; i < value_count(wanted); i++)
		if (strcasecmp(value_at(wanted, i, buf), actual ? "false" : "true") == 0)
			return KEYPOLICY_YES;
	return KEYPOLICY_NO;
}

static enum keypolicy_truth absent_holds(const struct condition_operator *op)
{
	if (op->for_all)
		return KEYPOLICY_YES;
	if (op->for_any) /* AWS does not document the two together */
		return op->if_exists ? KEYPOLICY_MAYBE : KEYPOLICY_NO;
	if (op->if_exists)
		return KEYPOLICY_YES;
	if (op->compare == COMPARE_UNKNOWN)
		return KEYPOLICY_MAYBE;
	return truth(op->negated);
}

enum keypolicy_truth condition_holds(const struct condition_operator *op, const char *key,
				     const json_t *wanted, const json_t *context, bool open)
{
	const json_t *given = condition_context(context, key);
	/* An empty list is no value either. */
	const json_t *actual =
		json_is_null(given) || (given && value_count(given) == 0) ? NULL : given;
	bool unknown = !given && open && !condition_is_attestation(key);
	/* All values, or for a negated operator without a set prefix none of them. */
	bool all = op->for_all || (op->negated && !op->for_any);
	enum keypolicy_truth result = truth(all);
	char buf[SCALAR_MAX];

	if (op->compare == COMPARE_NULL)
		return null_holds(wanted, actual, unknown);
	if (unknown)
		return KEYPOLICY_MAYBE;
	if (!actual)
		return absent_holds(op);
	for (size_t i = 0; i < value_count(actual); i++) {
		enum keypolicy_truth one = is_among(op, wanted, value_at(actual, i, buf));

		result = all ? MIN(result, one) : MAX(result, one);
	}
	return result;
}

bool condition_has_pattern(const json_t *values)
{
	const char *text;

	for (size_t i = 0; (text = keypolicy_text(values, i)) != NULL; i++)
		if (pattern_has_wildcard(text))
			return true;
	return false;
}
