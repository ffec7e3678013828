/*
 * seal_unchanged.h: which files of `sealctl seal --set` need not be sealed again, and the set. Not
 * thread-safe.
 */
#ifndef SEALEDFS_TOOLS_SEAL_UNCHANGED_H
#define SEALEDFS_TOOLS_SEAL_UNCHANGED_H

#include "tools/seal_plan.h"

/*
 * 1: the set has this very file under this name already, and its seal and payload are there; 0: it
 * has not. Reads the file if the set has one of its length. A file that cannot be read is an error.
 */
int seal_is_unchanged(const struct seal_settings *s, const struct cli *cli,
		      const struct plan_entry *entry, struct error *err);
/* What became of the set, for people: unchanged members, version, id. JSON has the same. */
void seal_print_set(const struct seal_settings *s, const struct cli *cli);

#endif
