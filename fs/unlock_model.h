/*
 * unlock_model.h: everything between a name in the view and plaintext that may be read, in the
 * order of crypto/FORMAT.md "Order of a reader". Blocks on network and TPM. Thread-safe for
 * different files.
 */
#ifndef SEALEDFS_UNLOCK_MODEL_H
#define SEALEDFS_UNLOCK_MODEL_H

#include "fs/model.h"

/* Errors as seal.h, unlock.h, pcr.h and source.h; the caller frees *ret. */
int unlock_model(const struct models_options *o, const struct view_node *file,
		 struct read_file **ret, struct error *err);

#endif
