/*
 * ollama_description.h: the small sealed file "NAME.ollama" beside a model NAME: its Ollama name,
 * its manifest byte for byte, and the manifest's small blobs. OLLAMA.md has the format. Pure; it is
 * sealed and opened by others. Threads: any.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_DESCRIPTION_H
#define SEALEDFS_VIEW_OLLAMA_DESCRIPTION_H

#include "fs/formats/ollama_manifest.h"
#include "fs/formats/ollama_name.h"

#define OLLAMA_SUFFIX ".ollama"
#define OLLAMA_DESCRIPTION_MAX ((size_t)4 << 20) /* bytes */

struct ollama_blob {
	const uint8_t *data;
	size_t size;
	uint8_t sha256[SHA256_SIZE];
};

struct ollama_description {
	struct ollama_name name;
	struct ollama_manifest *manifest; /* of manifest_bytes */
	const uint8_t *manifest_bytes;
	size_t manifest_size;
	size_t blob_count; /* in the order in which the manifest names them, config first */
	struct ollama_blob blobs[OLLAMA_LAYERS_MAX + 1];
	uint8_t *bytes; /* what the pointers above lead into; owned */
};

/*
 * Takes the bytes, also on failure. model: SHA-256 of the plaintext that it lies beside. -EPROTO:
 * malformed, or of another model; the message begins with what is wrong, not with a name.
 */
int ollama_description_parse(uint8_t *bytes, size_t size, const uint8_t model[SHA256_SIZE],
			     struct ollama_description **ret, struct error *err);
void ollama_description_free(struct ollama_description *d);

/*
 * Of name, manifest_bytes and blobs of d, in any order (sha256 is not needed); a blob that the
 * manifest does not name is left out. The result has passed ollama_description_parse(). -EFBIG:
 * longer than OLLAMA_DESCRIPTION_MAX.
 */
int ollama_description_make(const struct ollama_description *d, uint8_t **ret, size_t *ret_size,
			    struct error *err);

DEFINE_CLEANUP(struct ollama_description *, ollama_description_free)

#endif
