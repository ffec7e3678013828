/*
 * Holes in a key policy. Job: evaluate each statement with an attacker's requests, and name the
 * reason why it allows them. Trusts the evaluation of policy.h. Must never take a doubt for a No:
 * what cannot be judged in an Allow counts as allowed, and in a Deny as not denied.
 */
#include "fs/keypolicy/lint_internal.h"

#include "crypto/base/json.h"
#include "fs/keypolicy/attempts.h"
#include "fs/keypolicy/condition.h"

#include <string.h>
#include <strings.h>

#define DECRYPT "kms:Decrypt"
#define RUNTIME_MAX 64 /* principals that may use the key and are remembered */

struct lint {
	const struct keypolicy *p;
	struct keypolicy_holes *holes;
	json_t *runtime; /* principals that some Allow lets decrypt */
	bool failed;	 /* no memory */
	/* the current statement */
	size_t index;
	const json_t *s;
};

/* The first Deny that surely applies. */
static size_t closed_by(const struct keypolicy *p, const struct keypolicy_request *request)
{
	size_t i = 0;

	for (; request && i < keypolicy_count(p); i++) {
		const json_t *s = keypolicy_statement(p, i);

		if (keypolicy_denies(s) && keypolicy_applies(s, request, NULL) == KEYPOLICY_YES)
			break;
	}
	return request ? i : keypolicy_count(p);
}

static struct keypolicy_hole *find_hole(const struct lint *l, enum keypolicy_hole_kind kind)
{
	for (size_t i = 0; i < l->holes->count; i++)
		if (l->holes->list[i].kind == kind && l->holes->list[i].statement == l->index)
			return &l->holes->list[i];
	return NULL;
}

/* Known with an example that no Deny stands against: there is no worse one. */
static bool is_settled(const struct lint *l, enum keypolicy_hole_kind kind)
{
	const struct keypolicy_hole *old = find_hole(l, kind);

	return l->holes->more || (old && old->action && old->closed_by == keypolicy_count(l->p));
}

/* request: an example of what is open; NULL: the wording itself is the hole. */
static void add_hole(struct lint *l, enum keypolicy_hole_kind kind,
		     const struct keypolicy_request *request)
{
	struct keypolicy_hole *old = find_hole(l, kind);
	struct keypolicy_hole hole = {.kind = kind,
				      .statement = l->index,
				      .action = request ? request->action : NULL,
				      .closed_by = closed_by(l->p, request)};

	if (request)
		(void)snprintf(hole.who, sizeof(hole.who), "%s", request->principal);
	if (old) {
		/* The worse example stays. */
		if (request && (!old->action || (old->closed_by < keypolicy_count(l->p) &&
						 hole.closed_by == keypolicy_count(l->p))))
			*old = hole;
	} else if (l->holes->count < HOLES_MAX) {
		l->holes->list[l->holes->count++] = hole;
	} else {
		l->holes->more = true;
	}
}

struct asked {
	const char *principal, *action;
	enum attempt_document document;
	enum { PLAIN, REENCRYPT, GRANT, GRANT_TO_SERVICE } special;
	const char *operation; /* of a grant */
};

static json_t *make_context(struct lint *l, const json_t *s, const struct asked *a)
{
	json_t *context = attempt_context(l->p, s, a->principal, a->document);

	if (!context || (a->special == REENCRYPT && attempt_reencrypt(context) < 0) ||
	    (a->special >= GRANT &&
	     attempt_grant(context, a->operation, a->special == GRANT_TO_SERVICE) < 0))
		l->failed = true;
	return context;
}

/* Whether an Allow may apply; then the hole is added, unless kind is HOLE_KINDS. The context is
 * made only where something depends on it: a policy may have hundreds of principals and statements.
 */
static bool ask(struct lint *l, const json_t *s, const struct asked *a,
		enum keypolicy_hole_kind kind)
{
	_cleanup_json_ json_t *context = NULL;
	struct keypolicy_request request = {
		.principal = a->principal, .action = a->action, .open = true};
	enum keypolicy_match match;

