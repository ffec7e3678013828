/*
 * gguf_name.h: what a file's name reveals about a GGUF; nothing else is known before it is
 * unlocked.
 */
#ifndef SEALEDFS_VIEW_GGUF_NAME_H
#define SEALEDFS_VIEW_GGUF_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Ends in ".gguf", in whatever case, and has something before it. path: directories may lead. */
bool gguf_is_name(const char *path);

struct gguf_shard {
	unsigned number, count; /* 1 … count */
	size_t number_at;	/* bytes before the five digits */
};

/* "x-00002-of-00005.gguf", as llama.cpp writes the parts of a split GGUF. False: it is not one. */
bool gguf_parse_shard(const char *path, struct gguf_shard *ret);

#endif
