/* crypto/chunk: binding to place and end, shapes, wiping; fingerprints from many threads. */
#include "crypto/chunk.h"
#include "crypto/seal_writer.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define CHUNK SEAL_CHUNK_SIZE

struct pair {
	struct seal_builder *builder;
	struct chunk_cipher *cipher;
	uint64_t length;
};

static struct pair pair_new(uint64_t length)
{
	struct pair p = {.length = length};
	_cleanup_secret_ struct secret *key = NULL;

	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &key), 0);
	assert_int_equal(seal_builder_new("m", &p.builder, NULL), 0);
	assert_int_equal(seal_builder_start(p.builder, length, key, NULL), 0);
	assert_int_equal(chunk_cipher_new(seal_builder_keys(p.builder),
					  seal_builder_chunk_count(p.builder), &p.cipher),
			 0);
	return p;
}

static void pair_done(struct pair *p)
{
	chunk_cipher_free(p->cipher);
	seal_builder_free(p->builder);
}

#define _cleanup_pair_ __attribute__((cleanup(pair_done)))

static int seal(struct pair *p, uint64_t index, const uint8_t *plain, size_t size, uint8_t *cipher,
		uint8_t tag[SEAL_TAG_SIZE])
{
	uint8_t hash[SEAL_HASH_SIZE];

	return chunk_seal_verity(p->cipher, index, plain, size, p->length, cipher, tag, hash);
}

static void a_chunk_opens_only_in_its_place(void **state)
{
	_cleanup_pair_ struct pair p = pair_new(4 * (uint64_t)CHUNK);
	_cleanup_free_ uint8_t *plain = malloc(CHUNK), *sealed = malloc(CHUNK);
	_cleanup_free_ uint8_t *out = malloc(CHUNK), *zeros = calloc(1, CHUNK);
	uint8_t tag[SEAL_TAG_SIZE];

	assert_true(plain && sealed && out && zeros);
	memset(plain, 'p', CHUNK);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(seal(&p, i, plain, CHUNK, sealed, tag), 0);
		assert_memory_not_equal(sealed, plain, CHUNK);
		for (uint64_t j = 0; j < 4; j++) {
			int r = chunk_open(p.cipher, j, sealed, CHUNK, tag, out);

			assert_int_equal(r, i == j ? 0 : -EBADMSG);
			assert_memory_equal(out, i == j ? plain : zeros, CHUNK);
		}
	}
}

/* Keys are derived for one count; a cipher of another would misjudge which chunk is the last. */
static void the_count_must_be_the_seals(void **state)
{
	_cleanup_pair_ struct pair p = pair_new(3 * (uint64_t)CHUNK);
	struct chunk_cipher *c = NULL;

	assert_int_equal(chunk_cipher_new(seal_builder_keys(p.builder), 2, &c), -EINVAL);
	assert_int_equal(chunk_cipher_new(seal_builder_keys(p.builder), 4, &c), -EINVAL);
	assert_null(c);
}

static void shapes_that_no_chunk_has(void **state)
{
	_cleanup_pair_ struct pair p = pair_new(2 * (uint64_t)CHUNK + 5);
	_cleanup_pair_ struct pair none = pair_new(0);
	_cleanup_free_ uint8_t *buf = calloc(1, CHUNK + 1);
	static const struct {
		uint64_t index;
		size_t size;
	} bad[] = {{0, 0}, {0, 1},     {0, CHUNK - 1},	    {0, CHUNK + 1}, {1, 5},
		   {2, 0}, {3, CHUNK}, {UINT64_MAX, CHUNK}, {2, CHUNK + 1}, {3, 5}};
	uint8_t tag[SEAL_TAG_SIZE] = {0};

	assert_non_null(buf);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(seal(&p, bad[i].index, buf, bad[i].size, buf, tag), -EINVAL);
		assert_int_equal(chunk_open(p.cipher, bad[i].index, buf, bad[i].size, tag, buf),
				 -EINVAL);
	}
	assert_int_equal(chunk_open(none.cipher, 0, buf, 1, tag, buf), -EINVAL);
	assert_int_equal(seal(&p, 2, buf, 5, buf, tag), 0);
	assert_int_equal(chunk_open(p.cipher, 2, buf, 5, tag, buf), 0);
	assert_int_equal(seal(&p, 2, buf, 5, buf, tag), 0);
	assert_int_equal(chunk_open(p.cipher, 2, buf, 4, tag, buf), -EBADMSG);
}

