/*
 * seal_plan.h: what `sealctl seal` was asked for, and which files that means. Not thread-safe.
 */
#ifndef SEALEDFS_TOOLS_SEAL_PLAN_H
#define SEALEDFS_TOOLS_SEAL_PLAN_H

#include "tools/common/cli.h"
#include "tools/seal/plan.h"
#include "tools/seal/seal_ollama.h"
#include "tools/set/set_seal.h"

struct seal_settings {
	struct recipient_options recipients;
	const char *sign, *name, *length;
	uint64_t length_bytes;
	bool remove_old, no_facts, again;
	struct set_seal_options set; /* name: NULL without --set */
	uint8_t set_id[SET_ID_SIZE];
	struct set_sealing sealing;
	size_t unchanged; /* members that were left out */
	struct facts origin;
	struct plan plan;
	struct ollama_options ollama;
	const char *from_ollama;
	const char *from_sample, *sample_key; /* aws_sample.h */
	struct ollama_bundle bundle;	      /* made from `ollama` */
	struct ollama_import import;	      /* of from_ollama */
};

/* Makes s->plan, and the bundle or import, from the operands. -EINVAL: a wrong command line. */
int seal_plan_make(struct seal_settings *s, const struct cli *cli, struct error *err);
/* A checkout's revision becomes part of what the set states. -ENOMEM. */
int seal_plan_origin(struct seal_settings *s, const struct cli *cli, struct error *err);
/* The plaintext of an entry; a pipe without a length is spooled. */
int seal_plan_open(const struct seal_settings *s, struct cli *cli, const struct plan_entry *entry,
		   struct input **ret, struct error *err);

#endif
