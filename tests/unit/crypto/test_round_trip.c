/*
 * Properties of writer and reader together: whatever is sealed opens again, at all corner lengths
 * and at random ones; and of a signed seal no bit can be flipped and no byte cut off unnoticed,
 * not even by someone whose reader already has the right data key.
 */
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/verity.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)

static struct secret *key_of(const struct seal *s, const struct keyfile *kek)
{
	struct secret *key = NULL;
	unsigned last = seal_slot_count(s) - 1;

	assert_int_equal(slot_open_keyfile(seal_slot(s, last), kek, seal_core(s)->file_id, &key),
			 0);
	return key;
}

static void open_all_chunks(const struct fixture *f, const struct seal *s,
			    const struct seal_keys *keys)
{
	_cleanup_(chunk_cipher_freep) struct chunk_cipher *c = NULL;
	_cleanup_free_ uint8_t *out = malloc(CHUNK);

	assert_non_null(out);
	assert_int_equal(chunk_cipher_new(keys, seal_core(s)->chunk_count, &c), 0);
	for (uint64_t i = 0; i < seal_core(s)->chunk_count; i++) {
		uint32_t size = seal_chunk_size(s, i);
		uint8_t hash[SEAL_HASH_SIZE];

		assert_int_equal(
			chunk_open(c, i, f->payload + i * CHUNK, size, seal_tag(s, i), out), 0);
		assert_memory_equal(out, f->plain + i * CHUNK, size);
		assert_int_equal(verity_chunk_hash(out, size, f->length, hash), 0);
		assert_memory_equal(hash, seal_hash(s, i), sizeof(hash));
	}
}

static void seal_and_open(const struct fixture_options *options)
{
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_(owner_keys_freep) struct owner_keys *owner = fixture_owner();
	_cleanup_seal_ struct seal *s = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	struct error err = {0};
	int r;

	fixture_make(options, &f);
	assert_int_equal(f.seal_size, seal_object_size(f.length, MAX(options->slots, 1U)));
	r = seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, &err);
	if (r < 0)
		fail_msg("length %llu: %s", (unsigned long long)f.length, err.message);
	assert_int_equal(seal_core(s)->length, f.length);
	assert_string_equal(seal_core(s)->path, options->path ? options->path : "model.gguf");
	assert_string_equal(seal_core(s)->facts, options->facts ? options->facts->text : "");
	assert_int_equal(seal_core(s)->sealed_at, options->sealed_at);
	assert_int_equal(seal_is_signed(s), options->sign);
	assert_int_equal(seal_check_owner(s, owner, NULL), options->sign ? 0 : -EBADMSG);
	key = key_of(s, f.kek);
	assert_true(seal_key_fits(s, key));
	assert_int_equal(fixture_unlock(s, f.seal, key, &keys, &err), 0);
	open_all_chunks(&f, s, keys);
}

