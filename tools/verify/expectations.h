/*
 * expectations.h: what a consumer expects of a machine, from options or a policy file, as files and
 * words; with evidence it becomes a request for a verdict (attest/verdict/verdict.h).
 *
 * Each function refuses what it cannot read and says which option's value it was. Texts are copied.
 * Threads: one at a time; expectations_judge() changes nothing, so any number may call it.
 */
#ifndef SEALEDFS_TOOLS_EXPECTATIONS_H
#define SEALEDFS_TOOLS_EXPECTATIONS_H

#include "attest/verdict/presented.h"
#include "tools/common/cli.h"
#include "tools/common/target.h"

struct expectations {
	struct cli *cli; /* for models in S3, and progress */
	struct verdict_request req;
	bool has_pcr; /* else PCR_DEFAULT: never one that evidence names, which nobody signed */
	uint8_t *root;
	struct verdict_boot *boot;
	struct verdict_model *models; /* labels are owned */
	struct seal **seals;	      /* of models that were given as seals */
	size_t seal_count;
	struct set **sets; /* of models that were given as the places of sets */
	size_t set_count;
	const char **members; /* texts are borrowed */
	struct owner_keys *owners;
	char **owner_names;
	size_t owner_name_count;
	char **kms_keys;
};

/* cli may be NULL: then no model may lie in S3. -ENOMEM. */
int expectations_init(struct expectations *e, struct cli *cli, struct error *err);
void expectations_clear(struct expectations *e);

/* A certificate, PEM or DER. */
int expect_root(struct expectations *e, const char *path, struct error *err);
/* "4=HEX" */
int expect_pcr(struct expectations *e, const char *text, struct error *err);
int expect_boot_value(struct expectations *e, const struct verdict_boot *value, struct error *err);
/* A file of measurements; a PCR 4 without PCR 12 asks for a PCR 12 of zeros. */
int expect_measurements(struct expectations *e, const char *path, struct error *err);
/* "sha256:HEX", "sha384:HEX", "verity:HEX", "set:HEX", a seal, a directory or prefix (its set, or
 * its seals in the order of their names), or a plaintext, which is read. */
int expect_model(struct expectations *e, const char *text, struct error *err);
/* A path that a set in the PCR must name; borrowed. */
int expect_member(struct expectations *e, const char *path, struct error *err);
/* A seal, or a directory or prefix of seals, that may be needed for what the PCR holds. */
int expect_seal(struct expectations *e, const char *path, struct error *err);
int expect_mode(struct expectations *e, const char *word, struct error *err);
/* "[NAME=]FILE" */
int expect_owner(struct expectations *e, const char *text, struct error *err);
int expect_kms_key(struct expectations *e, const char *pin, struct error *err);
/* "0" to "15" */
int expect_model_pcr(struct expectations *e, const char *text, struct error *err);
/* Everything that a policy file has. */
int expect_policy(struct expectations *e, const char *path, struct error *err);

/* What belongs to one exchange. */
struct occasion {
	int64_t time_s;
	struct bytes_view nonce;
	const uint8_t *tls_key; /* NULL: not asked */
};

/* Errors as verdict_judge(). */
int expectations_judge(const struct expectations *e, const struct presented *evidence,
		       const struct occasion *when, struct verdict **ret, struct error *err);

#define _cleanup_expectations_ _cleanup_(expectations_clear)

#endif
