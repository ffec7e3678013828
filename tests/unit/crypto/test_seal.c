/*
 * crypto/seal, crypto/seal_names: hostile lengths without allocation, heads without tables,
 * accessors, names. (test_vectors.c has the classes; test_round_trip.c breaks every bit.)
 */
#include "crypto/base/cursor.h"
#include "crypto/failure.h"
#include "crypto/seal.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define LENGTH_AT 0x30
#define COUNT_AT 0x38
#define TIME_AT 0xF0
#define PATH_LENGTH_AT 0xF8
#define FACTS_LENGTH_AT 0xFA
#define SLOT_COUNT_AT 0x880

/* The linker sends the library's allocations through these (see meson.build). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static size_t largest_allocation;

static size_t noted(size_t size)
{
	largest_allocation = MAX(largest_allocation, size);
	return size;
}

void *__wrap_malloc(size_t size)
{
	return __real_malloc(noted(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	(void)noted(count * size);
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return __real_realloc(p, noted(size));
}

static void must_be_malformed(const uint8_t *bytes, size_t size, uint64_t object_size)
{
	struct seal *s = NULL;
	struct error err = {0};

	largest_allocation = 0;
	assert_int_equal(seal_parse_head("hostile", bytes, size, object_size, &s, &err), -EPROTO);
	assert_int_equal(seal_failure_of(&err), SEAL_MALFORMED);
	assert_null(s);
	assert_true(largest_allocation > 0 && largest_allocation < 32768);
}

static void hostile_lengths_allocate_nothing(void **state)
{
	static const uint64_t lengths[] = {
		SEAL_LENGTH_MAX,	 SEAL_LENGTH_MAX + 1, UINT64_C(1) << 60,
		UINT64_C(1) << 63,	 UINT64_MAX,	      UINT64_MAX - 524287,
		UINT64_MAX - 524286,	 UINT64_MAX / 48,     UINT64_MAX / 48 + 1,
		(UINT64_C(1) << 45) - 1,
	};
	_cleanup_fixture_ struct fixture f = {0};

	fixture_make(&(struct fixture_options){.length = 10}, &f);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		uint64_t counts[] = {0,
				     1,
				     UINT64_MAX,
				     lengths[i] / SEAL_CHUNK_SIZE,
				     lengths[i] / SEAL_CHUNK_SIZE + 1,
				     UINT64_C(1) << 45,
				     UINT64_C(0x0555555555555556)};

		for (size_t j = 0; j < ARRAY_LEN(counts); j++) {
			put_le64(f.seal + LENGTH_AT, lengths[i]);
			put_le64(f.seal + COUNT_AT, counts[j]);
			must_be_malformed(f.seal, f.seal_size, f.seal_size);
		}
	}
}

static void hostile_slot_counts_and_texts(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};

	fixture_make(&(struct fixture_options){.length = 10}, &f);
	for (unsigned n = 0; n <= UINT16_MAX; n += n < 32 ? 1 : 251) {
		if (n == 1)
			continue;
		put_le16(f.seal + SLOT_COUNT_AT, (uint16_t)n);
		must_be_malformed(f.seal, f.seal_size, f.seal_size);
	}
	put_le16(f.seal + SLOT_COUNT_AT, 1);
	for (unsigned n = 0; n <= UINT16_MAX; n += n < 300 ? 1 : 251) {
		if (n == strlen("model.gguf"))
			continue;
		put_le16(f.seal + PATH_LENGTH_AT, (uint16_t)n);
		must_be_malformed(f.seal, f.seal_size, f.seal_size);
	}
	put_le16(f.seal + PATH_LENGTH_AT, strlen("model.gguf"));
	for (unsigned n = 1; n <= UINT16_MAX; n += n < 1300 ? 1 : 251) {
		put_le16(f.seal + FACTS_LENGTH_AT, (uint16_t)n);
		must_be_malformed(f.seal, f.seal_size, f.seal_size);
	}
	put_le16(f.seal + FACTS_LENGTH_AT, 0);
	put_le64(f.seal + TIME_AT, SEAL_TIME_MAX + 1);
	must_be_malformed(f.seal, f.seal_size, f.seal_size);
}

/* A head that truthfully belongs to a 16 TiB model costs no more than any head. */
static void the_largest_head_is_cheap(void **state)
{
	uint64_t size = seal_object_size(SEAL_LENGTH_MAX, 1);
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_seal_ struct seal *s = NULL;
	uint8_t head[SEAL_HEAD_MAX] = {0};

	fixture_make(&(struct fixture_options){.length = 0}, &f);
	put_le64(f.seal + LENGTH_AT, SEAL_LENGTH_MAX);
	put_le64(f.seal + COUNT_AT, SEAL_LENGTH_MAX / SEAL_CHUNK_SIZE);
	memcpy(head, f.seal, f.seal_size);
	largest_allocation = 0;
	assert_int_equal(seal_parse_head("m", head, sizeof(head), size, &s, NULL), 0);
	assert_int_equal(seal_tables_size(s), (UINT64_C(1) << 25) * 48);
	assert_int_equal(seal_tables_offset(s), 4096);
	assert_true(largest_allocation < 32768);
	assert_false(seal_has_tables(s));
	assert_null(seal_tag(s, 0));
	assert_null(seal_hash(s, 0));
	assert_int_equal(seal_chunk_size(s, (UINT64_C(1) << 25) - 1), SEAL_CHUNK_SIZE);
	assert_int_equal(seal_chunk_size(s, UINT64_C(1) << 25), 0);
	must_be_malformed(head, sizeof(head), size - 1);
	must_be_malformed(head, sizeof(head), size + 1);
	must_be_malformed(head, sizeof(head), UINT64_MAX);
}

