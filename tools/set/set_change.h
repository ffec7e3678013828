/*
 * set_change.h: what `sealctl set` does to a set. One thread.
 */
#ifndef SEALEDFS_TOOLS_SET_CHANGE_H
#define SEALEDFS_TOOLS_SET_CHANGE_H

#include "tools/common/cli.h"
#include "tools/set/set_store.h"

struct set_command {
	const char *source_spec, *name;
	const char *const *paths; /* borrowed */
	size_t path_count;
	struct recipient_options recipients; /* of a new set; the key files open, too */
	struct aws *aws;
	struct signing_key *signer;
	struct set_access access;
	bool has_expires, delete, replace, quiet;
	uint64_t expires;
	/* Filled in. */
	struct source *source;
	struct set_store store;
	size_t added_count, removed_count;
	char **added; /* paths, of set_command_add() */
};

/* The source, which must exist. */
int set_command_open(struct set_command *c, struct cli *cli, struct error *err);
void set_command_clear(struct set_command *c);
/* The set there, which must exist. Errors as set_store.h. */
int set_command_load(struct set_command *c, struct error *err);
/* -EEXIST: there is one, and no `replace`. */
int set_command_create(struct set_command *c, struct error *err);
int set_command_add(struct set_command *c, struct error *err);
int set_command_remove(struct set_command *c, struct error *err);

#endif
