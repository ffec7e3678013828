/*
 * fs-verity's Merkle tree over chunks. Job: the same digest as `fsverity digest`. Trusts its
 * arguments' sizes, which callers have bounded. Must never treat a short last block other than as
 * zero-filled.
 */
#include "crypto/verity.h"

#include "crypto/base/cursor.h"
#include "crypto/digest.h"

#include <errno.h>
#include <string.h>

#define HASH_SIZE 32
#define BLOCKS_PER_CHUNK (SEAL_CHUNK_SIZE / VERITY_BLOCK_SIZE)
#define HASHES_PER_BLOCK (VERITY_BLOCK_SIZE / HASH_SIZE)
#define DESCRIPTOR_SIZE 256

static const uint8_t zeros[VERITY_BLOCK_SIZE];

/* One block of size 1 … 4096 bytes, as if filled with zeros. */
static int hash_block(struct digest *d, const uint8_t *data, size_t size, uint8_t out[HASH_SIZE])
{
	int r = digest_reset(d);

	if (r == 0)
		r = digest_update(d, data, size);
	if (r == 0 && size < VERITY_BLOCK_SIZE)
		r = digest_update(d, zeros, VERITY_BLOCK_SIZE - size);
	return r == 0 ? digest_final(d, out) : r;
}

/* Hashes size bytes block by block; out takes one hash for each. out may be data itself: a hash is
 * written only where its block, or one before, was read. */
static int hash_blocks(struct digest *d, const uint8_t *data, size_t size, uint8_t *out)
{
	for (size_t at = 0; at < size; at += VERITY_BLOCK_SIZE, out += HASH_SIZE) {
		int r = hash_block(d, data + at, MIN(size - at, (size_t)VERITY_BLOCK_SIZE), out);

		if (r < 0)
			return r;
	}
	return 0;
}

int verity_chunk_hash(const uint8_t *plain, size_t size, uint64_t file_length, uint8_t out[32])
{
	uint8_t level0[BLOCKS_PER_CHUNK * HASH_SIZE];
	size_t blocks = (size + VERITY_BLOCK_SIZE - 1) / VERITY_BLOCK_SIZE;
	_cleanup_digest_ struct digest *d = NULL;
	int r;

	if (size == 0 || size > SEAL_CHUNK_SIZE || size > file_length)
		return -EINVAL;
	r = digest_new(DIGEST_SHA256, &d);
	if (r < 0)
		return r;
	if (file_length <= VERITY_BLOCK_SIZE)
		return hash_block(d, plain, size, out);
	r = hash_blocks(d, plain, size, level0);
	return r == 0 ? hash_block(d, level0, blocks * HASH_SIZE, out) : r;
}

/* Reduces count level-1 hashes to the root. */
static int merkle_root(struct digest *d, const uint8_t *hashes, uint64_t count,
		       uint8_t root[HASH_SIZE])
{
	size_t above = (size_t)((count + HASHES_PER_BLOCK - 1) / HASHES_PER_BLOCK);
	_cleanup_free_ uint8_t *level = NULL;
	int r;

	if (count == 1) {
		memcpy(root, hashes, HASH_SIZE);
		return 0;
	}
	level = malloc(above * HASH_SIZE);
	if (!level)
		return -ENOMEM;
	r = hash_blocks(d, hashes, (size_t)count * HASH_SIZE, level);
	while (r == 0 && above > 1) {
		r = hash_blocks(d, level, above * HASH_SIZE, level);
		above = (above + HASHES_PER_BLOCK - 1) / HASHES_PER_BLOCK;
	}
	if (r == 0)
		memcpy(root, level, HASH_SIZE);
	return r;
}

int verity_digest(const uint8_t *hashes, uint64_t count, uint64_t file_length, uint8_t out[32])
{
	uint8_t descriptor[DESCRIPTOR_SIZE] = {
		1,  /* version */
		1,  /* FS_VERITY_HASH_ALG_SHA256 */
		12, /* log2 of the block size */
	};
	_cleanup_digest_ struct digest *d = NULL;
	int r;

	if (file_length > SEAL_LENGTH_MAX ||
	    count != (file_length + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE)
		return -EINVAL;
	r = digest_new(DIGEST_SHA256, &d);
	if (r < 0)
		return r;
	put_le64(descriptor + 8, file_length);
	if (count > 0) {
		r = merkle_root(d, hashes, count, descriptor + 16);
		if (r < 0)
			return r;
	}
	return digest_buffer(DIGEST_SHA256, descriptor, sizeof(descriptor), out);
}
