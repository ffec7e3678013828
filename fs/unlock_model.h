/*
 * unlock_model.h: everything between a name in the view and plaintext that may be read, in the
 * order of crypto/FORMAT.md "Order of a reader". Blocks on network and TPM. Thread-safe for
 * different files.
 */
#ifndef SEALEDFS_UNLOCK_MODEL_H
#define SEALEDFS_UNLOCK_MODEL_H

#include "fs/model.h"

/* A model whose keys are there, and which has not been measured: no reader may have it yet. */
struct unlocked;

/* Everything but the measurement. Errors as seal.h, unlock.h and source.h. */
int unlock_model(const struct models_options *o, const struct view_node *file,
		 struct unlocked **ret, struct error *err);
/*
 * Measures, in the flat modes after reading the model whole, and hands out the plaintext. Takes u,
 * also after an error. *ret_measured (may be NULL) is set on success. Errors as pcr.h and read.h;
 * the caller frees *ret.
 */
int unlocked_measure(struct unlocked *u, const struct models_options *o,
		     const struct view_node *file, struct read_file **ret,
		     struct measurement *ret_measured, struct error *err);
/* read_file_set_target() of its plaintext. */
void unlocked_set_target(struct unlocked *u, void *target);
void unlocked_free(struct unlocked *u);

DEFINE_CLEANUP(struct unlocked *, unlocked_free)

#endif
