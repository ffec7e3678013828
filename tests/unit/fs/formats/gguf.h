/*
 * GGUF headers for tests, built byte by byte, right or wrong.
 */
#ifndef SEALEDFS_TEST_GGUF_H
#define SEALEDFS_TEST_GGUF_H

#include "fs/formats/gguf_map.h"

/* A map as if parsed: count tensors of size bytes each, the first at start. */
struct gguf_map *gguf_even_map(size_t count, uint64_t start, uint64_t size);

struct gguf_bytes {
	uint8_t *data;
	size_t size;
};
void gguf_bytes_done(struct gguf_bytes *b);
void gguf_u32(struct gguf_bytes *b, uint32_t v);
void gguf_u64(struct gguf_bytes *b, uint64_t v);
void gguf_string(struct gguf_bytes *b, const char *s);
/* "GGUF" and the three numbers after it. */
void gguf_start(struct gguf_bytes *b, uint32_t version, uint64_t tensors, uint64_t keys);
/* A tensor of two dimensions. */
void gguf_tensor(struct gguf_bytes *b, const char *name, uint64_t offset);

#endif
