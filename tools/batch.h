/*
 * batch.h: several sealed objects that belong together: all of them become visible, or none stays.
 * Each is published by itself (publish.h); when a later one fails, the earlier ones are taken back,
 * and what they replaced is put back. One thread.
 */
#ifndef SEALEDFS_TOOLS_BATCH_H
#define SEALEDFS_TOOLS_BATCH_H

#include "tools/seal_input.h"

struct batch;

int batch_new(const struct seal_request *req, struct batch **ret);
void batch_free(struct batch *b);
/*
 * seal_input() as part of the batch. Old payloads stay until batch_done(), whatever
 * req->remove_old says. results are the batch's.
 */
int batch_seal(struct batch *b, const struct seal_request *req, struct input *in, const char *name,
	       struct error *err);
/* Takes everything back, newest first, as far as that is possible; what is not is logged. */
void batch_undo(struct batch *b);
/* All is well: with req->remove_old removes the payloads that were replaced. */
void batch_done(struct batch *b);

size_t batch_count(const struct batch *b);
const struct seal_result *batch_result(const struct batch *b, size_t index, const char **ret_name);

DEFINE_CLEANUP(struct batch *, batch_free)

#endif
