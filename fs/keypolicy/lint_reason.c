/*
 * Why a statement lets a principal do what an attacker asked for. Job: the most particular kind of
 * hole. Trusts the policy's shape (policy.c), and nothing that it says.
 */
#include "fs/keypolicy/lint_internal.h"

#include "fs/keypolicy/attempts.h"
#include "fs/keypolicy/condition.h"

#include <string.h>
#include <strings.h>

#define PCR12 KEYPOLICY_ATTESTATION "NitroTPMPCR12"

/* The weakness of the statement's conditions on documents, or kind when they have none. Where PCR
 * 12 is missed, only a condition on it counts. */
static enum keypolicy_hole_kind weak_condition(const json_t *s, enum keypolicy_hole_kind kind)
{
	json_t *condition = json_object_get(s, "Condition"), *block, *wanted;
	const char *name, *key;

	json_object_foreach (condition, name, block) {
		const struct condition_operator op = condition_operator_parse(name);

		json_object_foreach (block, key, wanted) {
			if (!condition_is_attestation(key) ||
			    (kind == HOLE_PCR12_MISSING && strcasecmp(key, PCR12) != 0))
				continue;
			if (op.if_exists)
				return HOLE_IF_EXISTS;
			if (op.for_all)
				return HOLE_FOR_ALL_VALUES;
			if (op.compare == COMPARE_NULL)
				return HOLE_NULL_CONDITION;
			if (op.negated)
				return HOLE_NEGATED_CONDITION;
			if (op.compare == COMPARE_LIKE && condition_has_pattern(wanted))
				kind = HOLE_STRING_LIKE;
		}
	}
	return kind;
}

bool lint_names_everybody(const json_t *s)
{
	const char *name;

	for (size_t i = 0; (name = keypolicy_text(keypolicy_principals(s, "AWS"), i)); i++)
		if (pattern_has_wildcard(name))
			return true;
	return false;
}

enum keypolicy_hole_kind lint_reason(const json_t *s, const char *principal,
				     enum keypolicy_match match, enum keypolicy_hole_kind kind)
{
	if (json_object_get(s, "NotAction"))
		return HOLE_NOT_ACTION;
	if (json_object_get(s, "NotPrincipal"))
		return HOLE_NOT_PRINCIPAL;
	if (json_object_get(s, "NotResource"))
		return HOLE_NOT_RESOURCE;
	if (attempt_pins_machine(s) || attempt_pins_enclave(s))
		return weak_condition(s, kind);
	if (lint_names_everybody(s))
		return HOLE_WILDCARD_PRINCIPAL;
	if (attempt_is_service(principal))
		return HOLE_SERVICE_PRINCIPAL;
	if (match == KEYPOLICY_BY_ACCOUNT || strstr(principal, ":root"))
		return HOLE_ACCOUNT_ROOT;
	return kind;
}
