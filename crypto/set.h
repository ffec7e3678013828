/*
 * set.h: reading a set object (crypto/FORMAT.md section 11), in this order:
 *
 *   set_parse_head()    structure of header, signature block and slots; SET_HEAD_MAX bytes
 *   set_check_owner()   signature against the pinned owner keys
 *   (fs/unlock turns a slot into the set key: unlock_set_key())
 *   set_unlock()        commitment -> slot MAC; gives the keys that open members' slots
 *   set_load_table()    table hash -> entries -> content digest
 *   set_check_version() rollback and expiry, for programs that serve it; also set_state.h
 *
 * and then, for each member that is opened: set_find(), set_seal_name() or set_pending_name(),
 * set_check_member(), slot_open_set(). The writer is set_writer.h. Errors, messages and `name` as
 * in seal.h. Threads: a struct set is immutable after set_load_table(); any number may read it.
 */
#ifndef SEALEDFS_SET_H
#define SEALEDFS_SET_H

#include "crypto/seal.h"

#define SET_OBJECT_NAME "sealed.set"
#define SET_PENDING_SUFFIX ".next"
#define SET_MAGIC "sealdset"
#define SET_DESCRIPTION_SUFFIX ".ollama"
#define SET_ID_SIZE SLOT_SET_ID_SIZE
#define SET_MEMBERS_MAX 65536
#define SET_TABLE_MAX ((size_t)64 << 20)
#define SET_HEAD_MAX SEAL_HEAD_MAX
#define SET_VERSION_MAX ((uint64_t)INT64_MAX)

struct set;
struct set_keys; /* member key, slot-MAC key: opaque, secret */

/* What the header states; authentic only after set_check_owner() or set_unlock(). */
struct set_header {
	uint8_t id[SET_ID_SIZE];
	uint64_t version; /* 1 … SET_VERSION_MAX */
	uint64_t created; /* seconds since 1970 */
	uint64_t expires; /* seconds since 1970; 0: never */
	uint32_t member_count, table_size;
	uint8_t table_hash[SHA256_SIZE];
	uint8_t content[SHA256_SIZE]; /* what measure=set measures */
	uint8_t commitment[32];
	char name[SEAL_NAME_MAX + 1];
	char facts[SEAL_FACTS_MAX + 1]; /* facts.h; "": none */
};

struct set_member {
	const char *path; /* relative to the set's root */
	uint8_t file_id[SEAL_FILE_ID_SIZE];
	uint8_t core_digest[SHA384_SIZE];
	uint64_t length; /* plaintext bytes */
	uint8_t sha256[SHA256_SIZE];
	uint8_t sha384[SHA384_SIZE];
	uint8_t verity[32];
	uint8_t description[SHA256_SIZE]; /* of PATH.ollama; zero: none */
};

/* bytes: the object's first MIN(object_size, SET_HEAD_MAX) bytes, or more. */
int set_parse_head(const char *name, const uint8_t *bytes, size_t size, uint64_t object_size,
		   struct set **ret, struct error *err);
/* Header and signature block only, SEAL_STATEMENT_SIZE bytes, or these with the member table behind
 * them, which then is checked against the header: for programs that have no slots. -EPROTO. */
int set_parse_statement(const char *name, const uint8_t *bytes, size_t size, struct set **ret,
			struct error *err);
void set_copy_statement(const struct set *s, uint8_t out[SEAL_STATEMENT_SIZE]);
void set_free(struct set *s);
const struct set_header *set_header(const struct set *s);
/* Name in messages, and signature block and slots, as sealed_head.h describes them. */
const struct sealed_head *set_head(const struct set *s);

/* 0 when no keys are pinned (NULL or empty) or the signature is good; else -EBADMSG. */
int set_check_owner(const struct set *s, const struct owner_keys *pinned, struct error *err);
/* True when set_key is this set's (commitment). */
bool set_key_fits(const struct set *s, const struct secret *set_key);
/* Commitment and slot MAC. The caller frees *ret; the set key may be freed at once. */
int set_unlock(const struct set *s, const struct secret *set_key, struct set_keys **ret,
	       struct error *err);
void set_keys_free(struct set_keys *k);

/* Where the member table is in the object; its size is header.table_size. */
uint64_t set_table_offset(const struct set *s);
/*
 * Checks the table against the header and takes its entries. keys: of set_unlock() for this set;
 * NULL only for a program that looks at the table without a key and does not claim more than the
 * signature covers. table: table_size bytes; not kept. Memory that stays: about table_size. Once.
 */
int set_load_table(struct set *s, const struct set_keys *keys, const uint8_t *table,
		   struct error *err);
/* In the order of the table; NULL out of range and before set_load_table(). */
const struct set_member *set_member(const struct set *s, size_t index);
/* NULL: no such member. */
const struct set_member *set_find(const struct set *s, const char *path);

/* -EBADMSG: it is another set than the one of this id. */
int set_check_id(const struct set *s, const uint8_t id[SET_ID_SIZE], struct error *err);
/* known: the highest version that the caller has seen; 0: none. now: seconds since 1970. -EBADMSG
 * (old-set), -EKEYEXPIRED. */
int set_check_version(const struct set *s, uint64_t known, uint64_t now, struct error *err);

/* "PATH.seal"; where that is absent or not the member's, "PATH.<16 hex>.next". malloc()ed; NULL: no
 * memory. */
char *set_seal_name(const struct set_member *m);
char *set_pending_name(const struct set_member *m);
/* True for "NAME.<16 hex>.next". */
bool set_name_is_pending(const char *name);
/* "NAME.<16 hex>.sealed" for that; malloc()ed. -ENOMEM. */
int set_pending_payload(const char *name, char **ret);
/*
 * 0 when `seal` is the one that the set names for m, and its sealed path agrees with m's; else
 * -EBADMSG (wrong-member; the message says how it differs: of another set, older, newer).
 * The seal's own signature need not be checked then, if the set's was.
 */
int set_check_member(const struct set *s, const struct set_member *m, const struct seal *seal,
		     struct error *err);
/* The error for a member of which neither seal is there: -EBADMSG (missing-member). */
int set_missing_member(const struct set *s, const struct set_member *m, struct error *err);

/* The content digest of members sorted by path; of each only path, length, verity, description are
 * used. 0 or negative errno. */
int set_content_digest(const struct set_member *members, size_t count, uint8_t out[SHA256_SIZE]);

/* Slots of type 4. -ENOKEY: the slot is not of the set of these keys; -EBADMSG: it does not open.
 */
int slot_make_set(const struct set_keys *keys, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		  const struct secret *data_key, struct seal_slot *ret);
int slot_open_set(const struct seal_slot *slot, const struct set_keys *keys,
		  const uint8_t file_id[SEAL_FILE_ID_SIZE], struct secret **ret_data_key);
/* -ENOMEM. */
int set_keys_copy(const struct set_keys *keys, struct set_keys **ret);
/* SET_ID_SIZE bytes. */
const uint8_t *set_keys_id(const struct set_keys *keys);

DEFINE_CLEANUP(struct set *, set_free)
DEFINE_CLEANUP(struct set_keys *, set_keys_free)
#define _cleanup_set_ _cleanup_(set_freep)
#define _cleanup_set_keys_ _cleanup_(set_keys_freep)

#endif
