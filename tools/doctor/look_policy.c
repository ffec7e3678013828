/*
 * Findings: key policies that refuse this machine, PCR by PCR. A policy comes from kms-policy= or
 * from KMS, if the role may read it. KMS judges a document that AWS signed; here the PCRs are read
 * from the TPM.
 */
#include "attest/pcr.h"
#include "crypto/base/json.h"
#include "fs/aws/kms_arn.h"
#include "fs/keypolicy/explain.h"
#include "tools/doctor/doctor.h"
#include "tools/policy/policy_parts.h"

#include <stdlib.h>
#include <string.h>

#define PCRS 24
#define SUMMARY_MAX 1024

static int read_context(const struct doctor *d, json_t **ret, struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	_cleanup_json_ json_t *context = json_object();
	int r = tpm_open(d->config.tcti, &t, err);

	for (unsigned i = 0; r == 0 && i < PCRS; i++) {
		struct pcr_values values;

		r = pcr_read(t, i, &values, err);
		for (size_t k = 0; r == 0 && k < values.bank_count; k++)
			if (values.banks[k].alg == DIGEST_SHA384)
				r = explain_put_pcr(context, false, i, values.banks[k].value,
						    digest_size(DIGEST_SHA384));
	}
	if (r == 0)
		*ret = steal_ptr(context);
	return r;
}

static void look_policy(struct doctor *d, const json_t *context, const char *what)
{
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	_cleanup_free_ struct explanation *e = calloc(1, sizeof(*e));
	struct error why = {0};
	char text[SUMMARY_MAX];
	int r = e ? policy_load(d->cli, what, &p, &why) : -ENOMEM;

	if (r < 0) {
		doctor_skip(d, "the key policy of %s: %s", what, error_text(&why, r));
		return;
	}
	keypolicy_explain(p, context, NULL, e);
	if (!e->refused) {
		doctor_note(d, "%s accepts this machine's PCRs%s", what,
			    e->uncertain ? ", if its other conditions are met" : "");
		return;
	}
	explain_summary(p, e, text, sizeof(text));
	doctor_find(d, FINDING_KEY_POLICY, "%s refuses this machine: %s", what, text);
}

void doctor_look_policy(struct doctor *d)
{
	_cleanup_json_ json_t *context = NULL;
	const struct config_list *keys = &d->config.kms_keys;
	struct error e = {0};
	bool any = d->config.kms_policy != NULL;
	struct kms_arn arn;
	int r;

	if (!d->has_config || d->config.attest == CONFIG_ATTEST_NONE)
		return;
	for (size_t i = 0; i < keys->count; i++)
		any = any || kms_arn_parse(keys->items[i], &arn) == 0;
	if (!any)
		return;
	if (!d->live) {
		doctor_skip(d, "key policies: a tree has no PCRs");
		return;
	}
	r = read_context(d, &context, &e);
	if (r < 0) {
		doctor_skip(d, "key policies: %s", error_text(&e, r));
		return;
	}
	if (d->config.kms_policy)
		look_policy(d, context, d->config.kms_policy);
	for (size_t i = 0; !d->config.kms_policy && i < keys->count; i++)
		if (kms_arn_parse(keys->items[i], &arn) == 0)
			look_policy(d, context, keys->items[i]);
}
