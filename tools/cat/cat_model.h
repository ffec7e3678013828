/*
 * cat_model.h: one model, opened as a mount opens it: owner, set, attestation, key, measurement.
 */
#ifndef SEALEDFS_TOOLS_CAT_MODEL_H
#define SEALEDFS_TOOLS_CAT_MODEL_H

#include "fs/models/means.h"
#include "tools/cat/sink.h"

struct cat_model {
	struct means means;
	struct generation *generation; /* NULL: none is held */
	struct model *model;	       /* NULL: not open */
	uint64_t size;		       /* bytes of its plaintext, once it is open */
};

/*
 * Unlocks and measures the one model that config->models names. cat_model_close() in any case.
 * Ctrl-C ends it soon. Errors as listing.h and unlock_model.h.
 */
int cat_model_open(const struct config *config, struct cat_model *ret, struct error *err);
/* All of it, in order; each byte was checked before it is written. Errors as read.h and sink.h. */
int cat_model_write(struct cat_model *m, struct sink *sink, struct error *err);
void cat_model_close(struct cat_model *m);

#endif
