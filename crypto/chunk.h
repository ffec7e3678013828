/*
 * chunk.h: one chunk of payload, both ways (AES-256-GCM, crypto/FORMAT.md "Keys").
 *
 * A chunk_cipher holds an expanded key schedule: one for each worker thread and file, reused for
 * every chunk. Chunks are encrypted and decrypted only through it; backend.h chooses the library.
 */
#ifndef SEALEDFS_CHUNK_H
#define SEALEDFS_CHUNK_H

#include "crypto/seal.h"

struct chunk_cipher;

/* The keys must outlive the cipher. chunk_count must be the seal's (-EINVAL). Not for concurrent
 * use: one cipher for each thread. */
int chunk_cipher_new(const struct seal_keys *keys, uint64_t chunk_count, struct chunk_cipher **ret);
void chunk_cipher_free(struct chunk_cipher *c);

/*
 * Decrypts size bytes (1 … SEAL_CHUNK_SIZE) of chunk chunk_index. `plain` must not be used by
 * anyone until this returned 0; on -EBADMSG it has been wiped. cipher and plain may be the same
 * buffer. -EINVAL, with nothing written: index or size out of range, a short chunk that is not
 * the last.
 */
int chunk_open(struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *cipher, size_t size,
	       const uint8_t tag[SEAL_TAG_SIZE], uint8_t *plain);

/*
 * The same with the chunk's hash-table entry (verity.h) taken in the same pass. file_length: of
 * the whole plaintext. The hash is written only when 0 is returned, and comparing it with the
 * seal's is up to the caller.
 */
int chunk_open_verity(struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *cipher,
		      size_t size, const uint8_t tag[SEAL_TAG_SIZE], uint64_t file_length,
		      uint8_t *plain, uint8_t hash[SEAL_HASH_SIZE]);
int chunk_seal_verity(struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *plain,
		      size_t size, uint64_t file_length, uint8_t *cipher,
		      uint8_t tag[SEAL_TAG_SIZE], uint8_t hash[SEAL_HASH_SIZE]);

/*
 * Keyed fingerprints: a secret universal hash (GMAC under a random key that never leaves this
 * process) that recognises a flat-measured chunk when it is read again, even if an attacker holds
 * the data key. Thread-safe after creation.
 */
#define FINGERPRINT_SIZE 16
struct fingerprint_key;
int fingerprint_key_new(struct fingerprint_key **ret);
void fingerprint_key_free(struct fingerprint_key *k);
int fingerprint_chunk(const struct fingerprint_key *k, uint64_t chunk_index, const uint8_t *plain,
		      size_t size, uint8_t out[FINGERPRINT_SIZE]);

DEFINE_CLEANUP(struct chunk_cipher *, chunk_cipher_free)
DEFINE_CLEANUP(struct fingerprint_key *, fingerprint_key_free)

#endif