	if (!keypolicy_covers_action(s, a->action) ||
	    keypolicy_principal(s, a->principal) == KEYPOLICY_OTHER)
		return false;
	if (json_object_get(s, "Condition")) {
		context = make_context(l, s, a);
		request.context = context;
	}
	if (keypolicy_applies(s, &request, &match) == KEYPOLICY_NO)
		return false;
	if (kind == HOLE_KINDS)
		return true;
	kind = lint_reason(s, a->principal, match, kind);
	if (is_settled(l, kind))
		return true;
	if (!context) {
		context = make_context(l, s, a);
		request.context = context;
	}
	add_hole(l, kind, &request);
	return true;
}

static bool ask_document(struct lint *l, const char *principal, enum attempt_document document,
			 enum keypolicy_hole_kind kind)
{
	const struct asked a = {.principal = principal, .action = DECRYPT, .document = document};

	return ask(l, l->s, &a, kind);
}

static bool ask_action(struct lint *l, const char *principal, const char *action,
		       enum keypolicy_hole_kind kind)
{
	const struct asked a = {.principal = principal, .action = action};

	return ask(l, l->s, &a, kind);
}

/* Some Allow lets principal do this: with kind HOLE_KINDS, nothing is reported. */
static bool may(struct lint *l, const char *principal, const char *action,
		enum attempt_document document)
{
	const struct asked a = {.principal = principal, .action = action, .document = document};

	for (size_t i = 0; i < keypolicy_count(l->p); i++) {
		const json_t *s = keypolicy_statement(l->p, i);

		if (!keypolicy_denies(s) && ask(l, s, &a, HOLE_KINDS))
			return true;
	}
	return false;
}

/* A list that is full does not have all of them. */
static bool is_runtime(struct lint *l, const char *principal)
{
	const char *name;

	for (size_t i = 0; (name = keypolicy_text(l->runtime, i)) != NULL; i++)
		if (strcmp(name, principal) == 0)
			return true;
	return attempt_is_stranger(principal) || (json_array_size(l->runtime) >= RUNTIME_MAX &&
						  (may(l, principal, DECRYPT, ATTEMPT_UNATTESTED) ||
						   may(l, principal, DECRYPT, ATTEMPT_RIGHT)));
}

/* Which documents open the key, from none at all to nearly the right one. */
static void ask_decrypt(struct lint *l, const char *principal)
{
	bool machine = attempt_pins_machine(l->s), enclave = attempt_pins_enclave(l->s);

	if (ask_document(l, principal, ATTEMPT_UNATTESTED, HOLE_UNATTESTED_DECRYPT) ||
	    ask_action(l, principal, "kms:DeriveSharedSecret", HOLE_UNATTESTED_DECRYPT))
		return;
	if (ask_document(l, principal, ATTEMPT_OTHER_MACHINE, HOLE_IMAGE_MISSING) ||
	    ask_document(l, principal, ATTEMPT_OTHER_ENCLAVE, HOLE_IMAGE_MISSING))
		return;
	if (machine || enclave)
		ask_document(l, principal, ATTEMPT_OTHER_IMAGE, HOLE_IMAGE_MISSING);
	if (machine)
		ask_document(l, principal, ATTEMPT_OTHER_COMMANDLINE, HOLE_PCR12_MISSING);
	if (enclave)
		ask_document(l, principal, ATTEMPT_DEBUG_ENCLAVE, HOLE_ZERO_ENCLAVE_PCR);
	if (attempt_is_stranger(principal))
		ask_document(l, principal, ATTEMPT_RIGHT,
			     lint_names_everybody(l->s) ? HOLE_WILDCARD_PRINCIPAL
							: HOLE_SERVICE_PRINCIPAL);
}