static void corner_lengths(void **state)
{
	static const uint64_t lengths[] = {0,	      1,     4095,	4096,	   4097,
					   CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		seal_and_open(&(struct fixture_options){.length = lengths[i], .sign = i % 2});
}

static void random_lengths_and_recipients(void **state)
{
	uint64_t random = test_seed();

	for (int round = 0; round < 25; round++) {
		struct fixture_options o = {
			.length = test_random(&random) % (4 * CHUNK),
			.slots = 1 + (unsigned)(test_random(&random) % SEAL_SLOTS_MAX),
			.sign = test_random(&random) % 2,
		};

		seal_and_open(&o);
	}
}

static void paths_facts_and_times_survive(void **state)
{
	char longest[SEAL_PATH_MAX + 1];
	struct facts facts = {0};

	memset(longest, 'x', SEAL_PATH_MAX);
	for (size_t i = 200; i < SEAL_PATH_MAX; i += 201)
		longest[i] = '/';
	longest[SEAL_PATH_MAX] = '\0';
	assert_int_equal(facts_add(&facts, FACT_GGUF_NAME, "mod\xC3\xA8le"), 0);
	assert_int_equal(facts_add(&facts, FACT_KIND, FACT_KIND_GGUF), 0);
	seal_and_open(&(struct fixture_options){.length = 3, .path = longest});
	seal_and_open(&(struct fixture_options){.length = 3, .path = "a/\xE2\x82\xAC ab"});
	seal_and_open(&(struct fixture_options){
		.length = 3, .facts = &facts, .sealed_at = SEAL_TIME_MAX});
}

/* All checks of the reader that come before the payload; 0 when none refused. */
static int read_seal(const uint8_t *bytes, size_t size, const struct owner_keys *owner,
		     const struct secret *key, struct error *err)
{
	_cleanup_seal_ struct seal *s = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	int r = seal_parse_head("m", bytes, size, size, &s, err);

	if (r == 0)
		r = seal_check_owner(s, owner, err);
	if (r == 0)
		r = fixture_unlock(s, bytes, key, &keys, err);
	assert_true(r == 0 || !keys);
	return r;
}

static void no_bit_can_be_flipped(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_(owner_keys_freep) struct owner_keys *owner = fixture_owner();
	unsigned classes[SEAL_FAILURE_COUNT] = {0};

	fixture_make(&(struct fixture_options){.length = CHUNK + 1, .slots = 2, .sign = true}, &f);
	assert_int_equal(read_seal(f.seal, f.seal_size, owner, f.data_key, NULL), 0);
	for (size_t bit = 0; bit < f.seal_size * 8; bit++) {
		struct error err = {0};
		int r;

		f.seal[bit / 8] ^= (uint8_t)(1U << bit % 8);
		r = read_seal(f.seal, f.seal_size, owner, f.data_key, &err);
		f.seal[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (r != -EPROTO && r != -EBADMSG)
			fail_msg("bit %zu of byte 0x%zx: %d", bit % 8, bit / 8, r);
		classes[seal_failure_of(&err)]++;
	}
	/* Each kind of check has caught something, and nothing was refused without a class. */
	assert_int_equal(classes[SEAL_FAILURE_NONE], 0);
	assert_true(classes[SEAL_MALFORMED] > 0 && classes[SEAL_UNSUPPORTED] > 0);
	assert_true(classes[SEAL_UNKNOWN_SIGNER] == 256 && classes[SEAL_BAD_SIGNATURE] > 512);
	assert_true(classes[SEAL_BAD_SLOTS] > 256 && classes[SEAL_BAD_TABLES] == 2 * 48 * 8);
}

/* Without a pinned owner, the data key's holder still notices all but the signature itself. */
static void no_bit_but_the_signature_without_an_owner(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};

	fixture_make(&(struct fixture_options){.length = 1, .sign = true}, &f);
	for (size_t bit = 0; bit < f.seal_size * 8; bit++) {
		bool signature = bit >= 0x802 * 8 && bit < 0x862 * 8;
		int r;

		f.seal[bit / 8] ^= (uint8_t)(1U << bit % 8);
		r = read_seal(f.seal, f.seal_size, NULL, f.data_key, NULL);
		f.seal[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if ((r == 0) != signature)
			fail_msg("bit %zu of byte 0x%zx: %d", bit % 8, bit / 8, r);
	}
}

static void nothing_can_be_cut_off_or_added(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_free_ uint8_t *longer = NULL;

	fixture_make(&(struct fixture_options){.length = CHUNK + 1, .slots = 4, .sign = true}, &f);
	for (size_t size = 0; size < f.seal_size; size++) {
		_cleanup_free_ uint8_t *copy = malloc(size + (size == 0));
		struct seal *s = NULL;

		assert_non_null(copy);
		memcpy(copy, f.seal, size);
		assert_int_equal(seal_parse_head("m", copy, size, size, &s, NULL), -EPROTO);
		assert_null(s);
	}
	longer = calloc(1, f.seal_size + 8192);
	assert_non_null(longer);
	memcpy(longer, f.seal, f.seal_size);
	for (size_t more = 1; more <= 8192; more++) {
		struct seal *s = NULL;

		assert_int_equal(seal_parse_head("m", longer, f.seal_size + more,
						 f.seal_size + more, &s, NULL),
				 -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(corner_lengths),
		cmocka_unit_test(random_lengths_and_recipients),
		cmocka_unit_test(paths_facts_and_times_survive),
		cmocka_unit_test(no_bit_can_be_flipped),
		cmocka_unit_test(no_bit_but_the_signature_without_an_owner),
		cmocka_unit_test(nothing_can_be_cut_off_or_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
