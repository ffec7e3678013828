/*
 * condition.h: condition operators, and the patterns of policies. Internal to fs/keypolicy.
 */
#ifndef SEALEDFS_KEYPOLICY_CONDITION_H
#define SEALEDFS_KEYPOLICY_CONDITION_H

#include "fs/keypolicy/policy.h"

enum condition_compare {
	COMPARE_EQUALS,
	COMPARE_EQUALS_NOCASE,
	COMPARE_LIKE,
	COMPARE_ARN,
	COMPARE_NUMBER,
	COMPARE_BOOL,
	COMPARE_NULL,
	COMPARE_UNKNOWN, /* dates, addresses, binaries, and what this version does not know */
};

struct condition_operator {
	enum condition_compare compare;
	bool negated;
	bool if_exists, for_all, for_any;
	int less, equal, greater; /* COMPARE_NUMBER: which outcomes match */
};

/* "ForAllValues:StringEqualsIfExists". Case does not matter. */
struct condition_operator condition_operator_parse(const char *name);

/* The part {"kms:…": values} of one operator; context and open as in struct keypolicy_request. */
enum keypolicy_truth condition_holds(const struct condition_operator *op, const char *key,
				     const json_t *wanted, const json_t *context, bool open);

/* The values of a context key, whose name has no case; NULL: absent. */
const json_t *condition_context(const json_t *context, const char *key);
bool condition_is_attestation(const char *key);

/* "*" and "?" as in StringLike. */
bool pattern_matches(const char *pattern, const char *text, bool nocase);
bool pattern_has_wildcard(const char *pattern);
/* Of one of the values of a condition. */
bool condition_has_pattern(const json_t *values);

#endif
