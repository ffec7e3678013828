/*
 * seal_writer.h: making a seal object.
 *
 * A seal_builder is made before the first byte is sealed (it owns file id and keys), is told each
 * chunk's tag and hash as they become known (any order, any thread), and at the end, given the
 * plaintext's digests and the slots, gives the finished object. It does no I/O.
 * Memory: 48 bytes for each chunk.
 */
#ifndef SEALEDFS_SEAL_WRITER_H
#define SEALEDFS_SEAL_WRITER_H

#include "crypto/chunk.h"
#include "crypto/seal.h"

struct seal_builder;

/*
 * A fresh random file id. length may be unknown: then chunk keys are not available until
 * it is (see seal_builder_set_length), because lengths are bound into the key derivation.
 */
int seal_builder_new(const char *name, struct seal_builder **ret, struct error *err);
void seal_builder_free(struct seal_builder *b);
const uint8_t *seal_builder_file_id(const struct seal_builder *b);

/* Must come before any chunk is sealed. data_key: SEAL_DATA_KEY_SIZE bytes. */
int seal_builder_start(struct seal_builder *b, uint64_t length, const struct secret *data_key,
		       struct error *err);
const struct seal_keys *seal_builder_keys(const struct seal_builder *b);
uint64_t seal_builder_chunk_count(const struct seal_builder *b);
/* Thread-safe for different chunk indexes. */
void seal_builder_set_chunk(struct seal_builder *b, uint64_t chunk_index,
			    const uint8_t tag[SEAL_TAG_SIZE], const uint8_t hash[SEAL_HASH_SIZE]);

struct seal_finish {
	uint8_t sha256[SHA256_SIZE];
	uint8_t sha384[SHA384_SIZE];
	const struct seal_slot *slots; /* slot_count of them, 1 … SEAL_SLOTS_MAX */
	unsigned slot_count;
	const struct signing_key *signer; /* NULL: unsigned */
};
/* The object in fresh memory; the caller frees. -EINVAL when a chunk was never set. */
int seal_builder_finish(struct seal_builder *b, const struct seal_finish *finish, uint8_t **ret,
			size_t *ret_size, struct error *err);

DEFINE_CLEANUP(struct seal_builder *, seal_builder_free)

#endif
