/*
 * seal.h: reading a seal object, in the order of crypto/FORMAT.md:
 *
 *   seal_parse_head()   structure of header and slots (a listing stops here; also needs no tables)
 *   seal_parse()        structure of the whole object
 *   seal_check_owner()  signature against the pinned owner keys
 *   (fs/unlock turns a slot into the data key)
 *   seal_unlock()       commitment -> slot MAC -> table hash -> fs-verity root; gives the keys that
 *                       chunk.h needs
 *
 * Errors: -EPROTO malformed or unsupported, -EBADMSG not authentic (unsigned, unknown signer, bad
 * signature, wrong key, altered slots or tables), -ENOMEM. Each sets its own message in err, in
 * the form of failure.h, whose seal_failure_of() gives the class back. `name` in messages is the
 * object's name as the caller knows it; it is printed safely. Threads: a struct seal is immutable
 * after parsing; any number of threads may read it.
 */
#ifndef SEALEDFS_SEAL_H
#define SEALEDFS_SEAL_H

#include "crypto/base/error.h"
#include "crypto/base/secret.h"
#include "crypto/format.h"
#include "crypto/sign.h"
#include "crypto/slots.h"

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
	char name[SEAL_NAME_MAX + 1];
};

/* Exact byte size of a seal object; 0 when the arguments are out of range. */
uint64_t seal_object_size(uint64_t length, unsigned slot_count);

/* bytes: at least SEAL_HEADER_SIZE + slots (SEAL_HEAD_MAX always suffices). object_size: of the
 * whole object. */
int seal_parse_head(const char *name, const uint8_t *bytes, size_t size, uint64_t object_size,
		    struct seal **ret, struct error *err);
/* Copies what it keeps. size must be the exact object size. */
int seal_parse(const char *name, const uint8_t *bytes, size_t size, struct seal **ret,
	       struct error *err);
void seal_free(struct seal *s);

const struct seal_core *seal_core(const struct seal *s);
unsigned seal_slot_count(const struct seal *s);
const struct seal_slot *seal_slot(const struct seal *s, unsigned index); /* NULL: out of range */
bool seal_has_tables(const struct seal *s);
/* 16 and 32 bytes, in place; NULL without tables or out of range. */
const uint8_t *seal_tag(const struct seal *s, uint64_t chunk_index);
const uint8_t *seal_hash(const struct seal *s, uint64_t chunk_index);
bool seal_is_signed(const struct seal *s);
const uint8_t *seal_signer_id(const struct seal *s);

/* Plaintext bytes of chunk i (the last may be short); 0 out of range. */
uint32_t seal_chunk_size(const struct seal *s, uint64_t chunk_index);
/* "NAME.<16 hex>.sealed" beside the seal object `seal_name` ("NAME.seal", with its directories;
 * else -EINVAL); malloc()ed, caller frees. */
int seal_payload_name(const struct seal *s, const char *seal_name, char **ret);

/*
 * 0 when the last component of seal_object_name is the core's name and ".seal"; else -EBADMSG:
 * every reader that found the seal under a name must ask.
 */
int seal_check_name(const struct seal *s, const char *seal_object_name, struct error *err);

/* 0 when no keys are pinned (set NULL or empty) or the signature is good; else -EBADMSG. */
int seal_check_owner(const struct seal *s, const struct owner_keys *pinned, struct error *err);

/* Needs the tables. The caller frees *ret; the data key may be freed at once. */
int seal_unlock(const struct seal *s, const struct secret *data_key, struct seal_keys **ret,
		struct error *err);
/* True when data_key is this seal's (commitment), without needing the tables. */
bool seal_key_fits(const struct seal *s, const struct secret *data_key);
void seal_keys_free(struct seal_keys *k);

DEFINE_CLEANUP(struct seal *, seal_free)
DEFINE_CLEANUP(struct seal_keys *, seal_keys_free)
#define _cleanup_seal_ _cleanup_(seal_freep)
#define _cleanup_seal_keys_ _cleanup_(seal_keys_freep)

#endif
