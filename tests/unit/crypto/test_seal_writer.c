/* crypto/seal_writer: what it refuses, and that it works from many threads. */
#include "crypto/seal_writer.h"
#include "crypto/verity.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct seal_builder *started(uint64_t length)
{
	_cleanup_secret_ struct secret *key = NULL;
	struct seal_builder *b = NULL;

	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &key), 0);
	assert_int_equal(seal_builder_new("m", &b, NULL), 0);
	assert_int_equal(seal_builder_start(b, length, key, NULL), 0);
	return b;
}

static struct seal_slot any_slot(void)
{
	struct seal_slot slot;

	assert_int_equal(slot_make_kms("arn:x", (const uint8_t *)"blob", 4, &slot, NULL), 0);
	return slot;
}

static void file_ids_are_fresh(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *a = NULL;
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;

	assert_int_equal(seal_builder_new("m", &a, NULL), 0);
	assert_int_equal(seal_builder_new("m", &b, NULL), 0);
	assert_memory_not_equal(seal_builder_file_id(a), seal_builder_file_id(b),
				SEAL_FILE_ID_SIZE);
	assert_null(seal_builder_keys(a));
	assert_int_equal(seal_builder_chunk_count(a), 0);
	seal_builder_free(NULL);
}

static void paths_that_no_reader_takes(void **state)
{
	static const char *const bad[] = {"",	      ".",    "..",	  "/",	    "a/",
					  "/a",	      "a//b", "a/./b",	  "a/../b", "a\nb",
					  "\xC2\x9B", "\xFF", "a\xC0\xAF"};
	struct seal_builder *b = NULL;
	char name[SEAL_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		assert_int_equal(seal_builder_new(bad[i], &b, &err), -EINVAL);
		assert_non_null(strstr(err.message, "cannot be a model's path"));
	}
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(seal_builder_new(name, &b, NULL), -EINVAL);
	assert_null(b);
	assert_int_equal(seal_builder_new(name + 1, &b, NULL), 0);
	seal_builder_free(b);
}

static void a_sealing_starts_once(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = started(10);
	_cleanup_secret_ struct secret *key = NULL;
	const struct seal_keys *keys = seal_builder_keys(b);
	struct error err = {0};

	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &key), 0);
	assert_int_equal(seal_builder_start(b, 10, key, &err), -EINVAL);
	assert_non_null(strstr(err.message, "cannot start twice"));
	assert_ptr_equal(seal_builder_keys(b), keys);
}

static void starts_that_are_refused(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_secret_ struct secret *shorter = NULL;
	_cleanup_secret_ struct secret *longer = NULL;

	assert_int_equal(secret_new_random(32, &key), 0);
	assert_int_equal(secret_new_random(31, &shorter), 0);
	assert_int_equal(secret_new_random(33, &longer), 0);
	assert_int_equal(seal_builder_new("m", &b, NULL), 0);
	assert_int_equal(seal_builder_start(b, 1, shorter, NULL), -EINVAL);
	assert_int_equal(seal_builder_start(b, 1, longer, NULL), -EINVAL);
	assert_int_equal(seal_builder_start(b, SEAL_LENGTH_MAX + 1, key, NULL), -EINVAL);
	assert_int_equal(seal_builder_start(b, UINT64_MAX, key, NULL), -EINVAL);
	assert_null(seal_builder_keys(b));
}

static int finish(struct seal_builder *b, const struct seal_slot *slots, unsigned count)
{
	struct seal_finish f = {.slots = slots, .slot_count = count};
	_cleanup_free_ uint8_t *object = NULL;
	struct error err = {0};
	size_t size = 0;
	int r = seal_builder_finish(b, &f, &object, &size, &err);

	assert_int_equal(r, err.code);
	assert_int_equal(r == 0, object != NULL);
	return r;
}

