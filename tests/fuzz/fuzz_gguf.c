/*
 * Fuzz target: the tensor table of a GGUF header (fs/formats). Besides not crashing: it reads
 * only what lies in the file and before the header's limit, each block once and in order; what is
 * taken is in order, without gaps between tensors, and within the file; and every byte is found in
 * the tensor that holds it. The first byte says how much larger the file is than its header.
 */
#include "fs/formats/gguf_map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct file {
	const uint8_t *data;
	size_t size;	    /* of data; behind it lie zeros */
	uint64_t all, next; /* the file's size; bytes before next were read */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static int read_file(void *arg, uint64_t offset, uint8_t *buf, size_t size)
{
	struct file *f = arg;
	size_t there = offset < f->size ? MIN(size, (size_t)(f->size - offset)) : 0;

	promise(size > 0 && offset >= f->next && offset < f->all && size <= f->all - offset);
	promise(offset + size <= GGUF_HEADER_MAX);
	f->next = offset + 1;
	memset(buf, 0, size);
	if (there > 0)
		memcpy(buf, f->data + offset, there);
	return 0;
}

static void check_map(const struct gguf_map *m, uint64_t file_size)
{
	promise(m->count > 0 && m->count <= GGUF_TENSORS_MAX);
	for (size_t i = 0; i < m->count; i++) {
		const struct gguf_tensor *t = &m->tensors[i];

		promise(t->begin < t->end && t->end <= file_size);
		promise(i + 1 == m->count ? t->end == file_size : t->end == t[1].begin);
		promise(gguf_map_find(m, t->begin) == i && gguf_map_find(m, t->end - 1) == i);
	}
	promise(gguf_map_find(m, file_size) == SIZE_MAX);
	promise(gguf_map_find(m, UINT64_MAX) == SIZE_MAX);
	promise(m->tensors[0].begin == 0 || gguf_map_find(m, m->tensors[0].begin - 1) == SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(gguf_map_freep) struct gguf_map *m = NULL;
	struct file f = {0};
	int r;

	if (size == 0)
		return 0;
	f.data = data + 1;
	f.size = size - 1;
	f.all = f.size + ((UINT64_C(1) << data[0] % 48) - 1);
	r = gguf_map_parse(read_file, &f, f.all, &m);
	promise((r == 0) == (m != NULL) && (r == 0 || r == -EPROTO));
	if (m)
		check_map(m, f.all);
	return 0;
}
