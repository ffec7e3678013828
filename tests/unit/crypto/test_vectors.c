/*
 * Every vector of tests/vectors/format, read through the public functions in the order of
 * crypto/FORMAT.md section 8: the good ones must give their plaintext's digests, each bad one its
 * own class, errno and stage. One cmocka test a vector.
 */
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/chunk.h"
#include "crypto/failure.h"
#include "crypto/seal.h"
#include "crypto/verity.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

struct opened {
	struct seal *seal;
	struct seal_keys *keys;
	struct secret *data_key;
	struct owner_keys *owners;
	struct blob bytes;
	struct error err;
	const char *stage; /* where it is, as FORMAT.md names it */
};

static void opened_done(struct opened *o)
{
	seal_keys_free(o->keys);
	secret_free(o->data_key);
	owner_keys_free(o->owners);
	seal_free(o->seal);
	blob_done(&o->bytes);
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void pin_owners(const json_t *vector, struct opened *o)
{
	json_t *path;
	size_t i;

	assert_int_equal(owner_keys_new(&o->owners), 0);
	json_array_foreach (json_object_get(vector, "owner_keys"), i, path) {
		char *dir = temp_dir_new();
		_cleanup_free_ char *copy = vector_copy(json_string_value(path), dir);

		assert_int_equal(owner_keys_add_file(o->owners, copy, NULL), 0);
		temp_dir_done(dir);
	}
}

static struct keyfile *load_kek(const char *relative)
{
	char *dir = temp_dir_new();
	_cleanup_free_ char *copy = vector_copy(relative, dir);
	struct keyfile *kek = NULL;

	assert_int_equal(keyfile_load(copy, &kek, NULL), 0);
	temp_dir_done(dir);
	return kek;
}

static int key_from_slots(struct opened *o, const struct keyfile *kek)
{
	bool ours = false;

	for (unsigned i = 0; i < seal_slot_count(o->seal); i++) {
		_cleanup_secret_ struct secret *key = NULL;
		int r = slot_open_keyfile(seal_slot(o->seal, i), kek, seal_core(o->seal)->file_id,
					  &key);

		if (r == -ENOKEY)
			continue;
		ours = true;
		assert_true(r == 0 || r == -EBADMSG);
		if (r == 0 && seal_key_fits(o->seal, key)) {
			o->data_key = steal_ptr(key);
			return 0;
		}
	}
	return seal_fail(&o->err, ours ? SEAL_WRONG_KEY : SEAL_NO_RECIPIENT, "vector", "test");
}

static int take_key(const json_t *vector, struct opened *o)
{
	const json_t *keys = json_object_get(vector, "keys");
	_cleanup_(keyfile_freep) struct keyfile *kek = NULL;
	_cleanup_free_ char *path = NULL;
	_cleanup_blob_ struct blob hex = {0};
	uint8_t key[SEAL_DATA_KEY_SIZE];

	if (text(keys, "kek")) {
		kek = load_kek(text(keys, "kek"));
		return key_from_slots(o, kek);
	}
	path = vector_path(text(keys, "data_key"));
	hex = blob_load(path);
	hex.data[strcspn((char *)hex.data, "\n")] = '\0';
	assert_int_equal(hex_decode((char *)hex.data, key, sizeof(key)), 0);
	return secret_new_from(key, sizeof(key), &o->data_key);
}

static int open_seal(const json_t *vector, struct opened *o)
{
	_cleanup_free_ char *path = vector_path(text(json_object_get(vector, "files"), "seal"));
	const char *open_as = text(vector, "open_as");
	int r;

	o->bytes = blob_load(path);
	o->stage = "parse";
	r = seal_parse_head(path, o->bytes.data, o->bytes.size, o->bytes.size, &o->seal, &o->err);

	if (r == 0 && open_as) {
		_cleanup_free_ char *name = NULL;

		assert_true(asprintf(&name, "%s.seal", open_as) > 0);
		o->stage = "name";
		r = seal_check_name(o->seal, name, &o->err);
	}
	if (r < 0)
		return r;
	pin_owners(vector, o);
	o->stage = "signature";
	r = seal_check_owner(o->seal, o->owners, &o->err);
	if (r < 0)
		return r;
	o->stage = "unlock";
	r = take_key(vector, o);
	return r == 0 ? fixture_unlock(o->seal, o->bytes.data, o->data_key, &o->keys, &o->err) : r;
}

static int read_chunk(struct opened *o, struct chunk_cipher *c, uint64_t i, const uint8_t *cipher,
		      uint8_t *plain)
{
	uint32_t size = seal_chunk_size(o->seal, i);
	uint8_t hash[SEAL_HASH_SIZE];

	if (chunk_open(c, i, cipher, size, seal_tag(o->seal, i), plain) == -EBADMSG)
		return seal_fail(&o->err, SEAL_BAD_CHUNK, "vector", "chunk %d", (int)i);
	assert_int_equal(verity_chunk_hash(plain, size, seal_core(o->seal)->length, hash), 0);
	if (!secret_equal(hash, seal_hash(o->seal, i), sizeof(hash)))
		return seal_fail(&o->err, SEAL_BAD_CHUNK_HASH, "vector", "chunk %d", (int)i);
	return 0;
}

static int read_payload(const json_t *vector, struct opened *o)
{
	const char *relative = text(json_object_get(vector, "files"), "payload");
	_cleanup_free_ char *path = vector_path(relative);
	_cleanup_blob_ struct blob payload = blob_load(path);
	_cleanup_(chunk_cipher_freep) struct chunk_cipher *c = NULL;
	const struct seal_core *core = seal_core(o->seal);
	uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];

	o->stage = "payload";
	if (payload.size != core->length)
		return seal_fail(&o->err, SEAL_BAD_PAYLOAD_SIZE, "vector", "%zu", payload.size);
	assert_int_equal(chunk_cipher_new(o->keys, core->chunk_count, &c), 0);
	o->stage = "chunk";
	for (uint64_t i = 0; i < core->chunk_count; i++) {
		uint8_t *at = payload.data + i * SEAL_CHUNK_SIZE;
		int r = read_chunk(o, c, i, at, at);

		if (r < 0)
			return r;
	}
	o->stage = "whole";
	assert_int_equal(digest_buffer(DIGEST_SHA256, payload.data, payload.size, sha256), 0);
	assert_int_equal(digest_buffer(DIGEST_SHA384, payload.data, payload.size, sha384), 0);
	if (memcmp(sha256, core->sha256, sizeof(sha256)) != 0 ||
	    memcmp(sha384, core->sha384, sizeof(sha384)) != 0)
		return seal_fail(&o->err, SEAL_BAD_DIGEST, "vector", "plaintext");
	return 0;
}

