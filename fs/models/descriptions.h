/*
 * descriptions.h: the Ollama descriptions of a mount's models (view/OLLAMA.md): unlocked once, kept
 * as long as the listing has them, so that a reload asks a KMS only for what is new.
 * Threads: one at a time.
 */
#ifndef SEALEDFS_MODELS_DESCRIPTIONS_H
#define SEALEDFS_MODELS_DESCRIPTIONS_H

#include "fs/models/options.h"
#include "fs/models/round.h"
#include "fs/view/ollama_store.h"

struct ollama_shelf;

int ollama_shelf_new(struct ollama_shelf **ret);
void ollama_shelf_free(struct ollama_shelf *s);

struct ollama_shelving {
	const struct models_options *models; /* how models are unlocked; view is not used */
	const struct round_pause *pause;     /* waits for an unreachable server; NULL: no waiting */
	/* True: the whole fails if this model's description cannot be unlocked. */
	bool (*must_unlock)(void *arg, const struct view_node *model, const struct error *err);
	/* Called before each attempt at a description, from any thread. */
	void (*before)(void *arg, const char *path);
	void *arg;
};

/*
 * Unlocks the descriptions that v needs, several at a time, checks them like models and their
 * digests as well, and adds the store to v, which has no inode numbers yet. Descriptions are not
 * measured. If one is malformed or unavailable, this is logged and its model is left out of the
 * store. Errors: as unlock_model() if must_unlock() returns true; -ENOMEM.
 */
int ollama_shelf_fill(struct ollama_shelf *s, const struct ollama_shelving *how,
		      enum ollama_mode mode, struct view *v, struct error *err);

DEFINE_CLEANUP(struct ollama_shelf *, ollama_shelf_free)

#endif
