/*
 * ollama_import.h: a model in an Ollama store on disk, taken apart for sealing: its manifest byte
 * for byte, its small blobs, and the files of weights. Nothing of it is sealed here.
 */
#ifndef SEALEDFS_TOOLS_OLLAMA_IMPORT_H
#define SEALEDFS_TOOLS_OLLAMA_IMPORT_H

#include "tools/seal/ollama_bundle.h"

struct ollama_weights {
	char *path; /* of the blob */
	char *name; /* in the destination */
	uint8_t sha256[SHA256_SIZE];
	uint64_t size;
};

struct ollama_import {
	struct ollama_bundle bundle;
	size_t count; /* at least one; the last one is the model */
	struct ollama_weights weights[OLLAMA_LAYERS_MAX];
};

/* Where Ollama keeps models: $OLLAMA_MODELS, else ~/.ollama/models, else the Linux service's.
 * malloc()ed; -ENOENT: none of them exists. */
int ollama_store_path(char **ret, struct error *err);

/*
 * name: as a user of Ollama types it. model_name: in the destination; NULL: MODEL/TAG.gguf, with
 * namespace and host in front where they are not Ollama's own. -EINVAL: a bad name, or a model that
 * is no single GGUF file; -ENOENT; -EPROTO: a malformed manifest; -EBADMSG: a small blob is not
 * what its digest says (of weights that is found while they are sealed); -EFBIG.
 */
int ollama_import_read(const char *store, const char *name, const char *model_name,
		       struct ollama_import *ret, struct error *err);
void ollama_import_clear(struct ollama_import *im);

#endif
