/*
 * ollama_shelf.h: the Ollama descriptions of a mount's models (view/OLLAMA.md): unlocked once, kept
 * as long as the listing has them, so that a reload asks a KMS only for what is new.
 * Threads: one at a time.
 */
#ifndef SEALEDFS_OLLAMA_SHELF_H
#define SEALEDFS_OLLAMA_SHELF_H

#include "fs/model.h"
#include "fs/patience.h"
#include "fs/view/ollama_store.h"

struct ollama_shelf;

int ollama_shelf_new(struct ollama_shelf **ret);
void ollama_shelf_free(struct ollama_shelf *s);

struct ollama_shelving {
	const struct models_options *models; /* how models are unlocked; view is not used */
	struct patience *patience;	     /* for what is out of reach; NULL: no waiting */
	/* Whether this model's description has to be unlocked, or the whole fails. */
	bool (*must_unlock)(void *arg, const struct view_node *model);
	void (*before)(void *arg, const char *path); /* each attempt at a description */
	void *arg;
};

/*
 * Unlocks what v needs, checks it as a model is checked and its digest as well, and adds the store
 * to v, which has no inode numbers yet. Descriptions are not measured. One that is malformed or
 * cannot be had is logged, and its model left out of the store. Errors: as unlock_model(), where
 * must_unlock() says so; -ENOMEM.
 */
int ollama_shelf_fill(struct ollama_shelf *s, const struct ollama_shelving *how,
		      enum ollama_mode mode, struct view *v, struct error *err);

DEFINE_CLEANUP(struct ollama_shelf *, ollama_shelf_free)

#endif
