/*
 * set_members.h: the sealed models that a set names: giving their seals a slot of the set, and the
 * seals that wait for the set (crypto/FORMAT.md section 11.5). One thread.
 */
#ifndef SEALEDFS_TOOLS_SET_MEMBERS_H
#define SEALEDFS_TOOLS_SET_MEMBERS_H

#include "tools/common/progress.h"
#include "tools/set/set_store.h"

/*
 * Gives the seal object a slot of the set of s->keys, in place of one of the set `not` (NULL: of
 * none), unless it has one; its data key is unlocked with s->access. ret: what the set states of
 * it; path is borrowed. -ESTALE: another writer changed it.
 */
int set_members_admit(struct set_store *s, const char *object, const char *path,
		      const uint8_t * not, struct set_member *ret, struct error *err);
/* Every pending seal that the set names, also those that a killed writer left, takes its place as
 * PATH.seal. -EBUSY: other writers do it at the same time. */
int set_members_finish(const struct set_store *s, struct error *err);
/* set may be NULL. */
bool set_members_pending_is_named(const struct set *set, const char *pending);

/* The seal of a member: *ret_object is its name, malloc()ed. Checked against the set. -EBADMSG. */
int set_members_find(const struct set_store *s, const struct set_member *m, struct seal **ret,
		     char **ret_object, struct error *err);

#endif
