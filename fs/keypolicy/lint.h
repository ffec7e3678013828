/*
 * lint.h: the ways round attestation that a key policy leaves open.
 *
 * Each Allow is asked by itself for dangerous requests: by the principals that it names, by a
 * stranger, by an account that IAM policies speak for, without a document, with another image's,
 * with a debugged enclave's. What may be allowed is a hole. A Deny elsewhere that closes it is
 * reported, but does not remove it: then all hangs on that Deny. Pure; thread-safe.
 */
#ifndef SEALEDFS_KEYPOLICY_LINT_H
#define SEALEDFS_KEYPOLICY_LINT_H

#include "fs/keypolicy/policy.h"

enum keypolicy_hole_kind {
	HOLE_UNATTESTED_DECRYPT,
	HOLE_WILDCARD_PRINCIPAL,
	HOLE_ACCOUNT_ROOT,
	HOLE_SERVICE_PRINCIPAL,
	HOLE_IMAGE_MISSING,
	HOLE_PCR12_MISSING,
	HOLE_IF_EXISTS,
	HOLE_STRING_LIKE,
	HOLE_FOR_ALL_VALUES,
	HOLE_NULL_CONDITION,
	HOLE_NEGATED_CONDITION,
	HOLE_NOT_ACTION,
	HOLE_NOT_PRINCIPAL,
	HOLE_NOT_RESOURCE,
	HOLE_GRANTS,
	HOLE_GRANTS_SERVICE,
	HOLE_REENCRYPT,
	HOLE_REPLICATE,
	HOLE_DATAKEY_PLAINTEXT,
	HOLE_PUT_KEY_POLICY,
	HOLE_ZERO_ENCLAVE_PCR,
	HOLE_CASE,
	HOLE_DENY_MISSES_UNATTESTED,
	HOLE_KINDS,
};

#define HOLE_WHO_MAX 160

struct keypolicy_hole {
	enum keypolicy_hole_kind kind;
	size_t statement;
	char who[HOLE_WHO_MAX]; /* a principal for whom it is open; may be empty. Outside text */
	const char *action;	/* "kms:Decrypt"; NULL: none in particular */
	/* The Deny that closes it today; keypolicy_count() when none does. */
	size_t closed_by;
};

#define HOLES_MAX 256

struct keypolicy_holes {
	size_t count; /* at most HOLES_MAX; each kind once a statement */
	bool more;    /* there were others */
	struct keypolicy_hole list[HOLES_MAX];
};

/* By statement. -ENOMEM. */
int keypolicy_lint(const struct keypolicy *p, struct keypolicy_holes *ret, struct error *err);

/* "unattested-decrypt": stable. */
const char *keypolicy_hole_id(enum keypolicy_hole_kind kind);
/* What it lets happen; what to write instead. Sentences without a full stop. */
const char *keypolicy_hole_text(enum keypolicy_hole_kind kind);
const char *keypolicy_hole_cure(enum keypolicy_hole_kind kind);

#endif
