/*
 * policy_parts.h: what `sealctl policy` can do; verb_policy.c has its options. Each function prints
 * its result, as JSON if cli->json.
 */
#ifndef SEALEDFS_TOOLS_POLICY_PARTS_H
#define SEALEDFS_TOOLS_POLICY_PARTS_H

#include "fs/keypolicy/policy.h"
#include "tools/common/cli.h"

#define POLICY_ARNS_MAX 64
#define POLICY_IMAGES_MAX 64

struct policy_settings {
	const char *measurements[POLICY_IMAGES_MAX];
	size_t measurement_count;
	const char *owners[POLICY_ARNS_MAX], *sealers[POLICY_ARNS_MAX], *roles[POLICY_ARNS_MAX];
	size_t owner_count, sealer_count, role_count;
	bool enclave, attest;
	const char *check, *explain, *probe, *policy, *tcti;
};

/* what: a file, "-", or a KMS key's ARN, which is asked for its policy. */
int policy_load(struct cli *cli, const char *what, struct keypolicy **ret, struct error *err);

int policy_make(struct cli *cli, const struct policy_settings *s, struct error *err);
/* -EKEYREJECTED: there is a hole, the document would be refused, an un-attested call is permitted.
 */
int policy_check(struct cli *cli, const struct policy_settings *s, struct error *err);
int policy_explain(struct cli *cli, const struct policy_settings *s, struct error *err);
int policy_probe(struct cli *cli, const struct policy_settings *s, struct error *err);

#endif
