/*
 * listing.h: from the source's listing to a generation that can be served: read, checked, and
 * unlocked if ready= requires that before the generation is shown. At start and at a reload.
 * listing.c reads and checks, listing_unlock.c unlocks and measures. Threads: one at a time.
 */
#ifndef SEALEDFS_MODELS_LISTING_H
#define SEALEDFS_MODELS_LISTING_H

#include "fs/config/config.h"
#include "fs/models/catalog.h"
#include "fs/models/descriptions.h"

/* One step with all its retries ends within this time. */
#define LISTING_STEP_MS 180000

/* Everything is borrowed. */
struct listing {
	const struct config *config;
	struct source *source;
	struct allowance *allowance; /* memory of each listing */
	const struct owner_keys *owners;
	const struct oms_key *oms_key; /* of config->oms */
	/* For measure=set as the default of a mount that finds a set; NULL: not the default. */
	const char *set_start;
	struct catalog *catalog;
	struct ollama_shelf *shelf;
	/* NULL: all models; else only this one is looked for: struct view_options. */
	const char *only;
	/* Shows the current step. step_ms: the next such call comes within this time; 0: the work
	 * is done. Threads: any. */
	void (*show)(void *arg, unsigned step_ms, const char *text);
	void *show_arg;
};

/*
 * Reads the source and unlocks the descriptions of the Ollama store. If there is a set, the
 * generation has its members; then a later one has those of the same set, of this version or a
 * newer one, or reading fails. The generation is not current yet. pause: for descriptions only;
 * with it and ready=unlocked or measured, the description of a model that the configuration names
 * must be unlocked. Errors as view_read() and ollama_shelf_fill().
 */
int listing_read(const struct listing *l, const struct round_pause *pause, struct generation **ret,
		 struct error *err);
/* For a mount. -ENOENT: the configuration names a model that does not exist, or there is none and
 * the configuration does not allow that; the message names what is there instead. */
int listing_check(const struct listing *l, const struct generation *g, struct error *err);
/* True: the configuration names this model, or none. */
bool listing_names(const struct config *config, const char *path);
/*
 * True: this failure concerns one model only, and the others are served without it. A writer to the
 * source must not be able to stop the other models. A failure of the machine, the network or the
 * daemon's credentials must stop the mount, and so must any failure of a model that the
 * configuration names. measuring: only failures of the model's own bytes count, because the TPM has
 * errors of its own.
 */
bool listing_may_leave_out(const struct config *config, bool measuring, int code,
			   const struct error *err);
/*
 * With ready=unlocked or measured, unlocks the models that the configuration names and that are new
 * in this generation, many at a time; with ready=measured then measures them, bytewise in the order
 * of paths. With pause: waits for what is unreachable, leaves out, with a log line, a model that is
 * itself at fault (sealedfs(8), BROKEN MODELS), and fails at any other error and if no model is
 * left. Without (NULL): logs failures and continues, but asks for no other model once something is
 * unreachable; the next open of such a model tries again.
 */
int listing_unlock(const struct listing *l, const struct generation *g,
		   const struct round_pause *pause, struct error *err);
/* True: a model that could not be opened has an entry in the Ollama store that another model with
 * the same bytes could have: reading the listing again would exchange them. */
bool listing_has_alternatives(const struct generation *g);

/* The mount shows this generation: model_shown() of the models that are new in it. */
void listing_shown(const struct generation *g);
/* Logs anything unusual about it. */
void listing_log(const struct listing *l, const struct generation *g);
void listing_show_status(const struct listing *l, const struct generation *g);
/* l->show() with a formatted text. */
void listing_show(const struct listing *l, unsigned step_ms, const char *fmt, ...) _printf_(3, 4);

#endif
