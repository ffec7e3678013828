/*
 * sealctl policy --explain: PCR by PCR, why a policy refuses a document. The document is not
 * verified here: it is a claim, and KMS verifies it.
 */
#include "attest/document.h"
#include "crypto/base/json.h"
#include "crypto/base/printable.h"
#include "fs/keypolicy/explain.h"
#include "tools/common/output.h"
#include "tools/policy/policy_parts.h"
#include "tools/verify/verify_input.h"

#include <errno.h>
#include <string.h>

static int read_document(const char *path, struct attest_doc **ret, struct error *err)
{
	_cleanup_presented_ struct presented evidence = {0};
	int r = verify_read_evidence(path, &evidence, err);

	if (r < 0)
		return r;
	r = document_parse(evidence.document.data, evidence.document.size, ret, err);
	return r < 0 ? error_prefix(err, r, "%s", path) : 0;
}

static json_t *document_context(const struct attest_doc *doc)
{
	json_t *context = json_object();

	for (unsigned i = 0; i < DOCUMENT_PCRS_MAX; i++)
		if (doc->pcrs[i].present &&
		    explain_put_pcr(context, doc->kind == DOCUMENT_ENCLAVE, i, doc->pcrs[i].value,
				    doc->pcrs[i].size) < 0) {
			json_decref(context);
			return NULL;
		}
	return context;
}

static json_t *row_json(const struct explain_row *row)
{
	char name[EXPLAIN_NAME_MAX];

	return json_pack("{s:i, s:o, s:o, s:b, s:o, s:O}", "statement", (int)row->statement + 1,
			 "pcr", output_text(explain_name(row->key, name)), "key",
			 output_text(row->key), "fits", row->fits, "document",
			 row->actual ? output_text(row->actual) : json_null(), "policy",
			 row->wanted);
}

static void print_row(const struct explain_row *row)
{
	char name[EXPLAIN_NAME_MAX];
	const char *wanted;

	print_safely(stdout, "    %-12s %s\n", explain_name(row->key, name),
		     row->fits	   ? "fits"
		     : row->actual ? "differs"
				   : "is not in the document");
	if (row->fits)
		return;
	if (row->actual)
		print_safely(stdout, "      document   %s\n", row->actual);
	for (size_t i = 0; (wanted = keypolicy_text(row->wanted, i)) != NULL; i++)
		print_safely(stdout, "      %-10s %s\n", i == 0 ? "policy" : "or", wanted);
}

static const char *verdict(const struct explanation *e)
{
	if (e->refused)
		return "would be refused";
	return e->uncertain ? "would be accepted if the policy's other conditions are met"
			    : "would be accepted";
}

static void print_explanation(const char *label, const struct keypolicy *p,
			      const struct explanation *e)
{
	char text[KEYPOLICY_SID_MAX];

	print_safely(stdout, "%s: %s (its signature is not verified here)\n", label, verdict(e));
	for (size_t i = 0; i < e->count; i++) {
		const struct explain_row *row = &e->rows[i];

		if (i == 0 || row->statement != e->rows[i - 1].statement)
			print_safely(stdout, "  %s %s\n", keypolicy_label(p, row->statement, text),
				     keypolicy_denies(keypolicy_statement(p, row->statement))
					     ? "denies"
					     : "allows");
		print_row(row);
	}
	if (e->nearest == keypolicy_count(p))
		print_safely(stdout, "  no statement allows kms:Decrypt to this caller\n");
}

static int report(struct cli *cli, const char *label, const struct keypolicy *p,
		  const struct explanation *e)
{
	json_t *rows;

	if (!cli->json) {
		print_explanation(label, p, e);
		return 0;
	}
	rows = json_array();
	for (size_t i = 0; i < e->count; i++)
		output_append(&rows, row_json(&e->rows[i]));
	cli->failure_reported = true;
	return output_json(json_pack("{s:o, s:b, s:b, s:b, s:o}", "document", output_text(label),
				     "verified", 0, "refused", e->refused, "uncertain",
				     e->uncertain, "conditions", rows));
}

int policy_explain(struct cli *cli, const struct policy_settings *s, struct error *err)
{
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	_cleanup_(document_freep) struct attest_doc *doc = NULL;
	_cleanup_json_ json_t *context = NULL;
	_cleanup_free_ struct explanation *e = calloc(1, sizeof(*e));
	char text[400];
	int r = e ? read_document(s->explain, &doc, err) : -ENOMEM;

	if (r == 0)
		r = policy_load(cli, s->policy, &p, err);
	if (r < 0)
		return r;
	context = document_context(doc);
	if (!context)
		return -ENOMEM;
	keypolicy_explain(p, context, s->role_count ? s->roles[0] : NULL, e);
	r = report(cli, s->explain, p, e);
	if (r < 0 || !e->refused)
		return r;
	explain_summary(p, e, text, sizeof(text));
	return error_set(err, -EKEYREJECTED, "%s would be refused: %s", s->explain, text);
}
