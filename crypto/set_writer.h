/*
 * set_writer.h: making set objects. Pure.
 */
#ifndef SEALEDFS_SET_WRITER_H
#define SEALEDFS_SET_WRITER_H

#include "crypto/set.h"

struct set_make {
	const uint8_t *id; /* SET_ID_SIZE bytes */
	const char *name;
	const char *facts; /* facts.h; "": none */
	uint64_t version, created, expires;
	/* In any order; they are sorted by path here, and description is filled in. */
	struct set_member *members;
	size_t member_count;
	const struct seal_slot *slots;
	unsigned slot_count;
	const struct set_keys *keys;
	const struct signing_key *signer; /* NULL: unsigned */
};

/* Sorts members by path, as a table has them, and fills in descriptions. */
void set_sort_members(struct set_member *members, size_t count);
/* Keys of a set that is being made. -EINVAL: the key's size. */
int set_keys_make(const uint8_t id[SET_ID_SIZE], const struct secret *set_key,
		  struct set_keys **ret);
/* The object in fresh memory. -EINVAL when anything breaks a rule of the format. */
int set_make(const struct set_make *m, uint8_t **ret, size_t *ret_size, struct error *err);
/* The same set with other slots: header and signature stay as they are. s has its table. */
int set_replace_slots(const struct set *s, const struct set_keys *keys,
		      const struct seal_slot *slots, unsigned slot_count, uint8_t **ret,
		      size_t *ret_size, struct error *err);
/* A seal's whole object with other slots, likewise. s has its tables. */
int seal_replace_slots(const struct seal *s, const struct seal_keys *keys,
		       const struct seal_slot *slots, unsigned slot_count, uint8_t **ret,
		       size_t *ret_size, struct error *err);
/* What a set states of a sealed model under this path, which is not copied. */
int set_member_of(const struct seal *seal, const char *path, struct set_member *ret);

#endif
