/*
 * Explaining a refusal. Job: each condition on the document beside the document's value. Trusts the
 * evaluation of policy.h. Must never call a document accepted: KMS also checks signature, age and
 * who asks.
 */
#include "fs/keypolicy/explain.h"

#include "crypto/base/encode.h"
#include "fs/keypolicy/condition.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define DECRYPT "kms:Decrypt"
#define NITROTPM_NAME "NitroTPMPCR"
#define PCR_SIZE_MAX 64

int explain_put_pcr(json_t *context, bool enclave, unsigned pcr, const void *value, size_t size)
{
	char hex[2 * PCR_SIZE_MAX + 1], key[EXPLAIN_NAME_MAX];
	int r;

	if (size > PCR_SIZE_MAX)
		return -EINVAL;
	hex_encode(value, size, hex);
	(void)snprintf(key, sizeof(key), KEYPOLICY_ATTESTATION "%s%u",
		       enclave ? "PCR" : NITROTPM_NAME, pcr);
	r = json_object_set_new(context, key, json_string(hex));
	if (enclave && pcr == 0)
		r |= json_object_set_new(context, KEYPOLICY_ATTESTATION "ImageSha384",
					 json_string(hex));
	return r < 0 ? -ENOMEM : 0;
}

const char *explain_name(const char *key, char out[EXPLAIN_NAME_MAX])
{
	const char *name = key + strlen(KEYPOLICY_ATTESTATION), *digits = name;

	if (strncasecmp(digits, "NitroTPM", 8) == 0)
		digits += 8;
	if (strncasecmp(digits, "PCR", 3) == 0 && digits[3])
		(void)snprintf(out, EXPLAIN_NAME_MAX, "PCR %.8s", digits + 3);
	else
		(void)snprintf(out, EXPLAIN_NAME_MAX, "%.48s", name);
	return out;
}

/* Adds the statement's conditions on documents; the number of those that do not fit. */
static size_t add_rows(const json_t *s, size_t index, const json_t *context, struct explanation *e)
{
	json_t *condition = json_object_get(s, "Condition"), *block, *wanted;
	bool denies = keypolicy_denies(s);
	const char *name, *key;
	size_t bad = 0;

	json_object_foreach (condition, name, block) {
		const struct condition_operator op = condition_operator_parse(name);

		json_object_foreach (block, key, wanted) {
			bool holds;

			if (!condition_is_attestation(key))
				continue;
			holds = condition_holds(&op, key, wanted, context, false) != KEYPOLICY_NO;
			bad += holds == denies;
			if (e->count == EXPLAIN_ROWS_MAX)
				continue;
			e->rows[e->count++] = (struct explain_row){
				.statement = index,
				.key = key,
				.wanted = wanted,
				.actual = json_string_value(condition_context(context, key)),
				.fits = holds != denies,
			};
		}
	}
	return bad;
}

static const char *first_principal(const json_t *s)
{
	const char *name = keypolicy_text(keypolicy_principals(s, "AWS"), 0);

	return name && json_object_get(s, "Principal") ? name
						       : "arn:aws:iam::000000000000:role/any";
}

static size_t find_deny(const struct keypolicy *p, const struct keypolicy_request *request)
{
	size_t i = 0;

	for (; i < keypolicy_count(p); i++) {
		const json_t *s = keypolicy_statement(p, i);

		if (keypolicy_denies(s) && keypolicy_applies(s, request, NULL) == KEYPOLICY_YES)
			break;
	}
	return i;
}

static void explain_allow(const struct keypolicy *p, size_t index, const char *principal,
			  const json_t *context, struct explanation *e, size_t *fewest)
{
	const json_t *s = keypolicy_statement(p, index);
	const struct keypolicy_request request = {.principal = principal ? principal
									 : first_principal(s),
						  .action = DECRYPT,
						  .context = context,
						  .open = true};
	size_t bad, denied;

	if (keypolicy_principal(s, request.principal) == KEYPOLICY_OTHER)
		return;
	bad = add_rows(s, index, context, e);
	denied = find_deny(p, &request);
	if (bad < *fewest) {
		*fewest = bad;
		e->nearest = index;
		e->denied_by = denied;
	}
	if (denied < keypolicy_count(p))
		return;
	switch (keypolicy_applies(s, &request, NULL)) {
	case KEYPOLICY_YES:
		e->refused = false;
		e->uncertain = false;
		break;
	case KEYPOLICY_MAYBE:
		e->uncertain |= e->refused;
		e->refused = false;
		break;
	default:
		break;
	}
}

void keypolicy_explain(const struct keypolicy *p, const json_t *context, const char *principal,
		       struct explanation *ret)
{
	size_t none = keypolicy_count(p), fewest = (size_t)-1;

	*ret = (struct explanation){.refused = true, .nearest = none, .denied_by = none};
	for (size_t i = 0; i < none; i++)
		if (!keypolicy_denies(keypolicy_statement(p, i)) &&
		    keypolicy_covers_action(keypolicy_statement(p, i), DECRYPT))
			explain_allow(p, i, principal, context, ret, &fewest);
	if (ret->denied_by < none)
		(void)add_rows(keypolicy_statement(p, ret->denied_by), ret->denied_by, context,
			       ret);
}

static _printf_(3, 4) void append(char *out, size_t size, const char *fmt, ...)
{
	size_t at = strlen(out);
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(out + at, size - at, fmt, args);
	va_end(args);
}

static void append_row(const struct explain_row *row, const char *before, char *out, size_t size)
{
	const char *wanted = keypolicy_text(row->wanted, 0);
	char name[EXPLAIN_NAME_MAX];

	append(out, size, "%s%s", before, explain_name(row->key, name));
	if (row->fits)
		append(out, size, " fits");
	else
		append(out, size, " = %s (wanted: %s%s)", row->actual ? row->actual : "absent",
		       wanted ? wanted : "another",
		       keypolicy_text(row->wanted, 1) ? " or others" : "");
}

/* A key that is named by its ARN, as in a seal, never meets that. */
static bool wants_alias(const json_t *statement)
{
	json_t *block, *wanted;
	const char *operator, * key;

	json_object_foreach (json_object_get(statement, "Condition"), operator, block)
		json_object_foreach (block, key, wanted)
			if (strcasecmp(key, "kms:RequestAlias") == 0)
				return true;
	return false;
}

void explain_summary(const struct keypolicy *p, const struct explanation *e, char *out, size_t size)
{
	size_t none = keypolicy_count(p), at = e->nearest;
	char label[KEYPOLICY_SID_MAX];
	const char *before = ": ";
	bool fits = true;

	out[0] = '\0';
	if (at == none) {
		append(out, size,
		       "no statement of the key policy allows kms:Decrypt to this caller");
		return;
	}
	for (size_t i = 0; i < e->count; i++)
		if (e->rows[i].statement == at)
			fits &= e->rows[i].fits;
	/* A document that fits the Allow may still meet a Deny. */
	if (fits && e->denied_by < none)
		at = e->denied_by;
	append(out, size, "%s", keypolicy_label(p, at, label));
	for (size_t i = 0; i < e->count; i++) {
		if (e->rows[i].statement != at)
			continue;
		append_row(&e->rows[i], before, out, size);
		before = ", ";
	}
	if (fits)
		append(out, size, "; %s",
		       e->denied_by < none ? "it denies"
		       : wants_alias(keypolicy_statement(p, at))
			       ? "it wants kms:RequestAlias, and the key is asked by its ARN"
			       : "the reason is another condition, or who asks");
}
