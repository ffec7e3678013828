/*
 * facts.h: what the owner states about a model besides its digests: crypto/FORMAT.md section 3.2.
 *
 * Facts are lines `key=value\n`, in ascending order of the keys, each key once. Keys have 1 …
 * FACT_KEY_MAX characters of a-z, 0-9, '.', '_' and '-'. Values have at least one byte and are
 * well-formed UTF-8 without control characters. All lines together have at most SEAL_FACTS_MAX
 * bytes. Functions are pure.
 */
#ifndef SEALEDFS_FACTS_H
#define SEALEDFS_FACTS_H

#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>

#define FACT_KEY_MAX 48

/* Keys that this version writes. Readers keep and show other keys without interpreting them. */
#define FACT_KIND "kind" /* FACT_KIND_… */
#define FACT_GGUF_ARCHITECTURE "gguf.architecture"
#define FACT_GGUF_BASENAME "gguf.basename"
#define FACT_GGUF_CHAT_FORMAT "gguf.chat-format"     /* "chatml", …: a simple chat template */
#define FACT_GGUF_CHAT_TEMPLATE "gguf.chat-template" /* "yes" or "no" */
#define FACT_GGUF_FILE_TYPE "gguf.file-type"	     /* "Q4_K_M", …; or llama.cpp's number */
#define FACT_GGUF_NAME "gguf.name"
#define FACT_GGUF_PARAMETERS "gguf.parameters" /* elements of all tensors, decimal */
#define FACT_GGUF_SIZE_LABEL "gguf.size-label"
#define FACT_GGUF_SPLIT_COUNT "gguf.split-count" /* only when it is more than 1 */
#define FACT_GGUF_TENSOR_DATA "gguf.tensor-data" /* FACT_DATA_… */
#define FACT_GGUF_TYPE "gguf.type"		 /* "model", "adapter", … */
#define FACT_GGUF_VERSION "gguf.version"

#define FACT_KIND_GGUF "gguf"
#define FACT_KIND_SAFETENSORS "safetensors"
#define FACT_KIND_OTHER "other"

#define FACT_DATA_COMPLETE "complete"
#define FACT_DATA_TRUNCATED "truncated"

/* Facts that are being collected. {0}: none. */
struct facts {
	size_t size;
	char text[SEAL_FACTS_MAX + 1]; /* NUL-terminated */
};

/* One fact, in place. */
struct fact {
	const char *key, *value;
	size_t key_size, value_size;
};

/* NULL if the bytes are facts in their only valid form (no bytes: no facts), else the problem. */
const char *facts_problem(const void *text, size_t size);
/* Appends one; keys must come in ascending order. -EINVAL: key, order or value; -ENOSPC: too long
 * together. Then nothing has changed. */
int facts_add(struct facts *facts, const char *key, const char *value);
/* The fact at *at (0 at first) of valid facts; moves *at behind it. false: there are no more. */
bool facts_next(const char *text, size_t *at, struct fact *ret);
/* The value of a key in valid, NUL-terminated facts; NULL: it is not there. *ret_size: its bytes.
 */
const char *facts_find(const char *text, const char *key, size_t *ret_size);

#endif