/* Grants of what shows the data key, or wraps it for another key. */
static void ask_grants(struct lint *l, const char *principal)
{
	static const char *const operations[] = {"Decrypt", "ReEncryptFrom", "DeriveSharedSecret"};
	struct asked grant = {
		.principal = principal, .action = "kms:CreateGrant", .special = GRANT};
	bool any = false;

	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		grant.operation = operations[i];
		any |= ask(l, l->s, &grant, HOLE_GRANTS);
	}
	grant.special = GRANT_TO_SERVICE;
	for (size_t i = 0; !any && i < ARRAY_LEN(operations); i++) {
		grant.operation = operations[i];
		ask(l, l->s, &grant, HOLE_GRANTS_SERVICE);
	}
}

/* What carries the data key out, or changes the rules. */
static void ask_others(struct lint *l, const char *principal)
{
	const struct asked reencrypt = {
		.principal = principal, .action = "kms:ReEncryptFrom", .special = REENCRYPT};

	ask(l, l->s, &reencrypt, HOLE_REENCRYPT);
	ask_grants(l, principal);
	if (!may(l, principal, "kms:PutKeyPolicy", ATTEMPT_UNATTESTED) || is_runtime(l, principal))
		ask_action(l, principal, "kms:ReplicateKey", HOLE_REPLICATE);
	if (!is_runtime(l, principal))
		return;
	ask_action(l, principal, "kms:PutKeyPolicy", HOLE_PUT_KEY_POLICY);
	if (!ask_action(l, principal, "kms:GenerateDataKey", HOLE_DATAKEY_PLAINTEXT))
		ask_action(l, principal, "kms:GenerateDataKeyPair", HOLE_DATAKEY_PLAINTEXT);
}

/* Wordings that are holes wherever they stand. */
static void lint_wording(struct lint *l)
{
	json_t *condition = json_object_get(l->s, "Condition"), *block, *wanted;
	const json_t *aws = keypolicy_principals(l->s, "AWS");
	bool denies = keypolicy_denies(l->s);
	const char *name, *key, *text;

	if (json_object_get(l->s, "NotAction") && !denies)
		add_hole(l, HOLE_NOT_ACTION, NULL);
	if (json_object_get(l->s, "NotPrincipal"))
		add_hole(l, HOLE_NOT_PRINCIPAL, NULL);
	if (json_object_get(l->s, "NotResource"))
		add_hole(l, HOLE_NOT_RESOURCE, NULL);
	/* KMS refuses patterns of ARNs; "*" alone is judged by what it allows. */
	for (size_t i = 0; !denies && (text = keypolicy_text(aws, i)) != NULL; i++)
		if (pattern_has_wildcard(text) && strcmp(text, "*") != 0)
			add_hole(l, HOLE_WILDCARD_PRINCIPAL, NULL);
	json_object_foreach (condition, name, block) {
		const struct condition_operator op = condition_operator_parse(name);
		bool cased = op.compare == COMPARE_EQUALS || op.compare == COMPARE_LIKE;

		json_object_foreach (block, key, wanted) {
			if (!condition_is_attestation(key))
				continue;
			if (op.if_exists && !denies)
				add_hole(l, HOLE_IF_EXISTS, NULL);
			if (op.for_all && !denies)
				add_hole(l, HOLE_FOR_ALL_VALUES, NULL);
			if (op.compare == COMPARE_LIKE && condition_has_pattern(wanted))
				add_hole(l, HOLE_STRING_LIKE, NULL);
			for (size_t i = 0; cased && (text = keypolicy_text(wanted, i)); i++)
				if (strpbrk(text, "ABCDEF"))
					add_hole(l, HOLE_CASE, NULL);
		}
	}
}

