/*
 * catalog.h: the files that the mount shows now, and those that it showed before, for readers that
 * still have them open.
 *
 * Each reading of the source's listing makes a generation: a view and the models in it. A reload
 * replaces the current generation by a new one. A model that is the same in both keeps its struct
 * model, with its keys, its state and its place in the PCR. A model that was replaced stays in its
 * own generation until its last reader closes it. Inode numbers distinguish the two.
 *
 * Threads: any, but catalog_prepare(), catalog_commit() and catalog_reap() only one at a time. No
 * lock is held during a request to a source.
 */
#ifndef SEALEDFS_MODELS_CATALOG_H
#define SEALEDFS_MODELS_CATALOG_H

#include "fs/models/model.h"

struct catalog;
struct generation;

/* options: view, set, openers and owner are set here; the rest is copied. The catalog is empty at
 * first. */
int catalog_new(const struct models_options *options, struct catalog **ret, struct error *err);
/* How its models are unlocked. */
const struct models_options *catalog_options(const struct catalog *c);
/* Before the first generation: measure sets, after this start event (borrowed). */
void catalog_measure_sets(struct catalog *c, const char *start);
/* No request may be under way. */
void catalog_free(struct catalog *c);

/* Makes a generation that is not shown yet. Takes view and a hold of the set whose members it shows
 * (NULL: none), also after an error. */
int catalog_prepare(struct catalog *c, struct view *view, struct mounted_set *set,
		    struct generation **ret);
/* Makes it the current one; *ret_old, which may be NULL, is to be released. */
void catalog_commit(struct catalog *c, struct generation *g, struct generation **ret_old);
/* Frees the generations that are not held. */
void catalog_reap(struct catalog *c);

/* The current one, held until released. Never NULL once there was a commit. */
struct generation *catalog_acquire(struct catalog *c);
void catalog_release(struct catalog *c, struct generation *g);
/*
 * In a view that is being made, marks the files that the current generation could not open, or that
 * failed their checks.
 */
void catalog_mark_doubtful(struct catalog *c, struct view *v);

/* What the current generation shows; NULL: no set, or nothing yet. To be dropped. *ret_any: there
 * is a current generation. */
struct mounted_set *catalog_hold_set(struct catalog *c, bool *ret_any);

const struct view *generation_view(const struct generation *g);
/* NULL: it shows no set. */
struct mounted_set *generation_set(const struct generation *g);
struct model *generation_model(const struct generation *g, const struct view_node *file);
/* True: the model came with this generation, and was not in the one before. */
bool generation_is_first(const struct generation *g, const struct view_node *file);

/* models_log_broken() for the models that this generation does not share. */
void generation_log_broken(const struct generation *g);

/* The node of an inode number, in the current generation or in an older one that is still held. */
struct catalog_place {
	struct catalog *catalog;
	struct generation *generation; /* held until catalog_leave() */
	const struct view_node *node;  /* NULL: no such inode */
};
struct catalog_place catalog_find(struct catalog *c, uint64_t ino);
void catalog_leave(struct catalog_place *place);

/* Hold the model's generation while the model is being opened or is open. */
void catalog_hold_model(struct catalog *c, struct model *m);
void catalog_drop_model(struct catalog *c, struct model *m);

/* measured_check_soon(). */
void catalog_check_measured(struct catalog *c);
/* models_stop() and models_idle() of all generations. */
void catalog_stop(struct catalog *c);
bool catalog_idle(struct catalog *c, unsigned wait_ms);

DEFINE_CLEANUP(struct catalog *, catalog_free)

#endif
