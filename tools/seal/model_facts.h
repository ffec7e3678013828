/*
 * model_facts.h: the facts that a seal states about a plaintext (crypto/FORMAT.md section 3.2),
 * from the plaintext's own bytes as they pass by. One thread.
 */
#ifndef SEALEDFS_TOOLS_MODEL_FACTS_H
#define SEALEDFS_TOOLS_MODEL_FACTS_H

#include "crypto/facts.h"
#include "fs/formats/gguf_header.h"
#include "fs/formats/not_gguf.h"

struct model_facts {
	uint64_t length;
	struct gguf_scan gguf;
	size_t held;
	uint8_t start[NOT_GGUF_START];
};

/* length: of the plaintext. */
void model_facts_start(struct model_facts *m, uint64_t length);
/* The next bytes, in order. */
void model_facts_feed(struct model_facts *m, const uint8_t *data, size_t size);
/* After the last byte. Negative errno only when the facts do not fit, which cannot be. */
int model_facts_make(const struct model_facts *m, struct facts *ret);
/* Warns if what should be a GGUF is not one, or is incomplete. facts: of m. */
void model_facts_warn(const struct model_facts *m, const struct facts *facts, const char *name);

#endif
