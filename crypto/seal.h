/*
 * seal.h: reading a seal object, in the order of crypto/FORMAT.md:
 *
 *   seal_parse_head()   structure of core, signature block and slots (a listing stops here)
 *   seal_check_name()   the sealed path against the place where the seal was found
 *   seal_check_owner()  signature against the pinned owner keys
 *   (fs/unlock turns a slot into the data key)
 *   seal_unlock()       commitment -> slot MAC; gives the keys that chunk.h needs
 *   seal_load_tables()  table hash -> fs-verity root
 *
 * Nothing is allocated by a number from the seal before seal_load_tables(). Its caller reads the
 * tables, seal_tables_size() bytes, and accounts for them before it does.
 *
 * Errors: -EPROTO malformed or unsupported, -EBADMSG not authentic (unsigned, unknown signer, bad
 * signature, wrong key, altered slots or tables), -ENOMEM. Each sets its own message in err, in
 * the form of failure.h, whose seal_failure_of() gives the class back. `name` in messages is the
 * object's name as the caller knows it; it is printed safely. Threads: a struct seal is immutable
 * after seal_load_tables() (or without it); any number of threads may read it.
 */
#ifndef SEALEDFS_SEAL_H
#define SEALEDFS_SEAL_H

#include "crypto/base/error.h"
#include "crypto/base/secret.h"
#include "crypto/format.h"
#include "crypto/sealed_head.h"

#include <stdbool.h>

struct seal;
struct seal_keys; /* payload key, base nonce, slot-MAC key: opaque, secret */

/* What the core states; authentic only after seal_check_owner() or seal_unlock(). */
struct seal_core {
	uint8_t file_id[SEAL_FILE_ID_SIZE];
	uint64_t length;      /* plaintext bytes */
	uint64_t chunk_count; /* ceil(length / SEAL_CHUNK_SIZE) */
	uint8_t sha256[SHA256_SIZE];
	uint8_t sha384[SHA384_SIZE];
	uint8_t verity[32];
	uint8_t table_hash[32];
	uint8_t commitment[32];
	uint64_t sealed_at;		/* seconds since 1970 by the sealer's clock */
	char path[SEAL_PATH_MAX + 1];	/* relative to where it was sealed to */
	char facts[SEAL_FACTS_MAX + 1]; /* see facts.h; "": none */
};

/* Exact byte size of a seal object; 0 when the arguments are out of range. */
uint64_t seal_object_size(uint64_t length, unsigned slot_count);

/* bytes: the object's first MIN(object_size, SEAL_HEAD_MAX) bytes, or more. object_size: of the
 * whole object. */
int seal_parse_head(const char *name, const uint8_t *bytes, size_t size, uint64_t object_size,
		    struct seal **ret, struct error *err);
/*
 * Core and signature block only, the first SEAL_STATEMENT_SIZE bytes of a seal object; what follows
 * is not looked at. Such a seal has no slots: it states what was sealed and by whom, and cannot be
 * unlocked.
 */
#define SEAL_STATEMENT_SIZE 2176
int seal_parse_statement(const char *name, const uint8_t *bytes, size_t size, struct seal **ret,
			 struct error *err);
void seal_free(struct seal *s);

const struct seal_core *seal_core(const struct seal *s);
/* SHA-256 of the whole core. Two seals with the same hash come from the same sealing, whatever
 * their recipients are. */
int seal_core_hash(const struct seal *s, uint8_t out[SHA256_SIZE]);
/* Valid as long as s. */
const struct sealed_head *seal_head(const struct seal *s);
unsigned seal_slot_count(const struct seal *s);
const struct seal_slot *seal_slot(const struct seal *s, unsigned index); /* NULL: out of range */
bool seal_has_tables(const struct seal *s);
/* 16 and 32 bytes, in place; NULL without tables or out of range. */
const uint8_t *seal_tag(const struct seal *s, uint64_t chunk_index);
const uint8_t *seal_hash(const struct seal *s, uint64_t chunk_index);
/*
 * Core and signature block as they stand in the object: all that names the model and shows who
 * signed it, and nothing of keys, recipients or tables.
 */
#define SEAL_STATEMENT_SIZE 2176
void seal_copy_statement(const struct seal *s, uint8_t out[SEAL_STATEMENT_SIZE]);
bool seal_is_signed(const struct seal *s);
const uint8_t *seal_signer_id(const struct seal *s);

/* Plaintext bytes of chunk i (the last may be short); 0 out of range. */
uint32_t seal_chunk_size(const struct seal *s, uint64_t chunk_index);
/* "NAME.<16 hex>.sealed" beside the seal object `seal_name` ("NAME.seal", with its directories;
 * else -EINVAL); malloc()ed, caller frees. */
int seal_payload_name(const struct seal *s, const char *seal_name, char **ret);

/*
 * 0 if seal_object_name is a path and ".seal", and the shorter of that path and the core's is, by
 * whole components, the end of the longer one; else -EBADMSG. Every reader that found the seal
 * under a name must call it.
 */
int seal_check_name(const struct seal *s, const char *seal_object_name, struct error *err);

/* 0 when no keys are pinned (set NULL or empty) or the signature is good; else -EBADMSG. */
int seal_check_owner(const struct seal *s, const struct owner_keys *pinned, struct error *err);

/* Commitment and slot MAC. The caller frees *ret; the data key may be freed at once. */
int seal_unlock(const struct seal *s, const struct secret *data_key, struct seal_keys **ret,
		struct error *err);
/*
 * Where the tables are in the object, and their bytes: 48 for each chunk, at most 1.5 GiB. This
 * many stay allocated once they are loaded; checking them takes another 1/192 of it for a moment.
 */
uint64_t seal_tables_offset(const struct seal *s);
uint64_t seal_tables_size(const struct seal *s);
/*
 * Checks the tables against the core and keeps them. keys: of seal_unlock() for this seal (else
 * -EINVAL), so that only the sealer can have stated their size. tables: seal_tables_size() bytes
 * from malloc(), taken over, also after an error. Not while it has tables.
 */
int seal_load_tables(struct seal *s, const struct seal_keys *keys, uint8_t *tables,
		     struct error *err);
/* Frees their memory; they can be loaded again. They must not be in use. */
void seal_drop_tables(struct seal *s);
/* True when data_key is this seal's (commitment). */
bool seal_key_fits(const struct seal *s, const struct secret *data_key);
void seal_keys_free(struct seal_keys *k);

DEFINE_CLEANUP(struct seal *, seal_free)
DEFINE_CLEANUP(struct seal_keys *, seal_keys_free)
#define _cleanup_seal_ _cleanup_(seal_freep)
#define _cleanup_seal_keys_ _cleanup_(seal_keys_freep)

#endif
