/*
 * OpenSSL and libipsec-mb side by side: the same bytes from both, for every shape of text,
 * whichever made them and whichever opens them, from many threads at once. Where libipsec-mb cannot
 * be used there is nothing to compare, and the tests are skipped.
 */
#include "crypto/aead.h"
#include "crypto/backend.h"
#include "crypto/chunk.h"
#include "crypto/seal_writer.h"
#include "crypto/verity.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define CHUNK SEAL_CHUNK_SIZE
#define THREADS 4
#define ROUNDS 60

static const enum crypto_choice libraries[2] = {CRYPTO_OPENSSL, CRYPTO_IPSEC_MB};
static uint64_t seed;

/* One file's keys and a cipher of each library. */
struct both {
	struct seal_builder *builder;
	struct chunk_cipher *ciphers[2];
	uint64_t length;
};

static void choose(enum crypto_choice choice)
{
	assert_int_equal(crypto_backend_choose(choice, NULL), 0);
}

static void both_new(uint64_t length, struct both *ret)
{
	_cleanup_secret_ struct secret *key = NULL;

	*ret = (struct both){.length = length};
	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &key), 0);
	assert_int_equal(seal_builder_new("m", &ret->builder, NULL), 0);
	assert_int_equal(seal_builder_start(ret->builder, length, key, NULL), 0);
	for (int i = 0; i < 2; i++) {
		choose(libraries[i]);
		assert_int_equal(chunk_cipher_new(seal_builder_keys(ret->builder),
						  seal_builder_chunk_count(ret->builder),
						  &ret->ciphers[i]),
				 0);
	}
}

static void both_done(struct both *b)
{
	chunk_cipher_free(b->ciphers[0]);
	chunk_cipher_free(b->ciphers[1]);
	seal_builder_free(b->builder);
}

#define _cleanup_both_ __attribute__((cleanup(both_done)))

struct sealed {
	uint8_t *cipher;
	uint8_t tag[SEAL_TAG_SIZE], hash[SEAL_HASH_SIZE];
};

/* Seals with one library and its tree hash; a guard byte behind the text must stay. */
static void seal_with(const struct both *b, int library, uint64_t index, const uint8_t *plain,
		      size_t size, struct sealed *ret)
{
	uint8_t alone[SEAL_HASH_SIZE];

	choose(libraries[library]);
	ret->cipher = malloc(size + 1);
	assert_non_null(ret->cipher);
	ret->cipher[size] = 0xA5;
	assert_int_equal(chunk_seal_verity(b->ciphers[library], index, plain, size, b->length,
					   ret->cipher, ret->tag, ret->hash),
			 0);
	assert_int_equal(ret->cipher[size], 0xA5);
	assert_int_equal(verity_chunk_hash(plain, size, b->length, alone), 0);
	assert_memory_equal(alone, ret->hash, sizeof(alone));
}

static void open_with(const struct both *b, int library, uint64_t index, const struct sealed *s,
		      const uint8_t *plain, size_t size)
{
	_cleanup_free_ uint8_t *out = malloc(size + 1);
	uint8_t hash[SEAL_HASH_SIZE];

	choose(libraries[library]);
	assert_non_null(out);
	out[size] = 0x5A;
	assert_int_equal(chunk_open(b->ciphers[library], index, s->cipher, size, s->tag, out), 0);
	assert_memory_equal(out, plain, size);
	/* In place, and hashed on the way. */
	memcpy(out, s->cipher, size);
	assert_int_equal(chunk_open_verity(b->ciphers[library], index, out, size, s->tag, b->length,
					   out, hash),
			 0);
	assert_memory_equal(out, plain, size);
	assert_memory_equal(hash, s->hash, sizeof(hash));
	assert_int_equal(out[size], 0x5A);
}

static void compare_file(uint64_t length)
{
	_cleanup_both_ struct both b;
	_cleanup_free_ uint8_t *plain = malloc(CHUNK);

	assert_non_null(plain);
	both_new(length, &b);
	for (uint64_t i = 0; i * CHUNK < length; i++) {
		size_t size = (size_t)MIN(length - i * CHUNK, (uint64_t)CHUNK);
		struct sealed s[2];

		test_random_bytes(&seed, plain, size);
		seal_with(&b, 0, i, plain, size, &s[0]);
		seal_with(&b, 1, i, plain, size, &s[1]);
		assert_memory_equal(s[0].cipher, s[1].cipher, size);
		assert_memory_equal(s[0].tag, s[1].tag, SEAL_TAG_SIZE);
		assert_memory_equal(s[0].hash, s[1].hash, SEAL_HASH_SIZE);
		open_with(&b, 0, i, &s[1], plain, size);
		open_with(&b, 1, i, &s[0], plain, size);
		free(s[0].cipher);
		free(s[1].cipher);
	}
}

