/*
 * Files of the Ollama store. Job: find the file that has the bytes a manifest names. Trusts no
 * owner's statement about another owner's bytes.
 */
#include "fs/view/ollama_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int compare_bytes(const struct view_node *n, const uint8_t sha256[SHA256_SIZE],
			 uint64_t size)
{
	int order = memcmp(n->facts.sha256, sha256, SHA256_SIZE);

	return order ? order : (n->size > size) - (n->size < size);
}

static int compare_files(const void *a, const void *b)
{
	const struct view_node *x = *(struct view_node *const *)a;
	const struct view_node *y = *(struct view_node *const *)b;
	int order = compare_bytes(x, y->facts.sha256, y->size);

	if (order)
		return order;
	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	/* Of an owner's files with the same bytes, the first that can be opened represents all. */
	if (x->doubtful != y->doubtful)
		return x->doubtful ? 1 : -1;
	return x->file_index < y->file_index ? -1 : x->file_index > y->file_index;
}

int ollama_files_make(const struct view *v, struct ollama_files *ret)
{
	ret->items = calloc(v->file_count + 1, sizeof(struct view_node *));
	if (!ret->items)
		return -ENOMEM;
	for (size_t i = 0; i < v->file_count; i++)
		if (!v->files[i]->broken)
			ret->items[ret->count++] = v->files[i];
	qsort(ret->items, ret->count, sizeof(struct view_node *), compare_files);
	return 0;
}

void ollama_files_clear(struct ollama_files *f)
{
	free(f->items);
}

/* The index of the first file with these bytes of this or a later owner, or where it would be. */
static size_t find_first(const struct ollama_files *f, const struct ollama_layer *layer, int owner)
{
	size_t from = 0, to = f->count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		int order = compare_bytes(f->items[middle], layer->sha256, layer->size);

		if (order < 0 || (order == 0 && f->items[middle]->owner < owner))
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool has_bytes(const struct ollama_files *f, size_t index, const struct ollama_layer *layer)
{
	return index < f->count && compare_bytes(f->items[index], layer->sha256, layer->size) == 0;
}

struct view_node *ollama_files_find(const struct ollama_files *f, struct view_node *n,
				    const struct ollama_layer *layer)
{
	bool own = compare_bytes(n, layer->sha256, layer->size) == 0;
	size_t i = find_first(f, layer, INT_MIN);

	if (!own)
		return has_bytes(f, i, layer) && f->items[i]->owner <= n->owner ? f->items[i]
										: NULL;
	for (; n->doubtful && has_bytes(f, i, layer) && f->items[i]->owner <= n->owner; i++) {
		struct view_node *other = f->items[i];

		if (!other->doubtful &&
		    memcmp(other->facts.verity, n->facts.verity, sizeof(n->facts.verity)) == 0)
			return other;
	}
	return n;
}

void ollama_files_mark_parts(const struct ollama_files *f, const struct ollama_manifest *m,
			     int owner, bool *is_part)
{
	for (size_t k = 0; k < m->layer_count; k++) {
		size_t i = find_first(f, &m->layers[k], owner);

		/* All of an owner's files with the same bytes are marked together: once is enough.
		 */
		for (; k != m->model && has_bytes(f, i, &m->layers[k]) &&
		       f->items[i]->owner == owner && !is_part[f->items[i]->file_index];
		     i++)
			is_part[f->items[i]->file_index] = true;
	}
}
