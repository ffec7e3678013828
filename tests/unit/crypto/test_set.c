/*
 * Sets: every vector of tests/vectors/sets, every flipped bit of a set object, members that are not
 * the ones that a set names, and the writer.
 */
#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/set_writer.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

struct opened {
	struct set *set;
	struct set_keys *keys;
};

static void opened_done(struct opened *o)
{
	set_free(o->set);
	set_keys_free(o->keys);
}
#define _cleanup_opened_ __attribute__((cleanup(opened_done)))

static int find_key(const struct set *s, const struct keyfile *kek, struct secret **ret,
		    struct error *err)
{
	const struct sealed_head *h = set_head(s);
	bool ours = false;

	for (unsigned i = 0; i < h->slot_count; i++) {
		struct secret *key = NULL;
		int r = slot_open_keyfile(&h->slots[i], kek, set_header(s)->id, &key);

		ours |= r != -ENOKEY;
		if (r == 0 && set_key_fits(s, key)) {
			*ret = key;
			return 0;
		}
		secret_free(key);
	}
	return seal_fail(err, ours ? SEAL_WRONG_KEY : SEAL_NO_RECIPIENT, "set", "test");
}

/* The steps of FORMAT.md section 11.6. */
static int open_set(const uint8_t *bytes, size_t size, const struct keyfile *kek,
		    const struct owner_keys *owners, struct opened *o, struct error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	int r = set_parse_head("set", bytes, size, size, &o->set, err);

	if (r == 0)
		r = set_check_owner(o->set, owners, err);
	if (r == 0)
		r = find_key(o->set, kek, &key, err);
	if (r == 0)
		r = set_unlock(o->set, key, &o->keys, err);
	if (r == 0)
		r = set_load_table(o->set, o->keys, bytes + set_table_offset(o->set), err);
	return r;
}

static struct keyfile *vector_keyfile(void)
{
	char *dir = temp_dir_new();
	_cleanup_free_ char *copy = vector_copy("keys/kek.key", dir);
	struct keyfile *kek = NULL;

	assert_int_equal(keyfile_load(copy, &kek, NULL), 0);
	temp_dir_done(dir);
	return kek;
}

static struct blob vector_blob(const char *name)
{
	_cleanup_free_ char *relative = NULL, *path;

	assert_true(asprintf(&relative, "../sets/%s", name) > 0);
	path = vector_path(relative);
	return blob_load(path);
}

static const char *text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void check_found(const struct opened *o, const json_t *vector)
{
	const struct set_header *h = set_header(o->set);
	char hex[2 * SHA256_SIZE + 1];
	json_t *path;
	size_t i;

	hex_encode(h->content, sizeof(h->content), hex);
	assert_string_equal(hex, text(vector, "content"));
	assert_string_equal(h->name, text(vector, "name"));
	assert_int_equal(h->version, json_integer_value(json_object_get(vector, "version")));
	assert_int_equal(h->member_count, json_array_size(json_object_get(vector, "paths")));
	json_array_foreach (json_object_get(vector, "paths"), i, path) {
		assert_string_equal(set_member(o->set, i)->path, json_string_value(path));
		assert_ptr_equal(set_find(o->set, json_string_value(path)), set_member(o->set, i));
	}
	assert_null(set_member(o->set, h->member_count));
	assert_null(set_find(o->set, "absent"));
}

static void vectors(void **state)
{
	_cleanup_(keyfile_freep) struct keyfile *kek = vector_keyfile();
	_cleanup_(owner_keys_freep) struct owner_keys *owner = fixture_owner();
	_cleanup_blob_ struct blob index = vector_blob("index.json");
	json_t *all = json_loadb((char *)index.data, index.size, 0, NULL), *vector;
	size_t i;

	json_array_foreach (json_object_get(all, "vectors"), i, vector) {
		_cleanup_blob_ struct blob set = vector_blob(text(vector, "file"));
		bool pinned = json_array_size(json_object_get(vector, "owner_keys")) > 0;
		_cleanup_opened_ struct opened o = {0};
		struct error err = {0};
		int r = open_set(set.data, set.size, kek, pinned ? owner : NULL, &o, &err);

		if (r == 0 && strcmp(text(vector, "expected"), "ok") == 0)
			check_found(&o, vector);
		else if (strcmp(seal_failure_id(seal_failure_of(&err)), text(vector, "expected")))
			fail_msg("%s: %s, not %s", text(vector, "id"), err.message,
				 text(vector, "expected"));
	}
	assert_true(i > 50);
	json_decref(all);
}

