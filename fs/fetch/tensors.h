/*
 * tensors.h: the order in which the tensors of one file are read, learned from the jumps, and the
 * tensors that come next.
 *
 * llama.cpp reads tensor by tensor, in an order of its own that crosses the file several times but
 * repeats itself from block to block. So the distances between tensors (in the order of the file)
 * repeat, and what followed the latest of them before follows again. A wrong guess costs a
 * fetch. Pure; the caller guards it.
 */
#ifndef SEALEDFS_FETCH_TENSORS_H
#define SEALEDFS_FETCH_TENSORS_H

#include "fs/formats/gguf_map.h"

#include <stdbool.h>

#define ACCESS_STEPS_MAX 64

struct access {
	struct gguf_map *map; /* owned; NULL: nothing is known of the file */
	uint64_t chunk_count;
	size_t last;			 /* tensor that was begun last; SIZE_MAX: none */
	int32_t steps[ACCESS_STEPS_MAX]; /* distances between those begun; the newest at the end */
	size_t step_count;
};

void access_init(struct access *a, uint64_t chunk_count);
void access_done(struct access *a);
/* Takes over the map. Only once. */
void access_set_map(struct access *a, struct gguf_map *map);

/* A reader has jumped to this byte. SIZE_MAX: not to the start of a tensor, as far as is known. */
size_t access_jump(struct access *a, uint64_t offset);
/* True: readers of this file were seen to jump from tensor to tensor. */
bool access_is_by_tensor(const struct access *a);
/*
 * The `ahead`th tensor after the one that was begun last (1: the next one); SIZE_MAX: no idea, or
 * past the end.
 */
size_t access_predict(const struct access *a, unsigned ahead);

#endif
