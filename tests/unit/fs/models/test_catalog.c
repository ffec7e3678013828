/* fs/catalog: what a reload keeps, what it replaces, and when the old goes. Nothing is unlocked. */
#include "fs/models/catalog.h"

#include "fs/source/source_backend.h"
#include "tests/unit/test.h"

#include <string.h>

struct entry {
	const char *path;
	uint8_t id; /* of the file */
	const char *version;
};

static struct view *make_view(const struct entry *entries, size_t count)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	struct view *v = NULL;

	for (size_t i = 0; i < count; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%s.seal", entries[i].path);
		assert_int_equal(source_listing_add(&l, name, 4384, 7, entries[i].version), 0);
	}
	assert_int_equal(view_build(&l, &v, NULL), 0);
	assert_int_equal(v->file_count, count);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < count; k++)
			if (strcmp(v->files[k]->path, entries[i].path) == 0)
				memset(&v->files[k]->facts, entries[i].id,
				       sizeof(v->files[k]->facts));
	}
	assert_int_equal(view_number(v), 0);
	return v;
}

static struct catalog *make_catalog(void)
{
	struct models_options options = {.measure = MEASURE_VERITY};
	struct catalog *c = NULL;

	assert_int_equal(catalog_new(&options, &c, NULL), 0);
	return c;
}

/* Lists, and makes that the current generation. */
static struct generation *list(struct catalog *c, const struct entry *entries, size_t count)
{
	struct generation *g = NULL, *old = NULL;

	assert_int_equal(catalog_prepare(c, make_view(entries, count), NULL, &g), 0);
	catalog_commit(c, g, &old);
	catalog_release(c, old);
	return g;
}

static const struct view_node *file(const struct generation *g, const char *path)
{
	const struct view *v = generation_view(g);

	for (size_t i = 0; i < v->file_count; i++)
		if (strcmp(v->files[i]->path, path) == 0)
			return v->files[i];
	return NULL;
}

static bool is_found(struct catalog *c, uint64_t ino)
{
	struct catalog_place place = catalog_find(c, ino);
	bool found = place.node != NULL;

	catalog_leave(&place);
	return found;
}

static void test_first_listing(void **state)
{
	static const struct entry entries[] = {{"a", 1, "v1"}, {"dir/b", 2, "v1"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = list(c, entries, 2), *held = catalog_acquire(c);

	assert_ptr_equal(held, g);
	catalog_release(c, held);
	assert_true(generation_is_first(g, file(g, "a")));
	assert_true(generation_is_first(g, file(g, "dir/b")));
	assert_true(is_found(c, VIEW_ROOT_INO));
	assert_true(is_found(c, file(g, "dir/b")->ino));
	assert_false(is_found(c, 12345));
	catalog_reap(c);
	assert_true(is_found(c, file(g, "a")->ino));
}

static void test_unchanged_model_is_kept(void **state)
{
	static const struct entry before[] = {{"a", 1, "v1"}, {"b", 2, "v1"}};
	static const struct entry after[] = {{"a", 1, "v1"}, {"b", 2, "v1"}, {"c", 3, "v1"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = list(c, before, 2);
	struct model *a = generation_model(g, file(g, "a"));
	uint64_t ino = file(g, "a")->ino;

	for (unsigned i = 0; i < 3; i++) {
		g = list(c, after, 3);
		catalog_reap(c);
		assert_ptr_equal(generation_model(g, file(g, "a")), a);
		assert_int_equal(file(g, "a")->ino, ino);
		assert_false(generation_is_first(g, file(g, "a")));
		assert_int_equal(generation_is_first(g, file(g, "c")), i == 0);
	}
}

static void test_replaced_model_is_another(void **state)
{
	static const struct entry before[] = {{"a", 1, "v1"}, {"b", 2, "v1"}};
	static const struct entry after[] = {{"a", 9, "v2"}, {"b", 2, "v1"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = list(c, before, 2);
	struct model *a = generation_model(g, file(g, "a"));
	uint64_t ino = file(g, "a")->ino;

	catalog_hold_model(c, a); /* somebody has it open */
	g = list(c, after, 2);
	catalog_reap(c);
	assert_true(generation_is_first(g, file(g, "a")));
	assert_ptr_not_equal(generation_model(g, file(g, "a")), a);
	assert_int_not_equal(file(g, "a")->ino, ino);
	assert_true(is_found(c, ino));
	catalog_drop_model(c, a);
	/* b is the first generation's still, and keeps it. */
	catalog_reap(c);
	assert_true(is_found(c, ino));
	list(c, after, 0);
	catalog_reap(c);
	assert_false(is_found(c, ino));
}

static void test_seal_that_was_written_anew(void **state)
{
	/* Another recipient, say: with nobody's key at hand it is looked at from the start. */
	static const struct entry before[] = {{"a", 1, "v1"}}, after[] = {{"a", 1, "v2"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = list(c, before, 1);
	uint64_t ino = file(g, "a")->ino;

	g = list(c, after, 1);
	assert_true(generation_is_first(g, file(g, "a")));
	/* The same plaintext, and so the same inode and pages. */
	assert_int_equal(file(g, "a")->ino, ino);
}

static void test_broken_model_is_looked_at_again(void **state)
{
	static const struct entry entries[] = {{"a", 1, "v1"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = NULL, *old = NULL;
	struct view *v = make_view(entries, 1);

	v->files[0]->broken = calloc(1, sizeof(*v->files[0]->broken));
	assert_non_null(v->files[0]->broken);
	assert_int_equal(catalog_prepare(c, v, NULL, &g), 0);
	catalog_commit(c, g, &old);
	assert_null(old);
	g = list(c, entries, 1);
	assert_true(generation_is_first(g, file(g, "a")));
}

static void test_generation_that_nobody_saw(void **state)
{
	/* A reload that fails after the listing: what it adopted goes back. */
	static const struct entry entries[] = {{"a", 1, "v1"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = list(c, entries, 1), *unseen = NULL, *held;

	assert_int_equal(catalog_prepare(c, make_view(entries, 1), NULL, &unseen), 0);
	assert_false(generation_is_first(unseen, file(unseen, "a")));
	catalog_release(c, unseen);
	catalog_reap(c);
	held = catalog_acquire(c);
	assert_ptr_equal(held, g);
	catalog_release(c, held);
	list(c, entries, 0);
	catalog_reap(c);
}

static void test_everything_goes(void **state)
{
	static const struct entry entries[] = {{"a", 1, "v1"}, {"b", 2, "v1"}};
	_cleanup_(catalog_freep) struct catalog *c = make_catalog();
	struct generation *g = list(c, entries, 2);
	uint64_t ino = file(g, "a")->ino;

	catalog_acquire(c); /* a request that is under way */
	list(c, entries, 0);
	catalog_reap(c);
	assert_true(is_found(c, ino));
	catalog_release(c, g);
	catalog_reap(c);
	assert_false(is_found(c, ino));
	assert_true(is_found(c, VIEW_ROOT_INO));
	assert_true(catalog_idle(c, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_listing),
		cmocka_unit_test(test_unchanged_model_is_kept),
		cmocka_unit_test(test_replaced_model_is_another),
		cmocka_unit_test(test_seal_that_was_written_anew),
		cmocka_unit_test(test_broken_model_is_looked_at_again),
		cmocka_unit_test(test_generation_that_nobody_saw),
		cmocka_unit_test(test_everything_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
