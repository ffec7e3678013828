/*
 * ollama_plain.h: what Ollama is given for a GGUF without a description: manifest, configuration
 * and, for a simple chat format, template and stop words; from the facts of its seal
 * (ollama_derive.h). The same bytes each time.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_PLAIN_H
#define SEALEDFS_VIEW_OLLAMA_PLAIN_H

#include "fs/formats/ollama_description.h"

/* Owns everything made from the description. {0}: nothing. */
struct ollama_plain {
	struct ollama_description description; /* without a name */
	char *manifest_text;
};

/* sha256, size: of the plaintext. Also when this fails the caller clears *ret. 0 or -ENOMEM. */
int ollama_plain_make(const char *facts, const uint8_t sha256[SHA256_SIZE], uint64_t size,
		      struct ollama_plain *ret);
void ollama_plain_clear(struct ollama_plain *p);

#endif