static void object_sizes(void **state)
{
	static const uint64_t tables_at[] = {0,	    4096,  8192,  8192,	 8192,	8192,
					     12288, 12288, 12288, 12288, 16384, 16384,
					     16384, 16384, 20480, 20480, 20480};

	for (unsigned s = 1; s <= SEAL_SLOTS_MAX; s++) {
		assert_int_equal(seal_object_size(0, s), tables_at[s]);
		assert_int_equal(seal_object_size(1, s), tables_at[s] + 48);
		assert_int_equal(seal_object_size(SEAL_CHUNK_SIZE, s), tables_at[s] + 48);
		assert_int_equal(seal_object_size(SEAL_CHUNK_SIZE + 1, s), tables_at[s] + 96);
	}
	assert_int_equal(seal_object_size(SEAL_LENGTH_MAX, 16), 1610633216);
	assert_int_equal(seal_object_size(SEAL_LENGTH_MAX + 1, 1), 0);
	assert_int_equal(seal_object_size(UINT64_MAX, 1), 0);
	assert_int_equal(seal_object_size(0, 0), 0);
	assert_int_equal(seal_object_size(0, 17), 0);
}

static void heads_need_no_tables(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	/* 257 chunks: the tables begin inside the head, and end behind it. */
	size_t need = SEAL_HEAD_MAX;

	fixture_make(&(struct fixture_options){.length = 256 * SEAL_CHUNK_SIZE + 1,
					       .slots = 5,
					       .sign = true},
		     &f);
	assert_true(f.seal_size == 8192 + 257 * 48 && f.seal_size > need - 48);
	need = MIN(need, f.seal_size);
	for (size_t size = 0; size <= f.seal_size; size++) {
		_cleanup_seal_ struct seal *s = NULL;
		/* An exact copy, so that a sanitizer sees a read beyond it. */
		_cleanup_free_ uint8_t *copy = malloc(size + (size == 0));
		int r;

		assert_non_null(copy);
		memcpy(copy, f.seal, size);
		r = seal_parse_head("m", copy, size, f.seal_size, &s, NULL);
		assert_int_equal(r, size < need ? -EPROTO : 0);
		if (r == 0)
			assert_int_equal(seal_slot_count(s), 5);
	}
}

static uint8_t *tables_of(const struct fixture *f, const struct seal *s)
{
	size_t size = (size_t)seal_tables_size(s);
	uint8_t *tables = malloc(size);

	assert_non_null(tables);
	return memcpy(tables, f->seal + seal_tables_offset(s), size);
}

