/*
 * ollama_manifest.h: Ollama's manifests: JSON that names a model's blobs by digest and size
 * (manifest/manifest.go of Ollama 0.33). Parsed strictly, made byte for byte the same each time.
 * Threads: any, no shared state.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_MANIFEST_H
#define SEALEDFS_VIEW_OLLAMA_MANIFEST_H

#include "crypto/base/cleanup.h"
#include "crypto/base/digest.h"
#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define OLLAMA_MANIFEST_MAX ((size_t)1 << 20) /* bytes */
#define OLLAMA_LAYERS_MAX 64
#define OLLAMA_TYPE_MAX 127
#define OLLAMA_LAYER_MAX (UINT64_C(16) << 40) /* bytes */
#define OLLAMA_IMAGE "application/vnd.ollama.image."
#define OLLAMA_CONFIG_TYPE "application/vnd.docker.container.image.v1+json"
#define OLLAMA_DIGEST_PREFIX "sha256:"
#define OLLAMA_BLOB_PREFIX "sha256-"
/* "sha256-" and 64 digits, with the NUL. */
#define OLLAMA_BLOB_NAME_SIZE (sizeof(OLLAMA_BLOB_PREFIX) + (size_t)2 * SHA256_SIZE)

struct ollama_layer {
	char type[OLLAMA_TYPE_MAX + 1]; /* media type */
	uint8_t sha256[SHA256_SIZE];
	uint64_t size;
};

struct ollama_manifest {
	bool has_config;
	struct ollama_layer config;
	size_t layer_count;
	size_t model; /* index of the one layer that is the model */
	struct ollama_layer layers[OLLAMA_LAYERS_MAX];
};

/*
 * -EPROTO: no JSON of the right shape, digests that are not "sha256:" and 64 lower-case digits, no
 * model layer or several, too many layers. The message begins with what is wrong, not with a name.
 * The caller frees *ret.
 */
int ollama_manifest_parse(const void *bytes, size_t size, struct ollama_manifest **ret,
			  struct error *err);
/* Layers in the order given; malloc()ed text without a newline. NULL: out of memory. */
char *ollama_manifest_make(const struct ollama_manifest *m);

/* True: this layer is weights in a GGUF file of its own (model, projector, adapter, draft). */
bool ollama_layer_is_weights(const struct ollama_layer *layer);
/* True: the media type is "application/vnd.ollama.image." and kind. */
bool ollama_layer_is(const struct ollama_layer *layer, const char *kind);
/* A layer for content in memory. */
int ollama_layer_set(struct ollama_layer *layer, const char *type, const void *data, size_t size);

void ollama_blob_name(const uint8_t sha256[SHA256_SIZE], char out[OLLAMA_BLOB_NAME_SIZE]);

#endif