static void expect_hex(const json_t *vector, const char *key, const uint8_t *actual, size_t size)
{
	_cleanup_free_ char *hex = malloc(2 * size + 1);

	assert_non_null(hex);
	hex_encode(actual, size, hex);
	assert_string_equal(hex, text(vector, key));
}

static void expect_good(const json_t *vector, const struct opened *o, int r)
{
	const json_t *types = json_object_get(vector, "slot_types");
	uint8_t statement[SEAL_STATEMENT_SIZE];
	const struct seal_core *core;

	if (r < 0)
		fail_msg("refused: %s", error_text(&o->err, r));
	seal_copy_statement(o->seal, statement);
	assert_memory_equal(statement, o->bytes.data, sizeof(statement));
	core = seal_core(o->seal);
	assert_int_equal(core->length, json_integer_value(json_object_get(vector, "length")));
	assert_string_equal(core->path, text(vector, "path"));
	assert_string_equal(core->facts, text(vector, "facts"));
	assert_int_equal(core->sealed_at, json_integer_value(json_object_get(vector, "sealed_at")));
	expect_hex(vector, "file_id", core->file_id, sizeof(core->file_id));
	expect_hex(vector, "sha256", core->sha256, sizeof(core->sha256));
	expect_hex(vector, "sha384", core->sha384, sizeof(core->sha384));
	expect_hex(vector, "verity", core->verity, sizeof(core->verity));
	assert_int_equal(seal_is_signed(o->seal), text(vector, "signed_by") != NULL);
	if (seal_is_signed(o->seal))
		expect_hex(vector, "signed_by", seal_signer_id(o->seal), SIGNER_ID_SIZE);
	assert_int_equal(seal_slot_count(o->seal), json_array_size(types));
	for (unsigned i = 0; i < seal_slot_count(o->seal); i++)
		assert_int_equal(seal_slot(o->seal, i)->type,
				 json_integer_value(json_array_get(types, i)));
}

static void expect_refused(const json_t *expected, const struct opened *o, int r)
{
	enum seal_failure failure = seal_failure_of(&o->err);

	if (r == 0)
		fail_msg("read without complaint");
	if (strcmp(seal_failure_id(failure), text(expected, "class")) != 0)
		fail_msg("refused as %s: %s", seal_failure_id(failure), o->err.message);
	assert_int_equal(r, o->err.code);
	assert_int_equal(r, strcmp(text(expected, "errno"), "EPROTO") == 0   ? -EPROTO
			    : strcmp(text(expected, "errno"), "ENOKEY") == 0 ? -ENOKEY
									     : -EBADMSG);
	assert_string_equal(o->stage, text(expected, "stage"));
	assert_int_equal(error_exit_code(r),
			 r == -ENOKEY ? EXIT_CODE_REFUSED : EXIT_CODE_NOT_AUTHENTIC);
}

static void vector_test(void **state)
{
	const json_t *vector = *state, *expected = json_object_get(vector, "expected");
	__attribute__((cleanup(opened_done))) struct opened o = {0};
	int r = open_seal(vector, &o);

	if (r == 0 && text(json_object_get(vector, "files"), "payload"))
		r = read_payload(vector, &o);
	if (json_is_string(expected))
		expect_good(vector, &o, r);
	else
		expect_refused(expected, &o, r);
}

static size_t add_tests(const json_t *list, struct CMUnitTest *tests, size_t at)
{
	json_t *vector;
	size_t i;

	json_array_foreach (list, i, vector)
		tests[at++] = (struct CMUnitTest){
			.name = text(vector, "id"),
			.test_func = vector_test,
			.initial_state = vector,
		};
	return at;
}

int main(void)
{
	_cleanup_free_ char *path = vector_path("index.json");
	json_t *index = json_load_file(path, 0, NULL);
	const json_t *vectors = json_object_get(index, "vectors");
	const json_t *extended = json_object_get(index, "extended");
	size_t count = json_array_size(vectors) + json_array_size(extended);
	_cleanup_free_ struct CMUnitTest *tests = calloc(count + 1, sizeof(*tests));
	int failed;

	if (!tests || json_array_size(vectors) == 0 || json_array_size(extended) == 0) {
		fprintf(stderr, "%s holds no vectors\n", path);
		return 1;
	}
	(void)add_tests(extended, tests, add_tests(vectors, tests, 0));
	failed = _cmocka_run_group_tests("format vectors", tests, count, NULL, NULL);
	json_decref(index);
	return failed;
}
