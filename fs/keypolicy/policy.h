/*
 * policy.h: a KMS key policy, and its decision on one request (IAM User Guide: "Policy
 * evaluation logic", "JSON policy elements", "Condition operators", "Multivalued context keys"; KMS
 * Developer Guide: "Key policies", "Condition keys"). Pure: no I/O, no network. Thread-safe.
 *
 * The three-valued logic is for requests that are known in part: an operator, a policy variable or
 * a context key that cannot be judged makes a statement apply perhaps.
 */
#ifndef SEALEDFS_KEYPOLICY_POLICY_H
#define SEALEDFS_KEYPOLICY_POLICY_H

#include "crypto/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define KEYPOLICY_SIZE_MAX 32768 /* bytes: what KMS takes */
#define KEYPOLICY_ATTESTATION "kms:RecipientAttestation:"
#define KEYPOLICY_SID_MAX 128 /* of keypolicy_label(), with the NUL */

struct keypolicy;

/*
 * size: the whole document; {"Policy": "…"}, as GetKeyPolicy answers, is taken, too. name: for
 * messages. -EFBIG; -EPROTO: not a policy, or an element that this version does not know; -ENOMEM.
 */
int keypolicy_parse(const void *json, size_t size, const char *name, struct keypolicy **ret,
		    struct error *err);
void keypolicy_free(struct keypolicy *p);
DEFINE_CLEANUP(struct keypolicy *, keypolicy_free)

size_t keypolicy_count(const struct keypolicy *p); /* statements, at least 1 */
/* Borrowed: a statement that keypolicy_parse() has checked. */
const json_t *keypolicy_statement(const struct keypolicy *p, size_t index);
bool keypolicy_denies(const json_t *statement);
/* "statement 2 (Sid)" or "statement 2": counted from 1. Text from outside. */
const char *keypolicy_label(const struct keypolicy *p, size_t index, char out[KEYPOLICY_SID_MAX]);
/* One value of a member that may be a string or a list; NULL beyond the last. */
const char *keypolicy_text(const json_t *strings, size_t index);
/* The principals of a kind ("AWS", "Service", …) that Principal or NotPrincipal names; NULL: none.
 * "*" alone counts as "AWS". */
const json_t *keypolicy_principals(const json_t *statement, const char *kind);

enum keypolicy_truth { KEYPOLICY_NO, KEYPOLICY_MAYBE, KEYPOLICY_YES };

/* How a statement's principals fit: by the account, an IAM policy there must allow it, too. */
enum keypolicy_match { KEYPOLICY_OTHER, KEYPOLICY_BY_ACCOUNT, KEYPOLICY_NAMED };

struct keypolicy_request {
	const char
		*principal; /* ARN of a role, session, user or account root; or a service's name */
	const char *action; /* "kms:Decrypt" */
	const char *resource;  /* the key's ARN; NULL: the key that the policy belongs to */
	const json_t *context; /* {"name": "value", ["value", …] or null}; NULL: empty */
	/* Context keys that are not given are unknown; null is absent. A document is always given
	 * whole.
	 */
	bool open;
};

/* Whether one statement applies, whatever its effect. *ret_match may be NULL. */
enum keypolicy_truth keypolicy_applies(const json_t *statement,
				       const struct keypolicy_request *request,
				       enum keypolicy_match *ret_match);
enum keypolicy_match keypolicy_principal(const json_t *statement, const char *principal);
bool keypolicy_covers_action(const json_t *statement, const char *action);

enum keypolicy_decision {
	KEYPOLICY_NOT_ALLOWED, /* no statement applies */
	KEYPOLICY_DENIED,      /* an explicit Deny */
	KEYPOLICY_ALLOWED,
	KEYPOLICY_IAM, /* left to IAM policies of the principal's account */
	KEYPOLICY_UNKNOWN,
};

/* *ret_statement: the one that decides; keypolicy_count() when none does. May be NULL. */
enum keypolicy_decision keypolicy_decide(const struct keypolicy *p,
					 const struct keypolicy_request *request,
					 size_t *ret_statement);
const char *keypolicy_decision_name(enum keypolicy_decision decision);

#endif
