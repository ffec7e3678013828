/*
 * Fuzz target: key policies. Besides not crashing: decisions name a statement or none, holes lie in
 * statements and are named once each, an explanation's rows point into the policy, and the text of
 * it fits.
 */
#include "fs/keypolicy/explain.h"
#include "fs/keypolicy/lint.h"

#include "crypto/base/json.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void decide(const struct keypolicy *p, const json_t *context, bool open)
{
	static const char *const actions[] = {"kms:Decrypt", "kms:CreateGrant", "s3:GetObject"};
	static const char *const principals[] = {
		"arn:aws:sts::111122223333:assumed-role/model-consumer/i-1",
		"arn:aws:iam::111122223333:root", "s3.amazonaws.com", ""};

	for (size_t a = 0; a < ARRAY_LEN(actions); a++) {
		for (size_t i = 0; i < ARRAY_LEN(principals); i++) {
			const struct keypolicy_request request = {.principal = principals[i],
								  .action = actions[a],
								  .context = context,
								  .open = open};
			size_t at;
			enum keypolicy_decision d = keypolicy_decide(p, &request, &at);

			check((d == KEYPOLICY_NOT_ALLOWED) == (at == keypolicy_count(p)));
			check(d != KEYPOLICY_DENIED ||
			      keypolicy_denies(keypolicy_statement(p, at)));
			check(keypolicy_decision_name(d) != NULL);
		}
	}
}

static void lint(const struct keypolicy *p)
{
	static struct keypolicy_holes holes;

	check(keypolicy_lint(p, &holes, NULL) == 0 && holes.count <= HOLES_MAX);
	for (size_t i = 0; i < holes.count; i++) {
		const struct keypolicy_hole *h = &holes.list[i];

		check(h->kind < HOLE_KINDS && h->statement < keypolicy_count(p));
		check(h->closed_by <= keypolicy_count(p) && strlen(h->who) < sizeof(h->who));
		for (size_t k = 0; k < i; k++)
			check(holes.list[k].kind != h->kind ||
			      holes.list[k].statement != h->statement);
	}
}

static void explain(const struct keypolicy *p, const json_t *context)
{
	static struct explanation e;
	char text[400], name[EXPLAIN_NAME_MAX], label[KEYPOLICY_SID_MAX];

	keypolicy_explain(p, context, NULL, &e);
	check(e.count <= EXPLAIN_ROWS_MAX && e.nearest <= keypolicy_count(p));
	for (size_t i = 0; i < e.count; i++) {
		check(e.rows[i].statement < keypolicy_count(p));
		check(strlen(explain_name(e.rows[i].key, name)) < sizeof(name));
		check(strlen(keypolicy_label(p, e.rows[i].statement, label)) < sizeof(label));
	}
	explain_summary(p, &e, text, sizeof(text));
	check(strlen(text) < sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	_cleanup_json_ json_t *context = json_object();
	uint8_t pcr[48] = {0x4a};
	int r = keypolicy_parse(data, size, "policy", &p, NULL);

	check(r == 0 || r == -EPROTO || r == -EFBIG);
	if (r < 0)
		return 0;
	check(explain_put_pcr(context, false, 4, pcr, sizeof(pcr)) == 0);
	decide(p, context, true);
	decide(p, context, false);
	lint(p);
	explain(p, context);
	return 0;
}
