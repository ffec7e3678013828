/*
 * unlock_model.h: all steps from a name in the view to plaintext that may be read, in the order of
 * crypto/FORMAT.md "Order of a reader". Waits for network and TPM. Thread-safe for different files.
 */
#ifndef SEALEDFS_MODELS_UNLOCK_MODEL_H
#define SEALEDFS_MODELS_UNLOCK_MODEL_H

#include "fs/models/options.h"

/* A model that has its keys but is not measured: no reader may have it yet. */
struct unlocked;

/* All steps but the measurement. Errors as seal.h, unlock.h and source.h. */
int unlock_model(const struct models_options *o, const struct view_node *file,
		 struct unlocked **ret, struct error *err);
/*
 * The content of its measurement; ret->name is left alone. In the bare modes that takes a pass over
 * the whole model, which can be made once.
 */
int unlocked_claim(const struct unlocked *u, enum measure_mode mode, struct measure_event *ret,
		   struct error *err);
/*
 * Measures, in the bare modes and with read_whole after reading the whole model, and returns the
 * plaintext. Takes u, also after an error. key: for measured.h. *ret_measured (may be NULL) is set
 * on success. Errors as pcr.h and read.h; the caller frees *ret.
 */
int unlocked_measure(struct unlocked *u, const struct models_options *o,
		     const struct view_node *file, const void *key, struct read_file **ret,
		     struct measurement *ret_measured, struct error *err);
/* read_file_set_target() of its plaintext. */
void unlocked_set_target(struct unlocked *u, void *target);
const struct seal *unlocked_seal(const struct unlocked *u);
void unlocked_free(struct unlocked *u);

DEFINE_CLEANUP(struct unlocked *, unlocked_free)

#endif
