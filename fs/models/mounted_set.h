/*
 * mounted_set.h: the set whose members a mount shows (crypto/FORMAT.md section 11): read, checked
 * and unlocked once for each of its versions, and never exchanged for an older one. Immutable but
 * for its holds and the note that it was measured. Threads: any; mounted_set_read() one at a time.
 */
#ifndef SEALEDFS_MODELS_MOUNTED_SET_H
#define SEALEDFS_MODELS_MOUNTED_SET_H

#include "crypto/set.h"
#include "fs/models/measured.h"
#include "fs/oms/oms_check.h"
#include "fs/source/source.h"
#include "fs/unlock/unlock.h"

struct mounted_set;

/* Borrowed. */
struct set_policy {
	struct source *source;
	const struct owner_keys *owners;
	struct unlock *unlock;
	struct allowance *allowance;
	bool required;	      /* without one, fail */
	const uint8_t *id;    /* the only set that is shown; NULL: any */
	const char *state;    /* set_state.h; NULL: none */
	uint64_t min_version; /* 0: any */
	/* An OMS bundle that must fit each version of the set, and whose key signs it; or NULL. */
	const char *oms;
	const struct oms_key *oms_key;
};

/*
 * Waits for the network: one object, and one key unless `was` has it. was: what the mount shows;
 * NULL: nothing yet. *ret: to be dropped; `was` itself if nothing but recipients has changed since;
 * NULL: there is no set, and none is required. From then on `unlock` opens its members.
 * Errors: as set.h, oms_check.h, unlock.h and source.h; -ENOENT: there is no set, or no longer;
 * -EBADMSG: another set, or another content of the same version. The allowance keeps what the set
 * takes until the last hold is dropped.
 */
int mounted_set_read(const struct set_policy *p, struct mounted_set *was, struct mounted_set **ret,
		     struct error *err);
/* Returns s. */
struct mounted_set *mounted_set_hold(struct mounted_set *s);
/* m: where the last hold's measurement is dropped; NULL: it was not measured. */
void mounted_set_drop(struct mounted_set *s, struct measured *m);

const struct set *mounted_set_get(const struct mounted_set *s);
/* slots_text() of the last reading; malloc()ed. NULL: no memory. */
char *mounted_set_recipients(struct mounted_set *s);
/* What its bundle was found to be; NULL: none was required. */
const struct oms_summary *mounted_set_oms(const struct mounted_set *s);
/* What measure=set measures; the key is s. */
struct measured_model mounted_set_claim(const struct mounted_set *s);
/* Notes that it was measured; waits like measured_has(). */
void mounted_set_note_measured(struct mounted_set *s, struct measured *m);
/* Never waits. */
bool mounted_set_is_measured(const struct mounted_set *s, bool *ret_earlier);

#endif
