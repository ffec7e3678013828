/*
 * seal_writer.h: making a seal object.
 *
 * A seal_builder is made before the first byte is sealed and owns file id and keys. It collects
 * each chunk's tag and hash as they become known, in any order and from any thread, and at the end,
 * with the plaintext's digests and the slots, returns the finished object. It does no I/O. Memory:
 * 49 bytes for each chunk, and 48 more for the finished object.
 */
#ifndef SEALEDFS_SEAL_WRITER_H
#define SEALEDFS_SEAL_WRITER_H

#include "crypto/chunk.h"
#include "crypto/facts.h"
#include "crypto/seal.h"

struct seal_builder;

/*
 * Makes a fresh random file id. path: the model's, relative to the destination (name.h; else
 * -EINVAL).
 * There are no keys before seal_builder_start(), because lengths are bound into them.
 */
int seal_builder_new(const char *path, struct seal_builder **ret, struct error *err);
void seal_builder_free(struct seal_builder *b);
const uint8_t *seal_builder_file_id(const struct seal_builder *b);

/* Must come before any chunk is sealed, and only once: a second start, also after a failed one, is
 * -EINVAL. data_key: SEAL_DATA_KEY_SIZE bytes. */
int seal_builder_start(struct seal_builder *b, uint64_t length, const struct secret *data_key,
		       struct error *err);
/* NULL before the start. Valid as long as the builder. */
const struct seal_keys *seal_builder_keys(const struct seal_builder *b);
uint64_t seal_builder_chunk_count(const struct seal_builder *b);
/* Thread-safe for different chunk indexes; all must have returned before seal_builder_finish(). */
void seal_builder_set_chunk(struct seal_builder *b, uint64_t chunk_index,
			    const uint8_t tag[SEAL_TAG_SIZE], const uint8_t hash[SEAL_HASH_SIZE]);

struct seal_finish {
	uint8_t sha256[SHA256_SIZE];
	uint8_t sha384[SHA384_SIZE];
	const struct seal_slot *slots; /* slot_count of them, 1 … SEAL_SLOTS_MAX */
	unsigned slot_count;
	uint64_t sealed_at;		  /* seconds since 1970, at most SEAL_TIME_MAX */
	const struct facts *facts;	  /* NULL: none */
	const struct signing_key *signer; /* NULL: unsigned */
};
/* The object in fresh memory; the caller frees. -EINVAL when a chunk was never set, or a slot, the
 * time or the facts are malformed. */
int seal_builder_finish(struct seal_builder *b, const struct seal_finish *finish, uint8_t **ret,
			size_t *ret_size, struct error *err);

DEFINE_CLEANUP(struct seal_builder *, seal_builder_free)

#endif
