/*
 * listing.h: from the source's listing to a generation that can be served: read, checked, and
 * unlocked as far as the configuration wants that before anybody sees it. At start and at a reload.
 * Threads: one at a time.
 */
#ifndef SEALEDFS_LISTING_H
#define SEALEDFS_LISTING_H

#include "fs/catalog.h"
#include "fs/config.h"
#include "fs/ollama_shelf.h"
#include "fs/status.h"

/* Everything is borrowed. */
struct listing {
	const struct config *config;
	struct source *source;
	const struct owner_keys *owners;
	struct catalog *catalog;
	struct ollama_shelf *shelf;
	struct notify *notify;
	struct status *status;
};

/*
 * Asks the source, and unlocks the descriptions of the Ollama store. The generation is not current
 * yet. patience: only for descriptions; with it and unlock=mount, one of a model that the
 * configuration names has to be unlocked. Errors as view_read() and ollama_shelf_fill().
 */
int listing_read(const struct listing *l, struct patience *patience, struct generation **ret,
		 struct error *err);
/* -ENOENT: the configuration names a model that is not there. */
int listing_check(const struct listing *l, const struct generation *g, struct error *err);
/*
 * With unlock_at_mount, unlocks what the configuration names and this generation has first; then
 * with measure_at_mount, measures them, bytewise in the order of paths. With patience: waits for
 * what is out of reach, and ends at the first failure. Without (NULL): logs failures and goes on;
 * who opens such a model tries again.
 */
int listing_unlock(const struct listing *l, const struct generation *g, struct patience *patience,
		   struct error *err);
/* What is odd about it. */
void listing_log(const struct listing *l, const struct generation *g);
void listing_show_status(const struct listing *l, const struct generation *g);

#endif
