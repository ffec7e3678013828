/*
 * seal_ollama.h: sealing a model together with its Ollama description, and its other weights.
 */
#ifndef SEALEDFS_TOOLS_SEAL_OLLAMA_H
#define SEALEDFS_TOOLS_SEAL_OLLAMA_H

#include "tools/seal/batch.h"
#include "tools/seal/ollama_import.h"

/*
 * in as `name`, with "NAME.ollama" beside it: the description first, so that the model is never
 * seen without it. On failure what was replaced is restored, unless the destination has
 * become unreachable. Results are in the batch.
 */
int seal_described(const struct seal_request *req, const struct ollama_bundle *bundle,
		   struct input *in, const char *name, struct batch *batch, struct error *err);
/* All of a model from an Ollama store; -EBADMSG: a blob does not match its digest. */
int seal_import(const struct seal_request *req, const struct ollama_import *im, struct batch *batch,
		struct error *err);

/* -EINVAL: a part of a split GGUF. */
int seal_check_gguf(const char *path, struct error *err);
/* Warns when a description lies beside name, which was sealed without one over another model. */
void seal_warn_stale_description(const struct seal_request *req, const struct seal_result *res,
				 const char *name);

#endif
