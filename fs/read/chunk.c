/*
 * One chunk, from ciphertext to bytes that may be seen. Job: fetch, decrypt, check the tag and the
 * additional requirements of the measuring mode, fetch once more from the origin if that fails, and
 * then poison the file with a cause that a person can act on. If a payload is uploaded again, reads
 * continue in its new version: the tags identify its bytes, not the version.
 * Trusts only what was authenticated when the file was opened: keys, tags, hashes, fingerprints.
 * Must never leave unchecked plaintext in a buffer that is reported as loaded.
 */
#include "fs/read/read_internal.h"

#include "crypto/base/clock.h"
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
		return chunk_cipher_new(f->keys, f->payload.chunk_count, ret);
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

/* A single pass over a verity chunk cannot be timed by step: one chunk of this many is processed
 * in two passes, and its times are used for the following chunks. */
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

	stats_add(f->payload.stats, STAT_HASH_NS, hash);
	stats_add(f->payload.stats, STAT_DECRYPT_NS, ns - hash);
}

static int verity_in_two(struct read_file *f, struct chunk_cipher *c, uint64_t index,
			 const uint8_t *cipher, uint8_t *plain, uint8_t hash[SEAL_HASH_SIZE])
{
	size_t size = seal_chunk_size(f->seal, index);
	uint64_t start = stats_now(), middle, end;
	int r = chunk_open(c, index, cipher, size, seal_tag(f->seal, index), plain);

	middle = stats_lap(f->payload.stats, STAT_DECRYPT_NS, start);
	if (r < 0)
		return r;
	r = verity_chunk_hash(plain, size, f->payload.length, hash);
	end = stats_lap(f->payload.stats, STAT_HASH_NS, middle);
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
				      seal_tag(f->seal, index), f->payload.length, plain, hash);
		share_time(f, stats_now() - since);
	}
	if (r == 0 && memcmp(hash, seal_hash(f->seal, index), sizeof(hash)) != 0) {
		*ret = SEAL_BAD_CHUNK_HASH;
		r = -EBADMSG;
	}
	return r;
}

/* Decrypts, and checks the plaintext as the measuring mode requires. The caller wipes it on
 * failure. */
static int open_checked(struct read_file *f, struct chunk_cipher *c, uint64_t index,
			const uint8_t *cipher, uint8_t *plain, enum seal_failure *ret)
{
	size_t size = seal_chunk_size(f->seal, index);
	bool prints = f->check == CHUNK_CHECK_FINGERPRINT;
	uint64_t since = stats_now();
	int r;

	/* In the flat pass there is no fingerprint to compare with yet, and the digests come last.
	 * But its chunks go to the page cache one by one, where an older open file of the same
	 * inode shows them: so each of them is compared with the hash table. */
	if (f->check == CHUNK_CHECK_VERITY || (prints && !f->hashed)) {
		r = open_verity(f, c, index, cipher, plain, ret);
		since = stats_now();
	} else {
		r = chunk_open(c, index, cipher, size, seal_tag(f->seal, index), plain);
		since = stats_lap(f->payload.stats, STAT_DECRYPT_NS, since);
	}
	if (r == 0 && prints) {
		r = check_fingerprint(f, index, plain, size, ret);
		stats_lap(f->payload.stats, STAT_HASH_NS, since);
	}
	return r;
}

static int open_and_check(struct read_file *f, uint64_t index, const uint8_t *cipher,
			  uint8_t *plain, enum seal_failure *ret)
{
	struct chunk_cipher *c = NULL;
	/* A mistake of ours that must not look like tampering. */
	int r = seal_has_tables(f->seal) ? take_cipher(f, &c) : -EIO;

	if (r < 0)
		return r;
	*ret = SEAL_BAD_CHUNK;
	r = open_checked(f, c, index, cipher, plain, ret);
	put_cipher(f, c);
	if (r < 0)
		wipe(plain, seal_chunk_size(f->seal, index));
	return r;
}

/* -ESTALE: it was replaced, and the new object is not the payload either, or changed again. */
static int fetch_current(struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
			 struct buffer *b, struct fetched *ret, bool *ret_renewed,
			 struct error *err)
{
	int r = fetch_chunk(f->engine->fetch, &f->payload, index, whole_extent, fresh, b->data, ret,
			    err);

	if (r != -ESTALE)
		return r;
	error_clear(err);
	r = payload_renew(&f->payload, err);
	if (r < 0)
		return r;
	*ret_renewed = true;
	return fetch_chunk(f->engine->fetch, &f->payload, index, false, true, b->data, ret, err);
}

