/* A sealed model for tests: see fixture.h. The keys under tests/vectors are public. */
#include "tests/unit/crypto/fixture.h"

#include "crypto/base/digest.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/test.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define TEST_ARN "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

uint64_t test_seed(void)
{
	const char *given = getenv("SEALEDFS_TEST_SEED");
	struct timespec t;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &t);
	seed = given ? strtoull(given, NULL, 0)
		     : (uint64_t)t.tv_nsec * 1000003 ^ (uint64_t)t.tv_sec;
	if (seed == 0)
		seed = 1;
	printf("SEALEDFS_TEST_SEED=%" PRIu64 "\n", seed);
	return seed;
}

uint64_t test_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

void test_random_bytes(uint64_t *state, uint8_t *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(test_random(state) >> 32);
}

struct keyfile *fixture_keyfile(void)
{
	char *dir = temp_dir_new();
	_cleanup_free_ char *path = path_join(dir, "kek");
	struct keyfile *k = NULL;

	assert_int_equal(keyfile_generate(path, NULL), 0);
	assert_int_equal(keyfile_load(path, &k, NULL), 0);
	temp_dir_done(dir);
	return k;
}

struct signing_key *fixture_signer(void)
{
	char *dir = temp_dir_new();
	_cleanup_free_ char *path = vector_copy("keys/owner.pem", dir);
	struct signing_key *k = NULL;

	assert_int_equal(signing_key_load(path, &k, NULL), 0);
	temp_dir_done(dir);
	return k;
}

struct owner_keys *fixture_owner(void)
{
	char *dir = temp_dir_new();
	_cleanup_free_ char *path = vector_copy("keys/owner.pub.pem", dir);
	struct owner_keys *set = NULL;

	assert_int_equal(owner_keys_new(&set), 0);
	assert_int_equal(owner_keys_add_file(set, path, NULL), 0);
	temp_dir_done(dir);
	return set;
}

static void seal_chunks(struct seal_builder *b, struct fixture *f)
{
	_cleanup_(chunk_cipher_freep) struct chunk_cipher *c = NULL;
	uint64_t count = seal_builder_chunk_count(b);
	uint8_t tag[SEAL_TAG_SIZE], hash[SEAL_HASH_SIZE];

	assert_int_equal(chunk_cipher_new(seal_builder_keys(b), count, &c), 0);
	/* Backwards, because any order must do. */
	for (uint64_t i = count; i-- > 0;) {
		uint64_t at = i * SEAL_CHUNK_SIZE;
		size_t size = (size_t)MIN(f->length - at, (uint64_t)SEAL_CHUNK_SIZE);

		assert_int_equal(chunk_seal_verity(c, i, f->plain + at, size, f->length,
						   f->payload + at, tag, hash),
				 0);
		seal_builder_set_chunk(b, i, tag, hash);
	}
}

void fixture_make(const struct fixture_options *options, struct fixture *ret)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;
	_cleanup_(signing_key_freep) struct signing_key *signer =
		options->sign ? fixture_signer() : NULL;
	struct seal_slot slots[SEAL_SLOTS_MAX];
	struct seal_finish finish = {.slots = slots,
				     .signer = signer,
				     .facts = options->facts,
				     .sealed_at = options->sealed_at};
	struct fixture f = {.length = options->length};
	uint8_t blob[SLOT_KMS_BLOB_MAX] = {1};
	uint64_t state = options->length + 1;

	f.plain = malloc(f.length + 1);
	f.payload = malloc(f.length + 1);
	assert_true(f.plain && f.payload);
	test_random_bytes(&state, f.plain, f.length);
	f.kek = fixture_keyfile();
	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &f.data_key), 0);
	assert_int_equal(seal_builder_new(options->path ? options->path : "model.gguf", &b, NULL),
			 0);
	assert_int_equal(seal_builder_start(b, f.length, f.data_key, NULL), 0);
	seal_chunks(b, &f);
	finish.slot_count = MAX(options->slots, 1U);
	for (unsigned i = 0; i < finish.slot_count; i++)
		assert_int_equal(slot_make_kms(TEST_ARN, blob, 1 + i, &slots[i], NULL), 0);
	assert_int_equal(slot_make_keyfile(f.kek, seal_builder_file_id(b), f.data_key,
					   &slots[finish.slot_count - 1]),
			 0);
	assert_int_equal(digest_buffer(DIGEST_SHA256, f.plain, f.length, finish.sha256), 0);
	assert_int_equal(digest_buffer(DIGEST_SHA384, f.plain, f.length, finish.sha384), 0);
	assert_int_equal(seal_builder_finish(b, &finish, &f.seal, &f.seal_size, NULL), 0);
	*ret = f;
}

int fixture_unlock(struct seal *s, const uint8_t *bytes, const struct secret *data_key,
		   struct seal_keys **ret, struct error *err)
{
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	size_t size = (size_t)seal_tables_size(s);
	uint8_t *tables;
	int r = seal_unlock(s, data_key, &keys, err);

	if (r < 0)
		return r;
	tables = malloc(size + 1);
	assert_non_null(tables);
	memcpy(tables, bytes + seal_tables_offset(s), size);
	r = seal_load_tables(s, keys, tables, err);
	if (r == 0)
		*ret = steal_ptr(keys);
	return r;
}

void fixture_done(struct fixture *f)
{
	free(f->plain);
	free(f->payload);
	free(f->seal);
	secret_free(f->data_key);
	keyfile_free(f->kek);
	*f = (struct fixture){0};
}
