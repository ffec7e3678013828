/*
 * recipients_list.h: who can open what, as seals and sets state it: read from their heads, without
 * a key. One thread.
 */
#ifndef SEALEDFS_TOOLS_RECIPIENTS_LIST_H
#define SEALEDFS_TOOLS_RECIPIENTS_LIST_H

#include "crypto/sealed_head.h"
#include "tools/common/target.h"

/* One object that was looked at. */
struct recipients_entry {
	const char *label;
	const struct sealed_head *head; /* NULL: it cannot be read */
	bool is_set;
	int code;
	const struct error *error;
};

/* A recipient of anything. */
struct recipients_who {
	struct seal_slot slot;
	size_t objects;	    /* that have a slot of it */
	size_t through_set; /* others, which the set in the same place opens for it */
};

struct recipients_list {
	struct recipients_who *all; /* in the order in which they were found */
	size_t count, objects;
	bool quiet;
	void (*entry)(void *arg, const struct recipients_entry *entry);
	void *arg;
};

/* Adds one object, or a place's set and seals. Objects that cannot be read are entries; negative
 * only when nothing more can be listed. */
int recipients_list_add(struct recipients_list *l, const struct target *t, struct error *err);
void recipients_list_clear(struct recipients_list *l);

#endif
