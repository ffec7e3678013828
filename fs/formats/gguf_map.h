/*
 * gguf_map.h: the positions of tensors in a GGUF file. For predictions only: a wrong map costs a
 * wrong guess. Thread rule: a map is immutable; parsing has no shared state.
 */
#ifndef SEALEDFS_FORMATS_GGUF_MAP_H
#define SEALEDFS_FORMATS_GGUF_MAP_H

#include "crypto/base/cleanup.h"
#include "fs/formats/gguf_header.h"

#define GGUF_TENSORS_MAX 65536
/* Bytes within which a header must end: a vocabulary takes a few MiB. */
#define GGUF_HEADER_MAX (UINT64_C(64) << 20)

struct gguf_map {
	size_t count;
	struct gguf_tensor {
		uint64_t begin, end; /* bytes of the file; begin < end; in ascending order */
	} tensors[];
};

/*
 * Reads the header in order, some KiB at a time. 0 with *ret, which the caller frees; -EPROTO: no
 * GGUF, or no usable map; -ENOMEM; an error of read. A tensor ends where the next one begins.
 */
int gguf_map_parse(gguf_read *read, void *arg, uint64_t file_size, struct gguf_map **ret);
void gguf_map_free(struct gguf_map *m);
/* The index of the tensor that holds this byte; SIZE_MAX: none. */
size_t gguf_map_find(const struct gguf_map *m, uint64_t offset);

DEFINE_CLEANUP(struct gguf_map *, gguf_map_free)

#endif
