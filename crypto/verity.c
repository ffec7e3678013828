/*
 * fs-verity's Merkle tree over chunks. Job: the same digest as `fsverity digest`, many blocks at
 * once if backend.h chose that. Trusts its arguments' sizes, which callers have bounded. Must never
 * treat a short last block other than as zero-filled.
 */
#include "crypto/verity.h"

#include "crypto/backend.h"
#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/ipsec_mb.h"

#include <errno.h>
#include <string.h>

#define HASH_SIZE SEAL_HASH_SIZE
#define HASHES_PER_BLOCK (VERITY_BLOCK_SIZE / HASH_SIZE)
#define DESCRIPTOR_SIZE 256
/* One round of 16 lanes takes as long as 8 blocks by OpenSSL with SHA extensions, however many
 * lanes are in use: 17 us (machine and rates: backend.c). */
#define MULTI_BUFFER_BLOCKS_MIN 8

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
	size_t whole = size / VERITY_BLOCK_SIZE, at = 0;

	if (whole >= MULTI_BUFFER_BLOCKS_MIN && out != data && crypto_tree_by_ipsec_mb()) {
		int r = ipsec_mb_sha256_blocks(data, VERITY_BLOCK_SIZE, whole, out);

		if (r < 0)
			return r;
		at = whole * VERITY_BLOCK_SIZE;
		out += whole * HASH_SIZE;
	}
	for (; at < size; at += VERITY_BLOCK_SIZE, out += HASH_SIZE) {
		int r = hash_block(d, data + at, MIN(size - at, (size_t)VERITY_BLOCK_SIZE), out);

		if (r < 0)
			return r;
	}
	return 0;
}

int verity_chunk_begin(struct verity_chunk *v, size_t size, uint64_t file_length)
{
	v->level0_size = 0;
	v->one_block = file_length <= VERITY_BLOCK_SIZE;
	v->left = size;
	if (size == 0 || size > SEAL_CHUNK_SIZE || size > file_length)
		return -EINVAL;
	return digest_new(DIGEST_SHA256, &v->digest);
}

int verity_chunk_add(struct verity_chunk *v, const uint8_t *plain, size_t size)
{
	size_t blocks = (size + VERITY_BLOCK_SIZE - 1) / VERITY_BLOCK_SIZE;
	int r;

	if (size > v->left || (size < v->left && size % VERITY_BLOCK_SIZE != 0))
		return -EINVAL;
	r = hash_blocks(v->digest, plain, size, v->level0 + v->level0_size);
	v->left -= size;
	v->level0_size += blocks * HASH_SIZE;
	return r;
}

int verity_chunk_end(struct verity_chunk *v, uint8_t out[HASH_SIZE])
{
	if (v->left > 0)
		return -EINVAL;
	if (!v->one_block)
		return hash_block(v->digest, v->level0, v->level0_size, out);
	memcpy(out, v->level0, HASH_SIZE);
	return 0;
}

void verity_chunk_done(struct verity_chunk *v)
{
	digest_free(v->digest);
	v->digest = NULL;
}

int verity_chunk_hash(const uint8_t *plain, size_t size, uint64_t file_length, uint8_t out[32])
{
	_cleanup_(verity_chunk_done) struct verity_chunk v = {0};
	int r = verity_chunk_begin(&v, size, file_length);

	if (r == 0)
		r = verity_chunk_add(&v, plain, size);
	return r == 0 ? verity_chunk_end(&v, out) : r;
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
