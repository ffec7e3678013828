/*
 * batch.h: several sealed objects that belong together: all of them stay visible, or none.
 * Each is published by itself (publish.h); if a later one fails, the earlier ones are removed and
 * what they replaced is restored. One thread.
 */
#ifndef SEALEDFS_TOOLS_BATCH_H
#define SEALEDFS_TOOLS_BATCH_H

#include "tools/seal/seal_input.h"

struct batch;

int batch_new(const struct seal_request *req, struct batch **ret);
void batch_free(struct batch *b);
/*
 * seal_input() as part of the batch. Old payloads stay until batch_done(), regardless of
 * req->remove_old. Results belong to the batch.
 */
int batch_seal(struct batch *b, const struct seal_request *req, struct input *in, const char *name,
	       struct error *err);
/* Undoes everything, newest first, as far as possible; failures are logged. */
void batch_undo(struct batch *b);
/* On success: removes the replaced payloads if req->remove_old is set. */
void batch_done(struct batch *b);

size_t batch_count(const struct batch *b);
const struct seal_result *batch_result(const struct batch *b, size_t index, const char **ret_name);

DEFINE_CLEANUP(struct batch *, batch_free)

#endif
