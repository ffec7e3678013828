/*
 * set_store.h: a set where it is kept: read, checked, opened, and replaced by its next version in
 * one step (crypto/FORMAT.md section 11.5). One thread.
 */
#ifndef SEALEDFS_TOOLS_SET_STORE_H
#define SEALEDFS_TOOLS_SET_STORE_H

#include "crypto/set_writer.h"
#include "fs/source/source.h"
#include "fs/unlock/unlock.h"
#include "tools/seal/recipients.h"

/* How a set is believed and opened. */
struct set_access {
	const struct owner_keys *owners; /* NULL or empty: signatures are not checked */
	struct unlock *unlock;		 /* NULL: the set is only looked at */
	uint64_t min_version;		 /* 0: any */
	const uint8_t *id;		 /* the only set that may be there; NULL: any */
	const char *state;		 /* crypto/set_state.h; NULL: none */
};

struct set_store {
	struct source *source;
	struct set_access access;
	char *label;	       /* of the object, for messages */
	char *version;	       /* of the object; "": there is none */
	struct set *set;       /* NULL: there is none */
	struct set_keys *keys; /* NULL: not open */
	/* Of a set that is being made. */
	uint8_t id[SET_ID_SIZE];
	struct seal_slot slots[SEAL_SLOTS_MAX];
	unsigned slot_count;
	uint8_t replaced[SET_ID_SIZE]; /* the set in whose place it comes */
	bool replaces;
	bool written; /* what set_store_commit() was asked for; it may fail after that */
};

/* Reads the set, if there is one. Also again, to see the work of others. Errors as source.h, set.h,
 * unlock.h, set_state.h; -ENOENT: there is none, and access
 * has an id or a version. */
int set_store_load(struct set_store *s, struct source *source, const struct set_access *access,
		   struct error *err);
/* As set_store_load(), where there must be one: -ENOENT. */
int set_store_need(struct set_store *s, struct source *source, const struct set_access *access,
		   struct error *err);
/* What was read against what was seen, as set_store_load() does it. */
int set_store_check_state(const struct set_store *s, struct error *err);
/* The keys of a set that does not exist yet. */
int set_store_begin(struct set_store *s, const struct recipients *recipients, struct error *err);
void set_store_clear(struct set_store *s);

struct set_change {
	const char *name;  /* of a new set; NULL: what it is */
	const char *facts; /* NULL: what they are */
	const struct signing_key *signer;
	uint64_t now; /* seconds since 1970 */
	bool has_expires;
	uint64_t expires;
	struct set_member *put; /* new or in place of those of the same path; paths borrowed */
	size_t put_count;
	const char *const *drop; /* paths */
	size_t drop_count;
	/* Called when another writer made the set first (its keys are s->keys): seals that were
	 * made for ours must get a slot of theirs. old: the keys of ours. */
	int (*moved)(void *arg, const struct set_keys *old, struct error *err);
	void *arg;
};
/*
 * Writes the next version. If another writer came first, reads that one's and makes the same change
 * to it, and prints so. -ENOENT: nothing to drop under a path; -EBUSY: others are always faster.
 */
int set_store_commit(struct set_store *s, const struct set_change *change, struct error *err);
/* -EINVAL: of a split GGUF a part is missing among the members and these paths. */
int set_store_check_shards(const struct set_store *s, const char *const *paths, size_t count,
			   struct error *err);
/* Other recipients; header and signature stay. */
int set_store_put_slots(struct set_store *s, const struct seal_slot *slots, unsigned slot_count,
			struct error *err);

/* The bytes of an object; at most max. *ret_version may be NULL; malloc()ed. */
int set_store_read(struct source *source, const char *name, size_t max, uint8_t **ret,
		   size_t *ret_size, char **ret_version, struct error *err);

#define _cleanup_set_store_ _cleanup_(set_store_clear)

#endif
