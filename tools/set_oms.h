/*
 * set_oms.h: what `sealctl set` prints about OpenSSF Model Signing bundles. One thread.
 */
#ifndef SEALEDFS_TOOLS_SET_OMS_H
#define SEALEDFS_TOOLS_SET_OMS_H

#include "tools/common/cli.h"
#include "tools/set/set_export.h"

#include <jansson.h>

struct set_oms {
	const char *bundle, *key; /* files; NULL: not given */
	struct oms_summary summary;
};

/* Compares a loaded set with somebody else's bundle; a finding for each difference. */
int set_oms_check(struct cli *cli, struct set_oms *o, const struct set *set, oms_finding *finding,
		  void *arg, struct error *err);
/* After a check without findings: what the bundle is, and what in it was not checked. */
void set_oms_print(const struct set_oms *o);
json_t *set_oms_json(const struct set_oms *o);
/* Writes a bundle for a loaded set, and says so. */
int set_oms_export(struct cli *cli, const struct set_oms *o, const struct set_store *store,
		   struct error *err);

#endif
