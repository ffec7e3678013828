/*
 * means.h: what a configuration gives to open models with: owners, credentials, TPM, keys, the
 * source, and the catalog over it. The same for a mount and for tools that open models without one.
 * Threads: one until means_finish().
 */
#ifndef SEALEDFS_MODELS_MEANS_H
#define SEALEDFS_MODELS_MEANS_H

#include "fs/models/listing.h"

struct means {
	const struct config *config; /* borrowed */
	struct owner_keys *owners;
	struct oms_key *oms_key; /* NULL: no bundle is required */
	char *start;		 /* text of the start event; NULL: the mode has none */
	char *set_start;	 /* where a set is measured by default; NULL: it is not */
	struct aws *aws;	 /* NULL: neither S3 nor KMS is used */
	struct attest_provider *provider;
	struct unlock *unlock;
	struct budget budget;
	struct allowance kept; /* of listings and tables */
	struct source *source;
	struct read_engine *engine;
	struct catalog *catalog;
	struct ollama_shelf *shelf;
	struct listing listing;
};

/* Who opens the models. */
struct means_user {
	const struct kernel_ops *kernel; /* copied; NULL: there is no mount */
	struct residents *residents;	 /* for fs/resident; borrowed, outlives the models; NULL */
	void (*show)(void *arg, unsigned step_ms, const char *text); /* as struct listing's */
	void *show_arg;
};

/* In this order; means_clear() in any case. The first divides the memory, and warns about a
 * configuration that cannot work. The second needs what may be root's files only. */
int means_plan(struct means *m, const struct config *config, struct error *err);
int means_open(struct means *m, struct error *err);
int means_finish(struct means *m, const struct means_user *user, struct error *err);
/* No model may be open. */
void means_clear(struct means *m);

#endif
