/*
 * gguf_map.h: where the tensors of a GGUF file lie (versions 2 and 3, little endian; ggml's
 * docs/gguf.md). For guesses only: a wrong table costs a wrong guess.
 *
 * The header is parsed from plaintext that was verified, and is still taken as hostile: whoever
 * sealed it may not be who reads it. Every number is bounded before it is used. Pure, no I/O.
 */
#ifndef SEALEDFS_GGUF_MAP_H
#define SEALEDFS_GGUF_MAP_H

#include "crypto/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

#define GGUF_TENSORS_MAX 65536
#define GGUF_KEYS_MAX 65536
#define GGUF_DIMENSIONS_MAX 4
/* Where a header must have ended: a vocabulary takes a few MiB. */
#define GGUF_HEADER_MAX (UINT64_C(64) << 20)

struct gguf_map {
	size_t count;
	struct gguf_tensor {
		uint64_t begin, end; /* bytes of the file; begin < end; in ascending order */
	} tensors[];
};

/* Fills buf with bytes offset … offset + size - 1 of the file, which are there. 0 or an error. */
typedef int gguf_read(void *arg, uint64_t offset, uint8_t *buf, size_t size);

/*
 * Reads the header in order, some KiB at a time. 0 with *ret; -EPROTO: no GGUF, or nothing to use;
 * -ENOMEM; an error of read. A tensor's end is taken to be where the next one begins.
 */
int gguf_map_parse(gguf_read *read, void *arg, uint64_t file_size, struct gguf_map **ret);
void gguf_map_free(struct gguf_map *m);
/* The tensor that holds this byte; SIZE_MAX: none. */
size_t gguf_map_find(const struct gguf_map *m, uint64_t offset);

DEFINE_CLEANUP(struct gguf_map *, gguf_map_free)

#endif
