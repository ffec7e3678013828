/*
 * verity.h: the fs-verity Merkle tree (Linux kernel, Documentation/filesystems/fsverity.rst):
 * SHA-256, 4096-byte blocks, no salt. A chunk of 512 KiB is 128 blocks, so its level-1 hash is
 * one 32-byte value; a seal stores one for each chunk.
 *
 * Threads: all functions are pure.
 */
#ifndef SEALEDFS_VERITY_H
#define SEALEDFS_VERITY_H

#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VERITY_BLOCK_SIZE 4096

/*
 * The hash-table entry of a chunk: size is 1 … SEAL_CHUNK_SIZE plaintext bytes. file_length is the
 * length of the whole file: a file of at most one block has that block's own hash as its entry.
 * 0 or -EIO.
 */
int verity_chunk_hash(const uint8_t *plain, size_t size, uint64_t file_length, uint8_t out[32]);

/*
 * The same in pieces: begin, add each piece in order (whole blocks, but for the last piece), end.
 * end refuses (-EINVAL) if bytes are missing. verity_chunk_done() in any case, also of a zeroed
 * object.
 */
struct verity_chunk {
	struct digest *digest;
	size_t left; /* bytes still to come */
	size_t level0_size;
	bool one_block;
	uint8_t level0[SEAL_CHUNK_SIZE / VERITY_BLOCK_SIZE * SEAL_HASH_SIZE];
};
int verity_chunk_begin(struct verity_chunk *v, size_t size, uint64_t file_length);
int verity_chunk_add(struct verity_chunk *v, const uint8_t *plain, size_t size);
int verity_chunk_end(struct verity_chunk *v, uint8_t out[32]);
void verity_chunk_done(struct verity_chunk *v);

/*
 * The digest of a file from its chunk hashes (count = ceil(file_length / SEAL_CHUNK_SIZE) entries
 * of 32 bytes): root hash, then SHA-256 of the fsverity_descriptor. 0, -EINVAL, -ENOMEM, -EIO.
 */
int verity_digest(const uint8_t *hashes, uint64_t count, uint64_t file_length, uint8_t out[32]);

#endif