static void a_failed_chunk_is_wiped_and_the_cipher_still_works(void **state)
{
	_cleanup_pair_ struct pair p = pair_new(100);
	uint8_t plain[100], sealed[100], out[100], zeros[100] = {0}, tag[SEAL_TAG_SIZE];

	memset(plain, 'q', sizeof(plain));
	assert_int_equal(seal(&p, 0, plain, 100, sealed, tag), 0);
	for (size_t bit = 0; bit < 800; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
		memset(out, 0xEE, sizeof(out));
		assert_int_equal(chunk_open(p.cipher, 0, sealed, 100, tag, out), -EBADMSG);
		assert_memory_equal(out, zeros, 100);
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(chunk_open(p.cipher, 0, sealed, 100, tag, out), 0);
	assert_memory_equal(out, plain, 100);
	assert_int_equal(chunk_open(p.cipher, 0, sealed, 100, tag, sealed), 0);
	assert_memory_equal(sealed, plain, 100);
}

static void fingerprints_tell_chunks_apart(void **state)
{
	_cleanup_(fingerprint_key_freep) struct fingerprint_key *a = NULL;
	_cleanup_(fingerprint_key_freep) struct fingerprint_key *b = NULL;
	uint8_t data[4097] = {1}, first[FINGERPRINT_SIZE], out[FINGERPRINT_SIZE];

	assert_int_equal(fingerprint_key_new(&a), 0);
	assert_int_equal(fingerprint_key_new(&b), 0);
	assert_int_equal(fingerprint_chunk(a, 3, data, sizeof(data), first), 0);
	assert_int_equal(fingerprint_chunk(a, 3, data, sizeof(data), out), 0);
	assert_memory_equal(first, out, sizeof(out));
	assert_int_equal(fingerprint_chunk(b, 3, data, sizeof(data), out), 0);
	assert_memory_not_equal(first, out, sizeof(out));
	assert_int_equal(fingerprint_chunk(a, 4, data, sizeof(data), out), 0);
	assert_memory_not_equal(first, out, sizeof(out));
	assert_int_equal(fingerprint_chunk(a, 3, data, sizeof(data) - 1, out), 0);
	assert_memory_not_equal(first, out, sizeof(out));
	for (size_t bit = 0; bit < sizeof(data) * 8; bit += 61) {
		data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(fingerprint_chunk(a, 3, data, sizeof(data), out), 0);
		assert_memory_not_equal(first, out, sizeof(out));
		data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
}

struct job {
	const struct fingerprint_key *key;
	const uint8_t *data;
	uint8_t out[64][FINGERPRINT_SIZE];
	int failed;
};

static void *fingerprint_many(void *arg)
{
	struct job *j = arg;

	for (uint64_t i = 0; i < ARRAY_LEN(j->out); i++)
		j->failed |= fingerprint_chunk(j->key, i, j->data, 65536, j->out[i]);
	return NULL;
}

static void fingerprints_from_many_threads(void **state)
{
	_cleanup_(fingerprint_key_freep) struct fingerprint_key *k = NULL;
	_cleanup_free_ uint8_t *data = calloc(1, 65536);
	struct job jobs[4] = {0};
	pthread_t threads[4];

	assert_non_null(data);
	assert_int_equal(fingerprint_key_new(&k), 0);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		jobs[i].key = k;
		jobs[i].data = data;
		assert_int_equal(pthread_create(&threads[i], NULL, fingerprint_many, &jobs[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(jobs[i].failed, 0);
		assert_memory_equal(jobs[i].out, jobs[0].out, sizeof(jobs[0].out));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chunk_opens_only_in_its_place),
		cmocka_unit_test(the_count_must_be_the_seals),
		cmocka_unit_test(shapes_that_no_chunk_has),
		cmocka_unit_test(a_failed_chunk_is_wiped_and_the_cipher_still_works),
		cmocka_unit_test(fingerprints_tell_chunks_apart),
		cmocka_unit_test(fingerprints_from_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