/* Exhaustive. The signature block is the only part that the set key does not cover. */
static void every_flipped_bit_is_caught(void **state)
{
	_cleanup_(keyfile_freep) struct keyfile *kek = vector_keyfile();
	_cleanup_(owner_keys_freep) struct owner_keys *owner = fixture_owner();
	_cleanup_blob_ struct blob set = vector_blob("signed.set");
	size_t with_key = 0, with_owner = 0;

	for (size_t bit = 0; bit < 8 * set.size; bit++) {
		_cleanup_opened_ struct opened o = {0};
		struct error err = {0};

		set.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (open_set(set.data, set.size, kek, NULL, &o, &err) < 0)
			with_key++;
		else if (set_check_owner(o.set, owner, &err) < 0)
			with_owner++;
		else
			fail_msg("bit %zu can be flipped", bit);
		assert_int_not_equal(seal_failure_of(&err), SEAL_FAILURE_NONE);
		set.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(with_key + with_owner, 8 * set.size);
	assert_int_equal(with_owner, 8 * (32 + 64));
}

/* A set of the models of some fixtures. */
struct world {
	uint8_t id[SET_ID_SIZE];
	struct secret *key;
	struct set_keys *keys;
	struct set *set;
};

static struct seal *parse_seal(const struct fixture *f)
{
	struct seal *s = NULL;

	assert_int_equal(seal_parse_head("m.seal", f->seal, f->seal_size, f->seal_size, &s, NULL),
			 0);
	return s;
}

static void world_make(struct world *w, uint8_t id, const struct fixture *f, const char *path)
{
	_cleanup_seal_ struct seal *seal = parse_seal(f);
	struct set_member member;
	struct seal_slot slot;
	struct set_make make = {.id = w->id,
				.name = "set",
				.facts = "",
				.version = 3,
				.created = 1000,
				.members = &member,
				.member_count = 1,
				.slots = &slot,
				.slot_count = 1};
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;

	memset(w->id, id, sizeof(w->id));
	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &w->key), 0);
	assert_int_equal(set_keys_make(w->id, w->key, &w->keys), 0);
	assert_int_equal(slot_make_keyfile(f->kek, w->id, w->key, &slot), 0);
	assert_int_equal(set_member_of(seal, path, &member), 0);
	make.keys = w->keys;
	assert_int_equal(set_make(&make, &bytes, &size, NULL), 0);
	assert_int_equal(set_parse_head("set", bytes, size, size, &w->set, NULL), 0);
	assert_int_equal(set_load_table(w->set, w->keys, bytes + set_table_offset(w->set), NULL),
			 0);
}

static void world_done(struct world *w)
{
	set_free(w->set);
	set_keys_free(w->keys);
	secret_free(w->key);
}

static void load_tables(const struct fixture *f, struct seal *seal, const struct seal_keys *keys)
{
	size_t size = (size_t)seal_tables_size(seal);
	uint8_t *tables = malloc(size);

	assert_non_null(tables);
	memcpy(tables, f->seal + seal_tables_offset(seal), size);
	assert_int_equal(seal_load_tables(seal, keys, tables, NULL), 0);
}

/* The fixture's seal with a slot of the set. */
static struct seal *admit(const struct fixture *f, const struct world *w)
{
	_cleanup_seal_ struct seal *seal = parse_seal(f);
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct seal_slot slots[2] = {*seal_slot(seal, 0)};
	struct seal *changed = NULL;
	size_t size = 0;

	assert_int_equal(seal_unlock(seal, f->data_key, &keys, NULL), 0);
	assert_int_equal(slot_make_set(w->keys, seal_core(seal)->file_id, f->data_key, &slots[1]),
			 0);
	assert_int_equal(seal_replace_slots(seal, keys, slots, 2, &bytes, &size, NULL), -EINVAL);
	load_tables(f, seal, keys);
	assert_int_equal(seal_replace_slots(seal, keys, slots, 2, &bytes, &size, NULL), 0);
	assert_memory_equal(bytes + size - seal_tables_size(seal),
			    f->seal + f->seal_size - seal_tables_size(seal),
			    seal_tables_size(seal));
	assert_int_equal(seal_parse_head("m.seal", bytes, size, size, &changed, NULL), 0);
	return changed;
}