static void every_length_at_an_edge(void **state)
{
	static const uint64_t lengths[] = {
		1,	   15,		 16,	    17,		  63,	  64,	     65,
		4095,	   4096,	 4097,	    8191,	  8192,	  8193,	     28672,
		32767,	   32768,	 32769,	    36864,	  65535,  65536,     65537,
		69632,	   131071,	 131073,    520192,	  520193, CHUNK - 1, CHUNK,
		CHUNK + 1, CHUNK + 4096, 2 * CHUNK, 3 * CHUNK + 7};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		compare_file(lengths[i]);
}

static void random_lengths(void **state)
{
	for (int i = 0; i < 30; i++)
		compare_file(1 + test_random(&seed) % (3 * CHUNK / 2));
}

/* Any additional data, any text, both nothing as well. */
static void any_message(void **state)
{
	_cleanup_free_ uint8_t *aad = malloc(70000), *text = malloc(70000);
	_cleanup_free_ uint8_t *one = malloc(70000), *other = malloc(70000);
	uint8_t *const out[2] = {one, other};

	assert_true(aad && text && one && other);
	for (int round = 0; round < 200; round++) {
		size_t aad_size = round % 3 == 0 ? 0 : test_random(&seed) % 70000 >> round % 17;
		size_t size = round % 4 == 0 ? 0 : test_random(&seed) % 70000 >> round % 17;
		uint8_t key[AEAD_KEY_SIZE], nonce[AEAD_NONCE_SIZE], tags[2][AEAD_TAG_SIZE];
		struct aead_input in = {nonce, aad_size ? aad : NULL, aad_size, size ? text : NULL,
					size};

		test_random_bytes(&seed, key, sizeof(key));
		test_random_bytes(&seed, nonce, sizeof(nonce));
		test_random_bytes(&seed, aad, aad_size);
		test_random_bytes(&seed, text, size);
		for (int i = 0; i < 2; i++) {
			_cleanup_aead_ struct aead *a = NULL;

			choose(libraries[i]);
			assert_int_equal(aead_new(key, &a), 0);
			assert_int_equal(aead_seal(a, &in, size ? out[i] : NULL, tags[i]), 0);
		}
		assert_memory_equal(tags[0], tags[1], AEAD_TAG_SIZE);
		assert_memory_equal(out[0], out[1], size);
	}
}

/* Whatever is wrong, and wherever: refused, wiped to the last byte, no hash given out. */
static void a_forgery_leaves_nothing(void **state)
{
	static const size_t sizes[] = {1, 16, 4096, 65536, 65537, CHUNK - 5, CHUNK};
	_cleanup_free_ uint8_t *plain = malloc(CHUNK), *out = malloc(CHUNK);
	_cleanup_free_ uint8_t *zeros = calloc(1, CHUNK);
	uint8_t hash[SEAL_HASH_SIZE], untouched[SEAL_HASH_SIZE];

	assert_true(plain && out && zeros);
	memset(plain, 'p', CHUNK);
	memset(untouched, 'h', sizeof(untouched));
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		_cleanup_both_ struct both b;

		both_new(sizes[i], &b);
		for (int library = 0; library < 2; library++) {
			struct chunk_cipher *c = b.ciphers[library];
			size_t size = sizes[i], at = test_random(&seed) % size;
			struct sealed s;

			seal_with(&b, library, 0, plain, size, &s);
			for (int bit = 0; bit < 8 * SEAL_TAG_SIZE; bit += 1 + bit % 13) {
				s.tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
				memset(out, 'x', size);
				memcpy(hash, untouched, sizeof(hash));
				assert_int_equal(chunk_open_verity(c, 0, s.cipher, size, s.tag,
								   size, out, hash),
						 -EBADMSG);
				assert_memory_equal(out, zeros, size);
				assert_memory_equal(hash, untouched, sizeof(hash));
				s.tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			s.cipher[at] ^= 0x40;
			memcpy(out, s.cipher, size);
			assert_int_equal(chunk_open(c, 0, out, size, s.tag, out), -EBADMSG);
			assert_memory_equal(out, zeros, size);
			s.cipher[at] ^= 0x40;
			/* And the cipher is as good as before. */
			open_with(&b, library, 0, &s, plain, size);
			free(s.cipher);
		}
	}
}

