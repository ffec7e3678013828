/*
 * One chunk, from ciphertext to bytes that may be seen. Job: fetch, decrypt, check the tag and
 * what the measuring mode demands on top, fetch once more from the origin when that fails, and
 * then poison the file with a cause that a person can act on. Trusts only what was authenticated
 * when the file was opened: keys, tags, hashes, fingerprints. Must never leave unchecked plaintext
 * in a buffer that is reported as loaded.
 */
#include "fs/read/file.h"

#include "crypto/failure.h"
#include "crypto/verity.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int take_cipher(struct read_file *f, struct chunk_cipher **ret)
{
	struct chunk_cipher *c = NULL;

	pthread_mutex_lock(&f->lock);
	if (f->idle_cipher_count > 0)
		c = f->idle_ciphers[--f->idle_cipher_count];
	pthread_mutex_unlock(&f->lock);
	if (!c)
		return chunk_cipher_new(f->keys, f->chunk_count, ret);
	*ret = c;
	return 0;
}

static void put_cipher(struct read_file *f, struct chunk_cipher *c)
{
	pthread_mutex_lock(&f->lock);
	if (f->idle_cipher_count < IDLE_CIPHERS_MAX) {
		f->idle_ciphers[f->idle_cipher_count++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&f->lock);
	chunk_cipher_free(c);
}

static int check_fingerprint(const struct read_file *f, uint64_t index, const uint8_t *plain,
			     size_t size, enum seal_failure *ret)
{
	uint8_t print[FINGERPRINT_SIZE], *known = f->fingerprints + index * FINGERPRINT_SIZE;

	if (fingerprint_chunk(f->fingerprint_key, index, plain, size, print) < 0)
		return -EIO;
	if (!f->hashed) {
		memcpy(known, print, sizeof(print));
		return 0;
	}
	if (secret_equal(print, known, sizeof(print)))
		return 0;
	*ret = SEAL_BAD_CHUNK_HASH;
	return -EBADMSG;
}

/* How long the two steps of a verity chunk take cannot be seen while they are one pass: one chunk
 * in so many is taken in two, and tells for those that follow. */
#define SPLIT_EVERY 64

static bool is_split(struct read_file *f)
{
	return atomic_fetch_add_explicit(&f->verity_chunks, 1, memory_order_relaxed) %
		       SPLIT_EVERY ==
	       0;
}

static void share_time(struct read_file *f, uint64_t ns)
{
	uint64_t hash = ns * atomic_load_explicit(&f->hash_per_mille, memory_order_relaxed) / 1000;

	stats_add(f->stats, STAT_HASH_NS, hash);
	stats_add(f->stats, STAT_DECRYPT_NS, ns - hash);
}

static int verity_in_two(struct read_file *f, struct chunk_cipher *c, uint64_t index,
			 const uint8_t *cipher, uint8_t *plain, uint8_t hash[SEAL_HASH_SIZE])
{
	size_t size = seal_chunk_size(f->seal, index);
	uint64_t start = stats_now(), middle, end;
	int r = chunk_open(c, index, cipher, size, seal_tag(f->seal, index), plain);

	middle = stats_lap(f->stats, STAT_DECRYPT_NS, start);
	if (r < 0)
		return r;
	r = verity_chunk_hash(plain, size, f->length, hash);
	end = stats_lap(f->stats, STAT_HASH_NS, middle);
	atomic_store_explicit(&f->hash_per_mille,
			      (unsigned)((end - middle) * 1000 / MAX(end - start, UINT64_C(1))),
			      memory_order_relaxed);
	return r;
}

static int open_verity(struct read_file *f, struct chunk_cipher *c, uint64_t index,
		       const uint8_t *cipher, uint8_t *plain, enum seal_failure *ret)
{
	uint8_t hash[SEAL_HASH_SIZE];
	uint64_t since = stats_now();
	int r;

	if (is_split(f)) {
		r = verity_in_two(f, c, index, cipher, plain, hash);
	} else {
		r = chunk_open_verity(c, index, cipher, seal_chunk_size(f->seal, index),
				      seal_tag(f->seal, index), f->length, plain, hash);
		share_time(f, stats_now() - since);
	}
	if (r == 0 && memcmp(hash, seal_hash(f->seal, index), sizeof(hash)) != 0) {
		*ret = SEAL_BAD_CHUNK_HASH;
		r = -EBADMSG;
	}
	return r;
}

/* Decrypts, and asks of the plaintext what the measuring mode demands. The caller wipes what
 * fails. */
static int open_checked(struct read_file *f, struct chunk_cipher *c, uint64_t index,
			const uint8_t *cipher, uint8_t *plain, enum seal_failure *ret)
{
	size_t size = seal_chunk_size(f->seal, index);
	uint64_t since = stats_now();
	int r;

	if (f->check == CHUNK_CHECK_VERITY)
		return open_verity(f, c, index, cipher, plain, ret);
	r = chunk_open(c, index, cipher, size, seal_tag(f->seal, index), plain);
	since = stats_lap(f->stats, STAT_DECRYPT_NS, since);
	if (r == 0 && f->check == CHUNK_CHECK_FINGERPRINT) {
		r = check_fingerprint(f, index, plain, size, ret);
		stats_lap(f->stats, STAT_HASH_NS, since);
	}
	return r;
}

static int open_and_check(struct read_file *f, uint64_t index, const uint8_t *cipher,
			  uint8_t *plain, enum seal_failure *ret)
{
	struct chunk_cipher *c = NULL;
	int r = take_cipher(f, &c);

	if (r < 0)
		return r;
	*ret = SEAL_BAD_CHUNK;
	r = open_checked(f, c, index, cipher, plain, ret);
	put_cipher(f, c);
	if (r < 0)
		wipe(plain, seal_chunk_size(f->seal, index));
	return r;
}

static int try_chunk(struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
		     struct buffer *b, enum seal_failure *ret, struct error *err)
{
	size_t size = seal_chunk_size(f->seal, index);
	struct fetched in;
	uint64_t since = stats_now();
	int r = fetch_chunk(f->engine->fetch, f, index, whole_extent, fresh, b->data, &in, err);

	stats_lap(f->stats, STAT_FETCH_NS, since);
	if (r == -ENODATA)
		*ret = SEAL_BAD_PAYLOAD_SIZE;
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	b->filled = size;
	r = open_and_check(f, index, in.data, b->data, ret);
	fetched_done(f->engine->fetch, &in, size);
	if (r == 0)
		stats_add(f->stats, STAT_CHUNKS_DECRYPTED, 1);
	return r;
}

/* The one message of a poisoned file: object, chunk, offset, version, cause. */
static int describe_failure(const struct read_file *f, uint64_t index, int code,
			    enum seal_failure failure, struct error *err)
{
	static const char *const causes[SEAL_FAILURE_COUNT] = {
		[SEAL_BAD_PAYLOAD_SIZE] = "the object is shorter than its seal says",
		[SEAL_BAD_CHUNK] = "its tag does not verify",
		[SEAL_BAD_CHUNK_HASH] = "it is another one, made by someone who holds the data key",
	};
	uint64_t offset = index * SEAL_CHUNK_SIZE;
	const char *version = f->version ? f->version : "any";

	error_clear(err);
	if (code == -ESTALE) {
		error_hint(err,
			   "objects must not be overwritten while they are mounted; mount again");
		return error_set(err, code,
				 "\"%s\": changed on the server: chunk %" PRIu64
				 " at offset %" PRIu64 " is no longer of version %s",
				 f->label, index, offset, version);
	}
	error_hint(err, "put back a good copy of the object and mount again");
	return seal_fail(err, failure, f->label,
			 "tampered: chunk %" PRIu64 " at offset %" PRIu64 ", version %s: %s", index,
			 offset, version, causes[failure]);
}

int file_load_chunk(struct read_file *f, uint64_t index, bool whole_extent, struct buffer *b,
		    struct error *err)
{
	enum seal_failure failure = SEAL_BAD_CHUNK;
	int r = try_chunk(f, index, whole_extent, false, b, &failure, err);

	if (r < 0 && r != -ECANCELED && r != -ENOMEM) {
		error_clear(err);
		r = try_chunk(f, index, false, true, b, &failure, err);
	}
	if (r == -EBADMSG || r == -ESTALE) {
		r = describe_failure(f, index, r, failure, err);
		file_poison(f, err);
	} else if (r < 0) {
		error_set(err, r, "\"%s\": %s", f->label, strerror(-r));
		error_prefix(err, r, "chunk %" PRIu64 " at offset %" PRIu64, index,
			     index * SEAL_CHUNK_SIZE);
	}
	return r;
}

int file_load_ahead(struct read_file *f, uint64_t index, struct buffer *b)
{
	enum seal_failure failure;
	struct error err = {0};

	return try_chunk(f, index, false, false, b, &failure, &err) < 0 ? -ECANCELED : 0;
}
