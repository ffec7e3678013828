/*
 * sealed_head_internal.h: for seal*.c, set*.c and tests: parsing, checking and writing of heads.
 */
#ifndef SEALEDFS_SEALED_HEAD_INTERNAL_H
#define SEALEDFS_SEALED_HEAD_INTERNAL_H

#include "crypto/base/cursor.h"
#include "crypto/sealed_head.h"

#define SIGNATURE_AT 0x800
#define SLOT_HEADER_AT 0x880
#define SLOT_MAC_AT 0x8A0

/* Where the part behind the slots begins. slot_count: 1 … SEAL_SLOTS_MAX. */
uint64_t sealed_head_size(unsigned slot_count);

/* Room for the largest number of slots, so that nothing is allocated by an unchecked number. NULL:
 * no memory. */
struct sealed_head *sealed_head_new(const char *name);
void sealed_head_free(struct sealed_head *h);
/* The slot count, which the size of the object follows from. -EPROTO: out of range. bytes: the
 * core, the signature block and the slot header at least. */
int sealed_head_parse_count(struct sealed_head *h, const uint8_t *bytes, struct error *err);
/* Core and signature block alone; c is behind the core. */
int sealed_head_parse_signature(struct sealed_head *h, struct cursor *c, struct error *err);
/* The whole head; c is behind the core, and is left behind the padding. *head may move. -EPROTO. */
int sealed_head_parse(struct sealed_head **head, struct cursor *c, struct error *err);

/* A text of at most room bytes in a field of that size, the rest of which is zero; NULL: it is
 * not. */
const uint8_t *sealed_head_text(struct cursor *c, uint16_t size, size_t room);

/* label: with its NUL it precedes the core's digest in what is signed. what: "seal", "set". */
int sealed_head_check_owner(const struct sealed_head *h, const char *label, const char *what,
			    const struct owner_keys *pinned, struct error *err);
/* mac_key: SHA256_SIZE bytes. */
int sealed_head_check_mac(const struct sealed_head *h, const uint8_t *mac_key, struct error *err);

struct sealed_head_parts {
	const uint8_t *core;
	const char *label;		  /* as above */
	const struct signing_key *signer; /* NULL: unsigned */
	const struct seal_slot *slots;
	unsigned slot_count;
	const uint8_t *mac_key;
};
/* -EINVAL: count or form of the slots. */
int sealed_head_check_slots(const struct seal_slot *slots, unsigned slot_count, struct error *err);
/* sealed_head_size() bytes into zeroed memory. */
int sealed_head_write(const struct sealed_head_parts *p, uint8_t *out);
/* The signature block of a parsed head into an object. */
void sealed_head_copy_signature(const struct sealed_head *h, uint8_t *out);
int sealed_head_mac(const uint8_t *mac_key, const uint8_t core[SEAL_CORE_SIZE],
		    const struct seal_slot *slots, unsigned slot_count, uint8_t out[SHA256_SIZE]);

DEFINE_CLEANUP(struct sealed_head *, sealed_head_free)
#define _cleanup_sealed_head_ _cleanup_(sealed_head_freep)

#endif
