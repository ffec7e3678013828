/*
 * predict.h: which value a PCR has after several models were measured one after the other
 * (attest/PCRS.md), from their plaintexts or from what their seals state. Threads: one.
 */
#ifndef SEALEDFS_TOOLS_PREDICT_H
#define SEALEDFS_TOOLS_PREDICT_H

#include "attest/pcr.h"
#include "crypto/sign.h"
#include "tools/output.h"
#include "tools/target.h"

struct prediction {
	struct predicted_model {
		char *path;
		struct model_digests digests;
	} * models;
	size_t count;
	/* NULL or empty: what a seal states is believed unsigned. Borrowed. */
	const struct owner_keys *owners;
};

/* path is copied. -ENOMEM. */
int predict_add(struct prediction *p, const char *path, const struct model_digests *digests);
/* One seal, or every seal of a source; operand: for paths. Errors as source.h and seal.h. */
int predict_add_target(struct prediction *p, const char *operand, const struct target *t,
		       struct error *err);
/* Bytewise by path, as measure-when=mount has it. */
void predict_sort(struct prediction *p);
void predict_clear(struct prediction *p);

/* From zero; each distinct measurement once. False where the mode does not measure the bank. */
bool predict_value(const struct prediction *p, enum measure_mode mode, enum digest_alg bank,
		   uint8_t value[DIGEST_SIZE_MAX]);
/* {"verity": {"sha1": hex, …}, …} */
json_t *predict_values_json(const struct prediction *p);
/* Lines "    MODE  BANK  HEX"; declared, which is as sha384, is left out. */
void predict_print_values(const struct prediction *p);
/* {"models": [path, …], "pcr": …} */
json_t *predict_json(const struct prediction *p);
void predict_print(const struct prediction *p);

#define _cleanup_prediction_ _cleanup_(predict_clear)

#endif
