/*
 * gguf_header.h: the few things that sealing for Ollama wants to know of a GGUF file: what kind of
 * model it is, and whether it is a part of a split one.
 */
#ifndef SEALEDFS_TOOLS_GGUF_HEADER_H
#define SEALEDFS_TOOLS_GGUF_HEADER_H

#include "crypto/base/error.h"

#include <stdbool.h>

#define GGUF_WORD_MAX 39

struct gguf_header {
	bool readable;			      /* a regular file: the rest is known */
	bool is_gguf;			      /* by its first bytes */
	unsigned split_count;		      /* more than 1: a part of so many */
	char architecture[GGUF_WORD_MAX + 1]; /* "llama"; letters, digits, -, _ and . only; or "" */
	char size_label[GGUF_WORD_MAX + 1];   /* "7B"; likewise */
	const char *file_type;		      /* "Q4_K_M"; NULL: unknown. Static */
};

/* "-" and pipes are not readable, which is no error. A header that ends too early or makes no sense
 * tells what came before. Negative errno: the file cannot be read. */
int gguf_header_read(const char *path, struct gguf_header *ret, struct error *err);

#endif
