/*
 * Chunks of a payload. Job: nonce and additional data by crypto/FORMAT.md section 5, and the bulk
 * cipher; keyed fingerprints of plaintext. Trusts the keys, which seal_unlock() or a seal_builder
 * gave. Must never leave plaintext whose tag failed.
 */
#include "crypto/chunk.h"

#include "crypto/aead.h"
#include "crypto/base/cursor.h"
#include "crypto/kdf.h"
#include "crypto/seal_internal.h"
#include "crypto/verity.h"

#include <errno.h>
#include <string.h>

#define AAD_SIZE 9

struct chunk_cipher {
	struct aead *aead;
	const struct seal_keys *keys;
	uint64_t chunk_count;
};

struct fingerprint_key {
	struct secret *key;
	struct aead *shared; /* NULL: each call needs an aead of its own */
};

int chunk_cipher_new(const struct seal_keys *keys, uint64_t chunk_count, struct chunk_cipher **ret)
{
	_cleanup_(chunk_cipher_freep) struct chunk_cipher *c = NULL;
	int r;

	if (chunk_count != keys->chunk_count)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->keys = keys;
	c->chunk_count = chunk_count;
	r = aead_new(secret_data(keys->derived) + KDF_PAYLOAD_KEY_AT, &c->aead);
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

void chunk_cipher_free(struct chunk_cipher *c)
{
	if (!c)
		return;
	aead_free(c->aead);
	free(c);
}

/* Only the last chunk may be short, none is empty. */
static bool shape_ok(const struct chunk_cipher *c, uint64_t chunk_index, size_t size)
{
	return chunk_index < c->chunk_count && size > 0 && size <= SEAL_CHUNK_SIZE &&
	       (size == SEAL_CHUNK_SIZE || chunk_index == c->chunk_count - 1);
}

static void make_nonce(const struct chunk_cipher *c, uint64_t chunk_index,
		       uint8_t nonce[AEAD_NONCE_SIZE])
{
	const uint8_t *base = secret_data(c->keys->derived) + KDF_BASE_NONCE_AT;

	memset(nonce, 0, AEAD_NONCE_SIZE);
	put_be64(nonce + 4, chunk_index);
	for (size_t i = 0; i < AEAD_NONCE_SIZE; i++)
		nonce[i] ^= base[i];
}

static void make_aad(const struct chunk_cipher *c, uint64_t chunk_index, uint8_t aad[AAD_SIZE])
{
	put_le64(aad, chunk_index);
	aad[8] = chunk_index == c->chunk_count - 1;
}

/* What every use of the cipher has in common. */
struct job {
	uint8_t nonce[AEAD_NONCE_SIZE], aad[AAD_SIZE];
	struct aead_input in;
};

static int prepare(const struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *text,
		   size_t size, struct job *ret)
{
	if (!shape_ok(c, chunk_index, size))
		return -EINVAL;
	make_nonce(c, chunk_index, ret->nonce);
	make_aad(c, chunk_index, ret->aad);
	ret->in = (struct aead_input){ret->nonce, ret->aad, AAD_SIZE, text, size};
	return 0;
}

int chunk_open(struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *cipher, size_t size,
	       const uint8_t tag[SEAL_TAG_SIZE], uint8_t *plain)
{
	struct job w;
	int r = prepare(c, chunk_index, cipher, size, &w);

	return r == 0 ? aead_open(c->aead, &w.in, tag, plain) : r;
}

static int hash_piece(void *ctx, const uint8_t *plain, size_t size)
{
	return verity_chunk_add(ctx, plain, size);
}

/* prepare(), and the cipher shows each piece of plaintext to v. */
static int prepare_hashed(const struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *text,
			  size_t size, uint64_t file_length, struct verity_chunk *v,
			  struct job *ret)
{
	int r = prepare(c, chunk_index, text, size, ret);

	if (r < 0)
		return r;
	ret->in.watch = hash_piece;
	ret->in.watch_ctx = v;
	return verity_chunk_begin(v, size, file_length);
}

int chunk_open_verity(struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *cipher,
		      size_t size, const uint8_t tag[SEAL_TAG_SIZE], uint64_t file_length,
		      uint8_t *plain, uint8_t hash[SEAL_HASH_SIZE])
{
	_cleanup_(verity_chunk_done) struct verity_chunk v = {0};
	struct job w;
	int r = prepare_hashed(c, chunk_index, cipher, size, file_length, &v, &w);

	if (r == 0)
		r = aead_open(c->aead, &w.in, tag, plain);
	if (r < 0)
		return r;
	r = verity_chunk_end(&v, hash);
	if (r < 0)
		wipe(plain, size);
	return r;
}

int chunk_seal_verity(struct chunk_cipher *c, uint64_t chunk_index, const uint8_t *plain,
		      size_t size, uint64_t file_length, uint8_t *cipher,
		      uint8_t tag[SEAL_TAG_SIZE], uint8_t hash[SEAL_HASH_SIZE])
{
	_cleanup_(verity_chunk_done) struct verity_chunk v = {0};
	struct job w;
	int r = prepare_hashed(c, chunk_index, plain, size, file_length, &v, &w);

	if (r == 0)
		r = aead_seal(c->aead, &w.in, cipher, tag);
	return r == 0 ? verity_chunk_end(&v, hash) : r;
}

int fingerprint_key_new(struct fingerprint_key **ret)
{
	_cleanup_(fingerprint_key_freep) struct fingerprint_key *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	r = secret_new_random(AEAD_KEY_SIZE, &k->key);
	if (r == 0)
		r = aead_new(secret_data(k->key), &k->shared);
	if (r < 0)
		return r;
	if (!aead_is_shareable(k->shared)) {
		aead_free(k->shared);
		k->shared = NULL;
	}
	*ret = steal_ptr(k);
	return 0;
}

void fingerprint_key_free(struct fingerprint_key *k)
{
	if (!k)
		return;
	aead_free(k->shared);
	secret_free(k->key);
	free(k);
}

/*
 * GMAC with the chunk's index as nonce. Reading a chunk again repeats its nonce. That is safe here
 * because fingerprints never leave this process: what remains is a universal hash under an unknown
 * key.
 */
int fingerprint_chunk(const struct fingerprint_key *k, uint64_t chunk_index, const uint8_t *plain,
		      size_t size, uint8_t out[FINGERPRINT_SIZE])
{
	uint8_t nonce[AEAD_NONCE_SIZE] = {0};
	struct aead_input in = {.nonce = nonce, .aad = plain, .aad_size = size};
	_cleanup_aead_ struct aead *own = NULL;
	int r = k->shared ? 0 : aead_new(secret_data(k->key), &own);

	if (r < 0)
		return r;
	put_be64(nonce + 4, chunk_index);
	return aead_seal(k->shared ? k->shared : own, &in, NULL, out);
}
