/*
 * wish.h: what `sealctl rewrap` was asked for: recipients that come and recipients that go, and
 * what that means for one head. One thread.
 */
#ifndef SEALEDFS_TOOLS_REWRAP_WISH_H
#define SEALEDFS_TOOLS_REWRAP_WISH_H

#include "crypto/sealed_head.h"
#include "tools/seal/recipients.h"

/* A recipient that comes. */
struct addition {
	const char *text;	/* as it was given; borrowed */
	struct recipients *one; /* of it alone */
	struct seal_slot known; /* a slot of its, once its identity is known */
	bool is_known;
};

struct wish {
	struct addition added[SEAL_SLOTS_MAX];
	unsigned added_count;
	const char *dropped[SEAL_SLOTS_MAX]; /* as slot_is_called(); borrowed */
	bool drop_found[SEAL_SLOTS_MAX];     /* an object had it */
	unsigned dropped_count;
};

/* Loads key files, asks the TPM. options: each recipient that comes. -EINVAL: nothing is asked, or
 * too much. */
int wish_make(struct wish *w, const struct recipient_options *options, struct aws *aws,
	      struct error *err);
void wish_clear(struct wish *w);
/* -EINVAL: no text that could name a recipient. */
int wish_drop(struct wish *w, const char *text, struct error *err);

/* The slots that a head shall have. */
struct plan_slots {
	struct seal_slot slots[SEAL_SLOTS_MAX];
	unsigned count;
	struct seal_slot gone[SEAL_SLOTS_MAX];
	unsigned gone_count;
	/* Recipients that are not known to be there. */
	struct addition *coming[SEAL_SLOTS_MAX];
	unsigned coming_count;
	unsigned new_at; /* from here on `slots` are new ones, after plan_wrap() */
};
/* add: false: nobody comes, because the set gives them this one. */
void plan_slots(struct wish *w, const struct sealed_head *head, bool add, struct plan_slots *ret);
bool plan_is_done(const struct plan_slots *p);
/* Wraps the key for those who come; who turns out to be there already stays as he is. -EINVAL: too
 * many recipients, or none. */
int plan_wrap(struct plan_slots *p, const uint8_t id[SEAL_FILE_ID_SIZE], const struct secret *key,
	      struct error *err);

/* The same recipient, whatever the wrapped key. */
bool slot_same_recipient(const struct seal_slot *a, const struct seal_slot *b);
/* text: a key ARN, or the id of a key file or the storage key of a TPM, or at least its first 8
 * digits. */
bool slot_is_called(const struct seal_slot *slot, const char *text);

#endif
