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

#include <stddef.h>

#define VERITY_BLOCK_SIZE 4096

/*
 * The hash-table entry of a chunk: size is 1 … SEAL_CHUNK_SIZE plaintext bytes. file_length is the
 * length of the whole file: a file of at most one block has that block's own hash as its entry.
 * 0 or -EIO.
 */
int verity_chunk_hash(const uint8_t *plain, size_t size, uint64_t file_length, uint8_t out[32]);

/*
 * The digest of a file from its chunk hashes (count = ceil(file_length / SEAL_CHUNK_SIZE) entries
 * of 32 bytes): root hash, then SHA-256 of the fsverity_descriptor. 0, -EINVAL, -ENOMEM, -EIO.
 */
int verity_digest(const uint8_t *hashes, uint64_t count, uint64_t file_length, uint8_t out[32]);

#endif
