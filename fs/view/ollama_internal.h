/*
 * ollama_internal.h: what ollama_store.c looks up while it builds the store: files by what their
 * seals state of the bytes, and names that are taken.
 */
#ifndef SEALEDFS_VIEW_OLLAMA_INTERNAL_H
#define SEALEDFS_VIEW_OLLAMA_INTERNAL_H

#include "fs/formats/ollama_description.h"
#include "fs/view/view.h"

/* Files that are not broken, by SHA-256, size, owner, and whether they are doubtful. */
struct ollama_files {
	struct view_node **items;
	size_t count;
};

int ollama_files_make(const struct view *v, struct ollama_files *ret);
void ollama_files_clear(struct ollama_files *f);
/*
 * The file for a layer of weights in n's manifest; NULL: none. A seal's digest is only its owner's
 * statement. So no manifest gets bytes from an owner who comes later than its own, and n itself
 * stands for its own digest, unless it could not be opened and another file has the same fs-verity
 * digest.
 */
struct view_node *ollama_files_find(const struct ollama_files *f, struct view_node *n,
				    const struct ollama_layer *layer);
/* Sets is_part[file_index] for the owner's files that the manifest names beside its model:
 * projectors, adapters and drafts are not models of their own. */
void ollama_files_mark_parts(const struct ollama_files *f, const struct ollama_manifest *m,
			     int owner, bool *is_part);

struct ollama_names {
	struct view *view; /* whose allowance the names are counted in */
	void *tree;	   /* tsearch() tree */
	size_t bytes;	   /* taken from the allowance */
};

/*
 * 1: the name was free and is n's now; 0: *ret_by has it; -ENOBUFS, -ENOMEM. reserve: for a broken
 * model, whose owner may still give the name to another model.
 */
int ollama_names_take(struct ollama_names *names, const struct ollama_name *name,
		      const struct view_node *n, bool reserve, const struct view_node **ret_by);
void ollama_names_clear(struct ollama_names *names);

#endif