static void members_open_through_the_set(void **state)
{
	_cleanup_fixture_ struct fixture f;
	struct world w = {0}, other = {0};
	_cleanup_seal_ struct seal *seal = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	const struct seal_slot *slot;

	fixture_make(&(struct fixture_options){.length = 700000, .sealed_at = 10}, &f);
	world_make(&w, 1, &f, "a/model.gguf");
	world_make(&other, 2, &f, "model.gguf");
	seal = admit(&f, &w);
	slot = seal_slot(seal, 1);
	assert_int_equal(slot_open_set(seal_slot(seal, 0), w.keys, seal_core(seal)->file_id, &key),
			 -ENOKEY);
	assert_int_equal(slot_open_set(slot, other.keys, seal_core(seal)->file_id, &key), -ENOKEY);
	assert_int_equal(slot_open_set(slot, w.keys, w.id, &key), -EBADMSG);
	assert_int_equal(slot_open_set(slot, w.keys, seal_core(seal)->file_id, &key), 0);
	assert_int_equal(seal_unlock(seal, key, &keys, NULL), 0);
	assert_int_equal(set_check_member(w.set, set_member(w.set, 0), seal, NULL), 0);
	world_done(&w);
	world_done(&other);
}

static void expect_refusal(const struct world *w, const struct seal *seal, const char *words)
{
	struct error err = {0};

	assert_int_equal(set_check_member(w->set, set_member(w->set, 0), seal, &err), -EBADMSG);
	assert_int_equal(seal_failure_of(&err), SEAL_WRONG_MEMBER);
	if (!strstr(err.message, words))
		fail_msg("\"%s\" does not hold \"%s\"", err.message, words);
}

static void other_members_are_refused(void **state)
{
	_cleanup_fixture_ struct fixture f, old, new, moved;
	struct world w = {0}, other = {0};
	_cleanup_seal_ struct seal *seal = NULL, *foreign = NULL, *elsewhere = NULL, *newer = NULL;
	struct error err = {0};

	fixture_make(&(struct fixture_options){.length = 100, .sealed_at = 500}, &f);
	fixture_make(&(struct fixture_options){.length = 100, .sealed_at = 400}, &old);
	fixture_make(&(struct fixture_options){.length = 100, .sealed_at = 2000}, &new);
	fixture_make(&(struct fixture_options){.length = 100, .path = "other.gguf"}, &moved);
	world_make(&w, 1, &f, "model.gguf");
	world_make(&other, 2, &old, "model.gguf");
	seal = parse_seal(&old);
	expect_refusal(&w, seal, "not the one of version 3");
	newer = parse_seal(&new);
	expect_refusal(&w, newer, "newer than version 3");
	foreign = admit(&old, &other);
	expect_refusal(&w, foreign, "belongs to another set, 02020202");
	elsewhere = parse_seal(&moved);
	expect_refusal(&w, elsewhere, "the seal of the model \"other.gguf\"");
	assert_int_equal(set_missing_member(w.set, set_member(w.set, 0), &err), -EBADMSG);
	assert_int_equal(seal_failure_of(&err), SEAL_MISSING_MEMBER);
	world_done(&w);
	world_done(&other);
}

static void versions_and_expiry(void **state)
{
	_cleanup_(keyfile_freep) struct keyfile *kek = vector_keyfile();
	_cleanup_blob_ struct blob set = vector_blob("signed.set");
	_cleanup_opened_ struct opened o = {0};
	struct error err = {0};

	assert_int_equal(open_set(set.data, set.size, kek, NULL, &o, NULL), 0);
	assert_int_equal(set_check_version(o.set, 7, 1767225601, NULL), 0);
	assert_int_equal(set_check_version(o.set, 8, 0, &err), -EBADMSG);
	assert_int_equal(seal_failure_of(&err), SEAL_OLD_SET);
	error_clear(&err);
	assert_int_equal(set_check_version(o.set, 0, 1767225602, &err), -EKEYEXPIRED);
	assert_int_equal(seal_failure_of(&err), SEAL_EXPIRED_SET);
}

static void names_of_members(void **state)
{
	struct set_member m = {.path = "a/b.gguf",
			       .file_id = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF}};
	_cleanup_free_ char *seal = set_seal_name(&m);
	_cleanup_free_ char *pending = set_pending_name(&m);
	_cleanup_free_ char *payload = NULL;

	assert_string_equal(seal, "a/b.gguf.seal");
	assert_string_equal(pending, "a/b.gguf.0123456789abcdef.next");
	assert_int_equal(set_pending_payload(pending, &payload), 0);
	assert_string_equal(payload, "a/b.gguf.0123456789abcdef.sealed");
	assert_true(set_name_is_pending(pending));
	assert_false(set_name_is_pending("b.0123456789ABCDEF.next"));
	assert_false(set_name_is_pending("b.next"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(every_flipped_bit_is_caught),
		cmocka_unit_test(members_open_through_the_set),
		cmocka_unit_test(other_members_are_refused),
		cmocka_unit_test(versions_and_expiry),
		cmocka_unit_test(names_of_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
