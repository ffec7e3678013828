/*
 * seal_ollama.h: sealing a model together with its Ollama description, and its other weights.
 */
#ifndef SEALEDFS_TOOLS_SEAL_OLLAMA_H
#define SEALEDFS_TOOLS_SEAL_OLLAMA_H

#include "tools/batch.h"
#include "tools/ollama_import.h"

/*
 * in as `name`, with "NAME.ollama" beside it: the description first, so that the model is never
 * seen without it. On failure what was there before is there again, except when the destination
 * cannot be reached any more. results: to be read from the batch.
 */
int seal_described(const struct seal_request *req, const struct ollama_bundle *bundle,
		   struct input *in, const char *name, struct batch *batch, struct error *err);
/* All of a model from an Ollama store; -EBADMSG: a blob is not what its digest says. */
int seal_import(const struct seal_request *req, const struct ollama_import *im, struct batch *batch,
		struct error *err);

/* -EINVAL: a part of a split GGUF. Warns when it is none at all. */
int seal_check_gguf(const char *path, struct gguf_header *ret, struct error *err);
/* Warns when a description lies beside name, which was sealed without one over another model. */
void seal_warn_stale_description(const struct seal_request *req, const struct seal_result *res,
				 const char *name);

#endif