static void lint_allow(struct lint *l)
{
	_cleanup_json_ json_t *own = attempt_principals(l->s);
	const json_t *lists[] = {own, l->runtime};
	const char *principal;

	l->failed |= !own;
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		for (size_t i = 0; (principal = keypolicy_text(lists[k], i)) != NULL; i++) {
			if (keypolicy_principal(l->s, principal) == KEYPOLICY_OTHER)
				continue;
			ask_decrypt(l, principal);
			ask_others(l, principal);
		}
	}
}

/* How the conditions on documents judge a call without one; *ret_negated: they mean to deny others.
 */
static enum keypolicy_truth deny_unattested(const json_t *s, bool *ret_negated)
{
	json_t *condition = json_object_get(s, "Condition"), *block, *wanted;
	enum keypolicy_truth all = KEYPOLICY_YES;
	const char *name, *key;

	json_object_foreach (condition, name, block) {
		const struct condition_operator op = condition_operator_parse(name);

		json_object_foreach (block, key, wanted) {
			enum keypolicy_truth one;

			if (!condition_is_attestation(key))
				continue;
			one = condition_holds(&op, key, wanted, NULL, true);
			all = MIN(all, one);
			*ret_negated |= op.negated;
		}
	}
	return all;
}

/* A Deny that is to keep other images out lets calls without a document pass. */
static void lint_deny(struct lint *l)
{
	_cleanup_json_ json_t *principals = NULL;
	bool negated = false;
	const char *principal;

	if (!keypolicy_covers_action(l->s, DECRYPT) ||
	    deny_unattested(l->s, &negated) == KEYPOLICY_YES || !negated)
		return;
	principals = attempt_principals(l->s);
	l->failed |= !principals;
	for (size_t i = 0; (principal = keypolicy_text(principals, i)) != NULL; i++) {
		_cleanup_json_ json_t *context =
			attempt_context(l->p, l->s, principal, ATTEMPT_UNATTESTED);
		const struct keypolicy_request request = {.principal = principal,
							  .action = DECRYPT,
							  .context = context,
							  .open = true};

		l->failed |= !context;
		if (keypolicy_principal(l->s, principal) != KEYPOLICY_OTHER &&
		    closed_by(l->p, &request) == keypolicy_count(l->p))
			add_hole(l, HOLE_DENY_MISSES_UNATTESTED, &request);
	}
}

static void find_runtime(struct lint *l)
{
	for (size_t i = 0; i < keypolicy_count(l->p); i++) {
		const json_t *s = keypolicy_statement(l->p, i);
		_cleanup_json_ json_t *principals = NULL;
		const char *name;

		if (keypolicy_denies(s) || !keypolicy_covers_action(s, DECRYPT))
			continue;
		principals = attempt_principals(s);
		l->failed |= !principals;
		for (size_t n = 0; (name = keypolicy_text(principals, n)) != NULL; n++) {
			const struct asked none = {.principal = name, .action = DECRYPT};
			const struct asked right = {
				.principal = name, .action = DECRYPT, .document = ATTEMPT_RIGHT};

			if (json_array_size(l->runtime) < RUNTIME_MAX &&
			    !attempt_is_stranger(name) && !is_runtime(l, name) &&
			    (ask(l, s, &none, HOLE_KINDS) || ask(l, s, &right, HOLE_KINDS)))
				l->failed |=
					json_array_append_new(l->runtime, json_string(name)) < 0;
		}
	}
}

int keypolicy_lint(const struct keypolicy *p, struct keypolicy_holes *ret, struct error *err)
{
	_cleanup_json_ json_t *runtime = json_array();
	struct lint l = {.p = p, .holes = ret, .runtime = runtime, .failed = !runtime};

	*ret = (struct keypolicy_holes){0};
	find_runtime(&l);
	for (l.index = 0; l.index < keypolicy_count(p); l.index++) {
		l.s = keypolicy_statement(p, l.index);
		if (keypolicy_denies(l.s))
			lint_deny(&l);
		else
			lint_allow(&l);
		lint_wording(&l);
	}
	return l.failed ? error_set(err, -ENOMEM, "out of memory") : 0;
}
