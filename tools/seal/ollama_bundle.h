/*
 * ollama_bundle.h: what Ollama is to know of a model that is being sealed: its name, manifest and
 * small blobs; made from options or from a model in an Ollama store. All of it is checked before
 * anything is sealed; the model's digest is filled in when it is known.
 */
#ifndef SEALEDFS_TOOLS_OLLAMA_BUNDLE_H
#define SEALEDFS_TOOLS_OLLAMA_BUNDLE_H

#include "fs/formats/ollama_description.h"

#include <jansson.h>

#define OLLAMA_LICENSES_MAX 16

/* As given; NULL: not. */
struct ollama_options {
	const char *name, *template, *system; /* a name, files */
	const char *licenses[OLLAMA_LICENSES_MAX];
	unsigned license_count;
	json_t *params; /* owned; NULL: none */
};

bool ollama_options_any(const struct ollama_options *o);
void ollama_options_clear(struct ollama_options *o);
/* A FILE, or NAME=VALUE. -EINVAL: not a parameter of Ollama. */
int ollama_options_add_params(struct ollama_options *o, const char *value, struct error *err);

struct ollama_bundle {
	struct ollama_name name;
	struct ollama_manifest *manifest;
	uint8_t *text;	/* the manifest, byte for byte; NULL: to be made from what follows */
	json_t *params; /* owned */
	bool has_template;
	size_t text_size;
	size_t blob_count;
	struct ollama_blob blobs[OLLAMA_LAYERS_MAX + 1]; /* data is owned */
};

/*
 * Reads the files. model_name: the model's name in the destination, where none is given. -EINVAL: a
 * bad name, a file that is empty or no UTF-8; -EFBIG.
 */
int ollama_bundle_from_options(const struct ollama_options *o, const char *model_name,
			       struct ollama_bundle *ret, struct error *err);
/* Takes data, also on failure. */
int ollama_bundle_add_blob(struct ollama_bundle *b, uint8_t *data, size_t size);
/* The bytes of NAME.ollama. model: as it was sealed. facts: of it, for what Ollama derives. */
int ollama_bundle_describe(const struct ollama_bundle *b, const uint8_t model[SHA256_SIZE],
			   uint64_t model_size, const char *facts, uint8_t **ret, size_t *ret_size,
			   struct error *err);
void ollama_bundle_clear(struct ollama_bundle *b);

/* A whole file of at most max bytes; -EFBIG. */
int ollama_read_file(const char *path, size_t max, uint8_t **ret, size_t *ret_size,
		     struct error *err);

#endif
