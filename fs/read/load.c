/*
 * One chunk, from ciphertext to bytes that may be seen. Job: fetch, decrypt, check the tag and
 * what the measuring mode demands on top, fetch once more from the origin when that fails, and
 * then poison the file with a cause that a person can act on. Trusts only what was authenticated
 * when the file was opened: keys, tags, hashes, fingerprints. Must never leave unchecked plaintext
 * in a buffer that is reported as loaded.
 */
#include "fs/read/file.h"

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

static int check_verity(const struct read_file *f, uint64_t index, const uint8_t *plain,
			size_t size, const char **why)
{
	uint8_t hash[SEAL_HASH_SIZE];

	if (verity_chunk_hash(plain, size, f->length, hash) < 0)
		return -EIO;
	if (memcmp(hash, seal_hash(f->seal, index), sizeof(hash)) == 0)
		return 0;
	*why = "its tag is right but not its hash: whoever changed it holds the data key";
	return -EBADMSG;
}

static int check_fingerprint(const struct read_file *f, uint64_t index, const uint8_t *plain,
			     size_t size, const char **why)
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
	*why = "it is not the chunk that was measured: whoever changed it holds the data key";
	return -EBADMSG;
}

static int check_plain(const struct read_file *f, uint64_t index, const uint8_t *plain, size_t size,
		       const char **why)
{
	switch (f->check) {
	case CHUNK_CHECK_VERITY:
		return check_verity(f, index, plain, size, why);
	case CHUNK_CHECK_FINGERPRINT:
		return check_fingerprint(f, index, plain, size, why);
	case CHUNK_CHECK_TAG:
		return 0;
	}
	return -EINVAL;
}

static int open_and_check(struct read_file *f, uint64_t index, const uint8_t *cipher, uint8_t *plain,
			  const char **why)
{
	size_t size = seal_chunk_size(f->seal, index);
	struct chunk_cipher *c = NULL;
	int r = take_cipher(f, &c);

	if (r < 0)
		return r;
	*why = "its tag does not verify";
	r = chunk_open(c, index, cipher, size, seal_tag(f->seal, index), plain);
	put_cipher(f, c);
	if (r == 0) {
		r = check_plain(f, index, plain, size, why);
		if (r < 0)
			wipe(plain, size);
	}
	return r;
}

static int try_chunk(struct read_file *f, uint64_t index, bool whole_extent, bool fresh,
		     struct buffer *b, const char **why, struct error *err)
{
	size_t size = seal_chunk_size(f->seal, index);
	struct fetched in;
	int r = fetch_chunk(f->engine->fetch, f, index, whole_extent, fresh, b->data, &in, err);

	if (r == -ENODATA)
		*why = "the object is shorter than its seal says";
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	b->filled = size;
	r = open_and_check(f, index, in.data, b->data, why);
	fetched_done(f->engine->fetch, &in, size);
	return r;
}

/* The one message of a poisoned file. */
static int describe_failure(const struct read_file *f, uint64_t index, int code, const char *why,
			    struct error *err)
{
	uint64_t offset = index * SEAL_CHUNK_SIZE;

	error_clear(err);
	if (code == -ESTALE) {
		error_hint(err, "objects must not be overwritten while mounted; mount again");
		return error_set(err, code,
				 "%s: changed on the server: chunk %" PRIu64 " at offset %" PRIu64
				 " is no longer of version %s",
				 f->label, index, offset, f->version);
	}
	error_hint(err, "restore the object from a good copy and mount again");
	return error_set(err, code,
			 "%s: tampered: chunk %" PRIu64 " at offset %" PRIu64 ", version %s: %s",
			 f->label, index, offset, f->version, why);
}

int file_load_chunk(struct read_file *f, uint64_t index, bool whole_extent, struct buffer *b,
		    struct error *err)
{
	const char *why = NULL;
	int r = try_chunk(f, index, whole_extent, false, b, &why, err);

	if (r < 0 && r != -ECANCELED && r != -ENOMEM) {
		error_clear(err);
		r = try_chunk(f, index, false, true, b, &why, err);
	}
	if (r == -EBADMSG || r == -ESTALE) {
		r = describe_failure(f, index, r, why, err);
		file_poison(f, err);
	} else if (r < 0) {
		error_prefix(err, r, "%s: chunk %" PRIu64 " at offset %" PRIu64, f->label, index,
			     index * SEAL_CHUNK_SIZE);
	}
	return r;
}