static void wrong_shapes_are_refused(void **state)
{
	_cleanup_both_ struct both b;
	uint8_t buf[64] = {0}, tag[SEAL_TAG_SIZE], hash[SEAL_HASH_SIZE];

	both_new(CHUNK + 5, &b);
	for (int i = 0; i < 2; i++) {
		struct chunk_cipher *c = b.ciphers[i];

		assert_int_equal(chunk_seal_verity(c, 1, buf, 0, b.length, buf, tag, hash),
				 -EINVAL);
		assert_int_equal(chunk_seal_verity(c, 2, buf, 5, b.length, buf, tag, hash),
				 -EINVAL);
		assert_int_equal(chunk_seal_verity(c, 0, buf, 5, b.length, buf, tag, hash),
				 -EINVAL);
		assert_int_equal(chunk_open_verity(c, 1, buf, 0, tag, b.length, buf, hash),
				 -EINVAL);
		/* Longer than the whole file: nothing can be right about it. */
		assert_int_equal(chunk_open_verity(c, 1, buf, 5, tag, 4, buf, hash), -EINVAL);
	}
}

static void trees_of_many_chunks(void **state)
{
	static const uint64_t counts[] = {2, 127, 128, 129, 1023, 1024, 1025, 1100, 16384, 20000};
	_cleanup_free_ uint8_t *hashes = malloc(20000 * SEAL_HASH_SIZE);

	assert_non_null(hashes);
	test_random_bytes(&seed, hashes, 20000 * SEAL_HASH_SIZE);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		uint8_t digests[2][SEAL_HASH_SIZE];

		for (int library = 0; library < 2; library++) {
			choose(libraries[library]);
			assert_int_equal(verity_digest(hashes, counts[i], counts[i] * CHUNK,
						       digests[library]),
					 0);
		}
		assert_memory_equal(digests[0], digests[1], SEAL_HASH_SIZE);
	}
}

struct worker {
	struct both *both;
	const uint8_t *plain;
	const struct sealed *sealed; /* chunk 0 */
	struct chunk_cipher *cipher;
	bool good;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	_cleanup_free_ uint8_t *out = malloc(CHUNK);
	uint8_t hash[SEAL_HASH_SIZE];

	w->good = out != NULL;
	for (int i = 0; w->good && i < ROUNDS; i++) {
		memset(out, i, CHUNK);
		w->good = chunk_open_verity(w->cipher, 0, w->sealed->cipher, CHUNK, w->sealed->tag,
					    w->both->length, out, hash) == 0 &&
			  memcmp(out, w->plain, CHUNK) == 0 &&
			  memcmp(hash, w->sealed->hash, sizeof(hash)) == 0;
	}
	return NULL;
}

/* Each thread has a cipher of one library; which one hashes changes under all of them. */
static void both_at_once_from_many_threads(void **state)
{
	_cleanup_both_ struct both b, more;
	_cleanup_free_ uint8_t *plain = malloc(CHUNK);
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	struct sealed s;

	assert_non_null(plain);
	test_random_bytes(&seed, plain, CHUNK);
	both_new(2 * CHUNK, &b);
	/* Two more ciphers of the same file. */
	more = (struct both){0};
	for (int i = 0; i < 2; i++) {
		choose(libraries[i]);
		assert_int_equal(
			chunk_cipher_new(seal_builder_keys(b.builder), 2, &more.ciphers[i]), 0);
	}
	seal_with(&b, 0, 0, plain, CHUNK, &s);
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){&b, plain, &s,
					     i < 2 ? b.ciphers[i] : more.ciphers[i - 2], false};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < 50; i++)
		choose(libraries[i % 2]);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(workers[i].good);
	}
	free(s.cipher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_at_an_edge),
		cmocka_unit_test(random_lengths),
		cmocka_unit_test(any_message),
		cmocka_unit_test(a_forgery_leaves_nothing),
		cmocka_unit_test(wrong_shapes_are_refused),
		cmocka_unit_test(trees_of_many_chunks),
		cmocka_unit_test(both_at_once_from_many_threads),
	};
	struct error err = {0};

	if (crypto_backend_choose(CRYPTO_IPSEC_MB, &err) < 0) {
		fprintf(stderr, "[  SKIPPED ] %zu test(s): %s\n", ARRAY_LEN(tests), err.message);
		return 0;
	}
	seed = test_seed();
	return cmocka_run_group_tests_name("crypto/both", tests, NULL, NULL);
}
