/*
 * predict.h: which value a PCR has after a mount has measured several models one after the other
 * (attest/PCRS.md), from their plaintexts or from what their seals state, and from the mount's
 * configuration. Threads: one.
 */
#ifndef SEALEDFS_TOOLS_PREDICT_H
#define SEALEDFS_TOOLS_PREDICT_H

#include "attest/start_event.h"
#include "crypto/set.h"
#include "tools/common/output.h"
#include "tools/common/target.h"

struct prediction {
	struct predicted_model {
		char *path;
		struct model_digests digests;
		bool is_event_text; /* the bare modes refuse its plaintext */
		struct seal *seal;  /* that it was added from, with keep_seals; else NULL */
	} * models;
	size_t count;
	/* The set that a mount of the source would show; NULL: none. Its members are the models. */
	struct set *set;
	/* Content digest of a set that is not made yet; its plaintexts are the models. */
	bool has_content;
	uint8_t content[SHA256_SIZE];
	bool without_set; /* the mount ignores a set */
	/* The mount's; borrowed. measure is not looked at. Without owners what a seal states is
	 * believed unsigned. */
	struct start_facts facts;
	bool keep_seals;
	bool only_mode; /* nothing but `mode` is predicted */
	enum measure_mode mode;
	/* Of a whole source only these paths below it; none: all. Borrowed. */
	const char *const *names;
	size_t name_count;
};

/* path is copied. is_event_text: of the plaintext, false where that is not known. -ENOMEM. */
int predict_add(struct prediction *p, const char *path, const struct model_digests *digests,
		bool is_event_text);
/* One seal, or every seal of a source, or the members of its set; operand: for paths. Errors as
 * source.h, seal.h and set.h. -EINVAL: a set, and something else. */
int predict_add_target(struct prediction *p, const char *operand, const struct target *t,
		       struct error *err);
/* Bytewise by path, as ready=measured has it. */
void predict_sort(struct prediction *p);
void predict_clear(struct prediction *p);

/*
 * The PCR of a bank from zero; each distinct event once. -EKEYREJECTED: the mode refuses one of the
 * models; other errors as start_event.h.
 */
int predict_value(const struct prediction *p, enum measure_mode mode, enum digest_alg bank,
		  uint8_t value[DIGEST_SIZE_MAX], struct error *err);
/* {"verity": {"sha1": hex, …}, …}; a mode that refuses a model is left out. */
int predict_values_json(const struct prediction *p, json_t **ret, struct error *err);
/* Lines "    MODE  BANK  HEX", or why there are none. */
int predict_print_values(const struct prediction *p, struct error *err);
/* {"models": [path, …], "set": …, "start": {mode: text, …}, "pcr": …}; set: null without one. */
int predict_json(const struct prediction *p, json_t **ret, struct error *err);
int predict_print(const struct prediction *p, struct error *err);

#define _cleanup_prediction_ _cleanup_(predict_clear)

#endif
