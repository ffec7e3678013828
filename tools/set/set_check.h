/*
 * set_check.h: is a place what its set says: every member there, and nothing else?
 */
#ifndef SEALEDFS_TOOLS_SET_CHECK_H
#define SEALEDFS_TOOLS_SET_CHECK_H

#include "tools/set/set_store.h"

/* One finding: the object's name in messages, and what is wrong with it. */
typedef void set_finding(void *arg, const char *label, int code, const struct error *err);

/*
 * s: loaded. Each member's seal against the set, its payload's size in the listing, with an open
 * set also its slot; then seals that no member has. listing: of s->source, made after the set was
 * read. Negative only when it could not be carried through.
 */
int set_check(const struct set_store *s, const struct source_listing *listing, set_finding *finding,
	      void *arg, struct error *err);
/* One member: its seal, its payload's size, its slot. alone: it must have a slot of its own beside
 * the set's. Errors as set_members_find(); -EBADMSG, -ENOENT, -EACCES. */
int set_check_one(const struct set_store *s, const struct set_member *m, bool alone,
		  struct error *err);

#endif