/* Key and slot MAC first, with nothing allocated by the seal's numbers; then the tables, once. */
static void tables_come_after_the_slot_mac(void **state)
{
	_cleanup_fixture_ struct fixture f = {0}, other = {0};
	_cleanup_seal_ struct seal *s = NULL;
	_cleanup_seal_ struct seal *o = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_seal_keys_ struct seal_keys *foreign = NULL;
	struct error err = {0};
	uint8_t *bad;

	fixture_make(&(struct fixture_options){.length = 1000 * SEAL_CHUNK_SIZE}, &f);
	fixture_make(&(struct fixture_options){.length = 10}, &other);
	largest_allocation = 0;
	assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, NULL), 0);
	assert_int_equal(
		seal_parse_head("o", other.seal, other.seal_size, other.seal_size, &o, NULL), 0);
	assert_int_equal(seal_unlock(s, f.data_key, &keys, NULL), 0);
	assert_int_equal(seal_unlock(o, other.data_key, &foreign, NULL), 0);
	assert_true(largest_allocation < 32768);
	assert_int_equal(seal_load_tables(s, NULL, tables_of(&f, s), NULL), -EINVAL);
	assert_int_equal(seal_load_tables(s, foreign, tables_of(&f, s), NULL), -EINVAL);
	bad = tables_of(&f, s);
	bad[48 * 1000 - 1] ^= 1;
	assert_int_equal(seal_load_tables(s, keys, bad, &err), -EBADMSG);
	assert_int_equal(seal_failure_of(&err), SEAL_BAD_TABLES);
	assert_false(seal_has_tables(s));
	assert_int_equal(seal_load_tables(s, keys, tables_of(&f, s), NULL), 0);
	assert_true(seal_has_tables(s));
	assert_int_equal(seal_load_tables(s, keys, tables_of(&f, s), NULL), -EINVAL);
}

/* What says which sealing it is: any byte of the core, and not the recipients. */
static void core_hashes(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	uint8_t first[SHA256_SIZE], again[SHA256_SIZE];
	static const struct {
		size_t at;
		bool same;
	} cases[] = {{0x10, false}, {0x40, false}, {0x60, false},  {0x90, false}, {0xB0, false},
		     {0xD0, false}, {0xF0, false}, {0x100, false}, {0x8A0, true}, {0x900, true}};

	fixture_make(&(struct fixture_options){.length = 1}, &f);
	for (size_t i = 0; i <= ARRAY_LEN(cases); i++) {
		_cleanup_seal_ struct seal *s = NULL;

		if (i > 0)
			f.seal[cases[i - 1].at] ^= 1;
		assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, NULL),
				 0);
		assert_int_equal(seal_core_hash(s, i == 0 ? first : again), 0);
		if (i == 0)
			continue;
		assert_int_equal(memcmp(first, again, sizeof(first)) == 0, cases[i - 1].same);
		f.seal[cases[i - 1].at] ^= 1;
	}
}

static void accessors(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_seal_ struct seal *s = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	const uint8_t *tables;

	fixture_make(&(struct fixture_options){.length = SEAL_CHUNK_SIZE + 1, .slots = 3}, &f);
	assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, NULL), 0);
	assert_int_equal(fixture_unlock(s, f.seal, f.data_key, &keys, NULL), 0);
	tables = f.seal + 8192;
	for (unsigned i = 0; i < 2; i++) {
		assert_memory_equal(seal_tag(s, i), tables + 16 * i, 16);
		assert_memory_equal(seal_hash(s, i), tables + 32 + 32 * i, 32);
	}
	assert_null(seal_tag(s, 2));
	assert_null(seal_hash(s, UINT64_MAX));
	assert_int_equal(seal_chunk_size(s, 0), SEAL_CHUNK_SIZE);
	assert_int_equal(seal_chunk_size(s, 1), 1);
	assert_int_equal(seal_chunk_size(s, 2), 0);
	assert_non_null(seal_slot(s, 2));
	assert_null(seal_slot(s, 3));
	assert_false(seal_is_signed(s));
	seal_free(NULL);
	seal_keys_free(NULL);
}

static void a_wrong_key_is_called_wrong_and_never_corrupt(void **state)
{
	static const size_t sizes[] = {1, 16, 31, 33, 32};
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_seal_ struct seal *s = NULL;

	fixture_make(&(struct fixture_options){.length = 10}, &f);
	assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		_cleanup_secret_ struct secret *key = NULL;
		struct seal_keys *keys = NULL;
		struct error err = {0};

		assert_int_equal(secret_new_random(sizes[i], &key), 0);
		assert_false(seal_key_fits(s, key));
		assert_int_equal(seal_unlock(s, key, &keys, &err), -EBADMSG);
		assert_int_equal(seal_failure_of(&err), SEAL_WRONG_KEY);
		assert_null(keys);
	}
}