static void every_chunk_must_be_set(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b =
		started(3 * (uint64_t)SEAL_CHUNK_SIZE);
	uint8_t tag[SEAL_TAG_SIZE] = {1}, hash[SEAL_HASH_SIZE] = {2};
	struct seal_slot slot = any_slot();

	assert_int_equal(finish(b, &slot, 1), -EINVAL);
	seal_builder_set_chunk(b, 0, tag, hash);
	seal_builder_set_chunk(b, 2, tag, hash);
	seal_builder_set_chunk(b, 3, tag, hash);
	seal_builder_set_chunk(b, UINT64_MAX, tag, hash);
	assert_int_equal(finish(b, &slot, 1), -EINVAL);
	seal_builder_set_chunk(b, 1, tag, hash);
	assert_int_equal(finish(b, &slot, 1), 0);
}

static void finishing_before_the_start(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;
	uint8_t tag[SEAL_TAG_SIZE] = {0}, hash[SEAL_HASH_SIZE] = {0};
	struct seal_slot slot = any_slot();

	assert_int_equal(seal_builder_new("m", &b, NULL), 0);
	seal_builder_set_chunk(b, 0, tag, hash);
	assert_int_equal(finish(b, &slot, 1), -EINVAL);
}

static void slots_that_no_reader_takes(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = started(0);
	struct seal_slot slots[SEAL_SLOTS_MAX + 1];

	for (unsigned i = 0; i <= SEAL_SLOTS_MAX; i++)
		slots[i] = any_slot();
	assert_int_equal(finish(b, slots, 0), -EINVAL);
	assert_int_equal(finish(b, slots, SEAL_SLOTS_MAX + 1), -EINVAL);
	assert_int_equal(finish(b, slots, SEAL_SLOTS_MAX), 0);
	slots[3].type = 0;
	assert_int_equal(finish(b, slots, 4), -EINVAL);
	slots[3] = any_slot();
	slots[3].body_size--;
	assert_int_equal(finish(b, slots, 4), -EINVAL);
	slots[3].body_size = SEAL_SLOT_BODY_MAX + 1;
	assert_int_equal(finish(b, slots, 4), -EINVAL);
	slots[3] = (struct seal_slot){.type = 99, .body_size = 3, .body = "abc"};
	assert_int_equal(finish(b, slots, 4), 0);
	/* What lies behind a body in memory must not reach the object. */
	memset(slots[3].body, 0x55, sizeof(slots[3].body));
	assert_int_equal(finish(b, slots, 4), 0);
}

#define THREADS 4
#define CHUNKS 64

struct job {
	struct seal_builder *builder;
	unsigned first;
};

static void *set_every_fourth(void *arg)
{
	const struct job *j = arg;

	for (unsigned i = j->first; i < CHUNKS; i += THREADS) {
		uint8_t tag[SEAL_TAG_SIZE], hash[SEAL_HASH_SIZE];

		memset(tag, (int)i, sizeof(tag));
		memset(hash, (int)i, sizeof(hash));
		seal_builder_set_chunk(j->builder, i, tag, hash);
	}
	return NULL;
}

static void chunks_from_many_threads(void **state)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b =
		started(CHUNKS * (uint64_t)SEAL_CHUNK_SIZE);
	struct seal_slot slot = any_slot();
	struct seal_finish f = {.slots = &slot, .slot_count = 1};
	_cleanup_free_ uint8_t *object = NULL;
	_cleanup_seal_ struct seal *s = NULL;
	const uint8_t *tags;
	struct job jobs[THREADS];
	pthread_t threads[THREADS];
	size_t size = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){b, i};
		assert_int_equal(pthread_create(&threads[i], NULL, set_every_fourth, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(seal_builder_finish(b, &f, &object, &size, NULL), 0);
	assert_int_equal(seal_parse_head("m", object, size, size, &s, NULL), 0);
	tags = object + seal_tables_offset(s);
	for (unsigned i = 0; i < CHUNKS; i++) {
		assert_int_equal(tags[i * SEAL_TAG_SIZE + 15], i);
		assert_int_equal(tags[CHUNKS * SEAL_TAG_SIZE + i * SEAL_HASH_SIZE + 31], i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_ids_are_fresh),
		cmocka_unit_test(paths_that_no_reader_takes),
		cmocka_unit_test(a_sealing_starts_once),
		cmocka_unit_test(starts_that_are_refused),
		cmocka_unit_test(every_chunk_must_be_set),
		cmocka_unit_test(finishing_before_the_start),
		cmocka_unit_test(slots_that_no_reader_takes),
		cmocka_unit_test(chunks_from_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
