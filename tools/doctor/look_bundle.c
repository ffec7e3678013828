/*
 * Findings: the OMS bundle that the mount demands. Whether the set has its files is for the mount,
 * or sealctl set check, to say.
 */
#include "fs/oms/oms_check.h"
#include "tools/doctor/doctor.h"

void doctor_look_bundle(struct doctor *d)
{
	_cleanup_(oms_statement_freep) struct oms_statement *statement = NULL;
	_cleanup_(oms_key_freep) struct oms_key *key = NULL;
	const struct config *c = &d->config;
	struct oms_summary summary = {0};
	struct error e = {0};
	int r;

	if (!d->has_config || !c->oms)
		return;
	if (!d->live) {
		doctor_skip(d, "%s: only on the machine itself", c->oms);
		return;
	}
	r = oms_key_load_public(c->oms_key, &key, &e);
	if (r == 0)
		r = oms_read(c->oms, key, NULL, &statement, &summary, &e);
	if (r < 0)
		doctor_find(d, FINDING_OMS_BUNDLE, "%s", error_text(&e, r));
	else
		doctor_note(d, "%s signs %zu files of \"%s\"", c->oms, summary.files, summary.name);
}