static int try_chunk(struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
		     struct buffer *b, enum seal_failure *ret, bool *ret_renewed, struct error *err)
{
	size_t size = seal_chunk_size(f->seal, index);
	struct fetched in;
	uint64_t since = stats_now();
	int r = fetch_current(f, index, whole_extent, fresh, b, &in, ret_renewed, err);

	stats_lap(f->payload.stats, STAT_FETCH_NS, since);
	if (r == -ENODATA)
		*ret = SEAL_BAD_PAYLOAD_SIZE;
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	b->filled = size;
	r = open_and_check(f, index, in.data, b->data, ret);
	fetched_done(f->engine->fetch, &in, size);
	if (r == 0)
		stats_add(f->payload.stats, STAT_CHUNKS_DECRYPTED, 1);
	return r;
}

/* The one message of a poisoned file: object, chunk, offset, version, cause. */
static int describe_failure(struct read_file *f, uint64_t index, enum seal_failure failure,
			    bool renewed, struct error *err)
{
	static const char *const causes[SEAL_FAILURE_COUNT] = {
		[SEAL_BAD_PAYLOAD_SIZE] = "the object is shorter than its seal says",
		[SEAL_BAD_CHUNK] = "its tag does not verify",
		[SEAL_BAD_CHUNK_HASH] = "it is another one, made by someone who holds the data key",
	};
	char version[SOURCE_VERSION_MAX];

	payload_version(&f->payload, version);
	error_clear(err);
	error_hint(err, "put back a good copy of the object and run sealedfs --reload");
	return seal_fail(err, failure, f->payload.label,
			 "%s: chunk %" PRIu64 " at offset %" PRIu64 ", version %s: %s",
			 renewed ? "changed on the server" : "tampered", index,
			 index * SEAL_CHUNK_SIZE, version[0] ? version : "any", causes[failure]);
}

static int describe_trouble(struct read_file *f, uint64_t index, int code, struct error *err)
{
	if (code == -ESTALE) {
		error_clear(err);
		error_hint(err, "put back the object that was sealed; reads then go on");
		return error_set(err, code,
				 "\"%s\": changed on the server: chunk %" PRIu64
				 " at offset %" PRIu64 " is not there in the size that was sealed",
				 f->payload.label, index, index * SEAL_CHUNK_SIZE);
	}
	error_set(err, code, "\"%s\": %s", f->payload.label, strerror(-code));
	return error_prefix(err, code, "chunk %" PRIu64 " at offset %" PRIu64, index,
			    index * SEAL_CHUNK_SIZE);
}

int file_load_chunk(struct read_file *f, uint64_t index, bool whole_extent, struct buffer *b,
		    struct error *err)
{
	enum seal_failure failure = SEAL_BAD_CHUNK;
	bool renewed = false;
	int r = try_chunk(f, index, whole_extent, false, b, &failure, &renewed, err);

	if (r < 0 && r != -ECANCELED && r != -ENOMEM && r != -ESTALE) {
		error_clear(err);
		r = try_chunk(f, index, false, true, b, &failure, &renewed, err);
	}
	if (r == -EBADMSG) {
		r = describe_failure(f, index, failure, renewed, err);
		file_poison(f, err);
	} else if (r < 0) {
		r = describe_trouble(f, index, r, err);
	}
	file_note_load(f, r, err);
	return r;
}

int read_file_load(struct read_file *f, uint64_t chunk, uint8_t *to, struct error *err)
{
	struct buffer b = {.data = to, .index = chunk};
	struct reader_note note;
	bool whole_extent;
	int r = read_file_poisoned(f, err);

	if (r < 0)
		return r;
	readers_note(f->engine->readers, &f->payload, chunk * SEAL_CHUNK_SIZE,
		     seal_chunk_size(f->seal, chunk), monotonic_ms(), false, &note);
	whole_extent = fetch_ahead(f->engine->fetch, &f->payload, &note);
	return file_load_chunk(f, chunk, whole_extent, &b, err);
}

uint64_t read_file_length(const struct read_file *f)
{
	return f->payload.length;
}

int file_load_ahead(struct read_file *f, uint64_t index, struct buffer *b)
{
	enum seal_failure failure;
	struct error err = {0};
	bool renewed = false;
	int r = -ECANCELED;

	if (!read_file_try_use(f))
		return r;
	if (try_chunk(f, index, false, false, b, &failure, &renewed, &err) == 0)
		r = 0;
	read_file_unuse(f);
	return r;
}