static void payload_names(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_seal_ struct seal *s = NULL;
	static const char *const bad[] = {"", "m", "seal", ".sea", "m.sealed", "m.seal/", "m.SEAL"};
	_cleanup_free_ char *name = NULL, *deep = NULL;
	char *none = NULL;

	fixture_make(&(struct fixture_options){.length = 1}, &f);
	memcpy(f.seal + 0x10, "\x01\x23\x45\x67\x89\xAB\xCD\xEF\x00", 9);
	assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, NULL), 0);
	assert_int_equal(seal_payload_name(s, "model.gguf.seal", &name), 0);
	assert_string_equal(name, "model.gguf.0123456789abcdef.sealed");
	assert_int_equal(seal_payload_name(s, "a/b.seal/c.seal", &deep), 0);
	assert_string_equal(deep, "a/b.seal/c.0123456789abcdef.sealed");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(seal_payload_name(s, bad[i], &none), -EINVAL);
	assert_null(none);
}

static void names_bind(void **state)
{
	static const char *const good[] = {"m.gguf.seal", "70b/m.gguf.seal", "/x/70b/m.gguf.seal",
					   "other.gguf/70b/m.gguf.seal"};
	static const char *const bad[] = {"m.gguf",
					  "n.gguf.seal",
					  "m.gguf.seal.seal",
					  ".seal",
					  "",
					  "M.gguf.seal",
					  "m.gguf/x.seal",
					  "m.gguf.seal/",
					  "xm.gguf.seal",
					  "m.ggu.seal",
					  "m.gguf.0.sealed",
					  "7b/m.gguf.seal",
					  "70b/x/m.gguf.seal",
					  "b/m.gguf.seal",
					  "x70b/m.gguf.seal",
					  "70b/m.gguf/.seal",
					  "/m.gguf.seal",
					  "a//m.gguf.seal",
					  "70b.seal",
					  "m.gguf/m.gguf.seal",
					  "m.gguf\n.seal"};
	_cleanup_fixture_ struct fixture f = {0};
	_cleanup_seal_ struct seal *s = NULL;

	fixture_make(&(struct fixture_options){.length = 1, .path = "70b/m.gguf"}, &f);
	assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(seal_check_name(s, good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		assert_int_equal(seal_check_name(s, bad[i], &err), -EBADMSG);
		assert_int_equal(seal_failure_of(&err), SEAL_WRONG_NAME);
		assert_non_null(strstr(err.message, "is stored under another name"));
	}
}

static void messages_name_the_object_safely(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	struct seal *s = NULL;
	struct error err = {0};

	fixture_make(&(struct fixture_options){.length = 1}, &f);
	f.seal[0] = 'S';
	assert_int_equal(
		seal_parse_head("a\n\"b\x1B.seal", f.seal, f.seal_size, f.seal_size, &s, &err),
		-EPROTO);
	assert_non_null(strstr(err.message, "\"a\\x0a\\x22b\\x1b.seal\": malformed: "));
}

static void refusals_of_the_head_have_their_words(void **state)
{
	static const struct {
		size_t at;
		const char *words;
	} cases[] = {{8, "unsupported version 0"},
		     {10, "unsupported suite 3"},
		     {12, "unsupported flag"},
		     {0x800, "unsupported signature algorithm 2"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_fixture_ struct fixture f = {0};
		struct seal *s = NULL;
		struct error err = {0};

		fixture_make(&(struct fixture_options){.length = 1}, &f);
		f.seal[cases[i].at] ^= 2;
		assert_int_equal(seal_parse_head("m", f.seal, f.seal_size, f.seal_size, &s, &err),
				 -EPROTO);
		assert_int_equal(seal_failure_of(&err), SEAL_UNSUPPORTED);
		assert_non_null(strstr(err.message, cases[i].words));
	}
}

/* The version that no program reads any more: what to do, and not that something is newer. */
static void version_1_is_said_to_be_old(void **state)
{
	_cleanup_fixture_ struct fixture f = {0};
	struct seal *s = NULL;
	struct error err = {0};

	fixture_make(&(struct fixture_options){.length = 1}, &f);
	memset(f.seal + 0x40, 0, f.seal_size - 0x40);
	f.seal[8] = 1;
	assert_int_equal(seal_parse_head("x.seal", f.seal, f.seal_size, f.seal_size, &s, &err),
			 -EPROTO);
	assert_string_equal(err.message,
			    "\"x.seal\": unsupported: sealed by a development version (format 1) "
			    "that this program no longer reads");
	assert_string_equal(err.hint, "seal the model again");
}

/* Each limit has its own message, so that one check cannot hide behind another. */
static void limits_have_their_own_words(void **state)
{
	static const struct {
		uint64_t length;
		size_t size;
		uint64_t object_size;
		const char *words;
	} cases[] = {
		{SEAL_LENGTH_MAX + 1, 4144, 4144, "over 16 TiB"},
		{1, 4144, 4095, "a seal at least 4096 (truncated)"},
		{1, 4144, UINT64_C(1610633217), "larger than any seal"},
		{1, 4144, 4100, "hold no head"},
		{1, 4143, 4144, "hold no head"},
		{1, 4143, 4143, "truncated or extended"},
	};
	_cleanup_fixture_ struct fixture f = {0};

	fixture_make(&(struct fixture_options){.length = 1}, &f);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct seal *s = NULL;
		struct error err = {0};

		put_le64(f.seal + LENGTH_AT, cases[i].length);
		assert_int_equal(
			seal_parse_head("m", f.seal, cases[i].size, cases[i].object_size, &s, &err),
			-EPROTO);
		assert_non_null(strstr(err.message, cases[i].words));
	}
}

static void owners(void **state)
{
	_cleanup_fixture_ struct fixture unsigned_model = {0}, signed_model = {0};
	_cleanup_(owner_keys_freep) struct owner_keys *owner = fixture_owner();
	_cleanup_(owner_keys_freep) struct owner_keys *nobody = NULL;
	_cleanup_seal_ struct seal *u = NULL;
	_cleanup_seal_ struct seal *s = NULL;
	struct error err = {0};

	assert_int_equal(owner_keys_new(&nobody), 0);
	fixture_make(&(struct fixture_options){.length = 1}, &unsigned_model);
	fixture_make(&(struct fixture_options){.length = 1, .sign = true}, &signed_model);
	assert_int_equal(seal_parse_head("u", unsigned_model.seal, unsigned_model.seal_size,
					 unsigned_model.seal_size, &u, NULL),
			 0);
	assert_int_equal(seal_parse_head("s", signed_model.seal, signed_model.seal_size,
					 signed_model.seal_size, &s, NULL),
			 0);
	assert_int_equal(seal_check_owner(u, NULL, &err), 0);
	assert_int_equal(seal_check_owner(u, nobody, &err), 0);
	assert_int_equal(seal_check_owner(s, nobody, &err), 0);
	assert_int_equal(seal_check_owner(s, owner, &err), 0);
	assert_int_equal(seal_check_owner(u, owner, &err), -EBADMSG);
	assert_int_equal(seal_failure_of(&err), SEAL_UNSIGNED);
	assert_true(seal_is_signed(s));
	assert_true(owner_keys_contain(owner, seal_signer_id(s)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_lengths_allocate_nothing),
		cmocka_unit_test(hostile_slot_counts_and_texts),
		cmocka_unit_test(the_largest_head_is_cheap),
		cmocka_unit_test(object_sizes),
		cmocka_unit_test(heads_need_no_tables),
		cmocka_unit_test(tables_come_after_the_slot_mac),
		cmocka_unit_test(core_hashes),
		cmocka_unit_test(accessors),
		cmocka_unit_test(a_wrong_key_is_called_wrong_and_never_corrupt),
		cmocka_unit_test(payload_names),
		cmocka_unit_test(names_bind),
		cmocka_unit_test(messages_name_the_object_safely),
		cmocka_unit_test(refusals_of_the_head_have_their_words),
		cmocka_unit_test(version_1_is_said_to_be_old),
		cmocka_unit_test(limits_have_their_own_words),
		cmocka_unit_test(owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
