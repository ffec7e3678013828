/*
 * catalog.h: what the mount shows now, and what it showed before for those who still have it open.
 *
 * Each reading of the source's listing makes a generation: a view and the models in it. A reload
 * puts a new generation in the place of the current one. A model that is the same in both keeps
 * its struct model, with its keys, its state and its place in the PCR; one that was replaced lives
 * on in its own generation until nobody has it open. Inode numbers tell them apart.
 *
 * Threads: any, but catalog_prepare(), catalog_commit() and catalog_reap() only one at a time. No
 * lock is held while anything is asked of a source.
 */
#ifndef SEALEDFS_CATALOG_H
#define SEALEDFS_CATALOG_H

#include "fs/model.h"

struct catalog;
struct generation;

/* options: view, openers and owner are filled in here; the rest is copied. Empty at first. */
int catalog_new(const struct models_options *options, struct catalog **ret);
/* How its models are unlocked. */
const struct models_options *catalog_options(const struct catalog *c);
/* No request may be under way. */
void catalog_free(struct catalog *c);

/* A generation that nobody sees yet. view is its own from now on, also after an error. */
int catalog_prepare(struct catalog *c, struct view *view, struct generation **ret);
/* Makes it the current one; *ret_old, which may be NULL, is to be released. */
void catalog_commit(struct catalog *c, struct generation *g, struct generation **ret_old);
/* Frees the generations that nobody needs. */
void catalog_reap(struct catalog *c);

/* The current one, held until released. Never NULL once there was a commit. */
struct generation *catalog_acquire(struct catalog *c);
void catalog_release(struct catalog *c, struct generation *g);
const struct view *generation_view(const struct generation *g);
struct model *generation_model(const struct generation *g, const struct view_node *file);
/* True: the model came with this generation, and was not in the one before. */
bool generation_is_first(const struct generation *g, const struct view_node *file);

/* models_log_broken() of what this generation does not share. */
void generation_log_broken(const struct generation *g);

/* Where an inode number is: in the current generation, or in an older one that is still held. */
struct catalog_place {
	struct catalog *catalog;
	struct generation *generation; /* held until catalog_leave() */
	const struct view_node *node;  /* NULL: no such inode */
};
struct catalog_place catalog_find(struct catalog *c, uint64_t ino);
void catalog_leave(struct catalog_place *place);

/* Keeps the model's generation while somebody opens it or has it open. */
void catalog_hold_model(struct catalog *c, struct model *m);
void catalog_drop_model(struct catalog *c, struct model *m);

/* models_stop() and models_idle() of all generations. */
void catalog_stop(struct catalog *c);
bool catalog_idle(struct catalog *c, unsigned wait_ms);

DEFINE_CLEANUP(struct catalog *, catalog_free)

#endif
