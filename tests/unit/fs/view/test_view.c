/* fs/view: listings become trees, whatever names they hold; heads, inodes, broken models. */
#include "fs/view/view.h"

#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/fs/read/memory_source.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- names only */

static struct source_listing list_of(const char *const *names, size_t count)
{
	struct source_listing l = {0};

	for (size_t i = 0; i < count; i++)
		assert_int_equal(source_listing_add(&l, names[i], 1000, (int64_t)i, "v"), 0);
	return l;
}

static struct view *build(const char *const *names, size_t count)
{
	_cleanup_(source_listing_clear) struct source_listing l = list_of(names, count);
	struct view *v = NULL;

	assert_int_equal(view_build(&l, &v, NULL), 0);
	assert_int_equal(view_number(v), 0);
	return v;
}

static const struct view_node *walk(const struct view *v, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	const struct view_node *n = v->root;
	char *save = NULL;

	for (char *part = strtok_r(copy, "/", &save); n && part; part = strtok_r(NULL, "/", &save))
		n = n->kind == VIEW_DIRECTORY ? view_lookup(n, part) : NULL;
	return n;
}

static void assert_tree_is_sound(const struct view *v, const struct view_node *n, size_t *nodes)
{
	(*nodes)++;
	assert_true(n->ino != 0);
	assert_ptr_equal(view_by_ino(v, n->ino), n);
	assert_ptr_equal(walk(v, n->path), n);
	for (size_t i = 0; i < n->child_count; i++) {
		const struct view_entry *e = &n->children[i];

		assert_true(i == 0 || strcmp(n->children[i - 1].name, e->name) < 0);
		assert_true(e->node->mtime_ns <= n->mtime_ns);
		if (e->is_link)
			continue;
		assert_string_equal(e->name, e->node->name);
		assert_ptr_equal(e->node->parent, n);
		assert_tree_is_sound(v, e->node, nodes);
	}
}

static void assert_sound(const struct view *v)
{
	size_t nodes = 0;

	assert_int_equal(v->root->ino, VIEW_ROOT_INO);
	assert_ptr_equal(v->root->parent, v->root);
	assert_tree_is_sound(v, v->root, &nodes);
	assert_int_equal(nodes, v->node_count);
	assert_int_equal(nodes, v->file_count + v->directory_count);
	for (size_t i = 0; i < v->file_count; i++)
		assert_int_equal(v->files[i]->file_index, i);
}

static void test_tree(void **state)
{
	static const char *const names[] = {
		"a.gguf.0123456789abcdef.sealed",
		"a.gguf.seal",
		"deep/er/b.gguf.seal",
		"deep/c.seal.seal",
		"deep/c.sealed",
		"notes.txt",
		"deep/er/x/y/z.seal",
		"deep-er/d.seal",
		"deep.seal.d/e.seal",
		"unfinished.11.sealed",
		"sealed.seal",
	};
	_cleanup_(view_freep) struct view *v = build(names, ARRAY_LEN(names));

	assert_sound(v);
	assert_int_equal(v->file_count, 7);
	assert_int_equal(v->note_count, 0);
	assert_int_equal(walk(v, "a.gguf")->kind, VIEW_FILE);
	assert_string_equal(walk(v, "deep/er/b.gguf")->seal.name, "deep/er/b.gguf.seal");
	assert_string_equal(walk(v, "deep/c.seal")->name, "c.seal");
	assert_string_equal(walk(v, "sealed")->path, "sealed");
	assert_int_equal(walk(v, "deep")->subdirectory_count, 1);
	assert_int_equal(v->root->subdirectory_count, 3);
	assert_null(walk(v, "notes.txt"));
	assert_null(walk(v, "deep/c"));
	assert_null(walk(v, "a.gguf.0123456789abcdef"));
	assert_null(walk(v, "unfinished"));
}

static void test_file_order_is_path_order(void **state)
{
	static const char *const names[] = {"b.seal", "a/z.seal", "a.b.seal", "a-b.seal",
					    "a/b/c.seal"};
	static const char *const want[] = {"a/b/c", "a/z", "a-b", "a.b", "b"};
	_cleanup_(view_freep) struct view *v = build(names, ARRAY_LEN(names));

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(v->files[i]->path, want[i]);
}

static void test_empty(void **state)
{
	_cleanup_(view_freep) struct view *v = build(NULL, 0);

	assert_sound(v);
	assert_int_equal(v->node_count, 1);
	assert_null(view_lookup(v->root, "x"));
}

static void test_names_that_cannot_be_shown(void **state)
{
	char longest[256 + 5] = {0}, longer[257 + 5] = {0}, deep[2 * 70 + 10] = {0};
	const char *const hidden[] = {
		".seal",	   "a/.seal",	  "/a.seal",  "a//b.seal",
		"../a.seal",	   "a/../b.seal", "./a.seal", "a/./b.seal",
		"..seal",	   "a/..seal",	  "...seal",  "\xff.seal",
		"a/\xc0\xaf.seal", "\xff/a.seal", longer,     deep,
	};
	const char *good[] = {"fine.seal", "....seal", ".hidden.seal", longest};

	memset(longest, 'x', 255);
	memcpy(longest + 255, ".seal", sizeof(".seal"));
	memset(longer, 'x', 256);
	memcpy(longer + 256, ".seal", sizeof(".seal"));
	for (size_t i = 0; i < 66; i++)
		memcpy(deep + 2 * i, "d/", 2);
	memcpy(deep + (size_t)2 * 66, "f.seal", sizeof("f.seal"));
	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		const char *names[] = {hidden[i], "fine.seal"};
		_cleanup_(view_freep) struct view *v = build(names, 2);

		assert_sound(v);
		assert_int_equal(v->file_count, 1);
		assert_string_equal(v->files[0]->path, "fine");
		/* One that is no name at all is not even worth a note. */
		assert_true(v->note_count <= 1);
	}
	{
		_cleanup_(view_freep) struct view *v = build(good, ARRAY_LEN(good));

		assert_sound(v);
		assert_int_equal(v->file_count, ARRAY_LEN(good));
	}
}

static void test_notes_cannot_be_forged(void **state)
{
	static const char *const names[] = {"x\n\x1b[2J/..seal",
					    "../\"fine\" is not shown: y.seal"};
	_cleanup_(view_freep) struct view *v = build(names, ARRAY_LEN(names));

	assert_int_equal(v->file_count, 0);
	for (size_t i = 0; i < v->note_count; i++) {
		assert_null(strchr(v->notes[i], '\n'));
		assert_null(strchr(v->notes[i], '\x1b'));
		assert_null(strstr(v->notes[i], "\"fine\""));
	}
}

/* A directory and a file of one name: the one file goes, not the many below. */
static void test_clash(void **state)
{
	static const char *const names[] = {"a.seal", "a/b.seal", "a/c.seal", "a/c/d.seal",
					    "a-.seal"};
	_cleanup_(view_freep) struct view *v = build(names, ARRAY_LEN(names));

	assert_sound(v);
	assert_int_equal(walk(v, "a")->kind, VIEW_DIRECTORY);
	assert_int_equal(walk(v, "a/b")->kind, VIEW_FILE);
	assert_int_equal(walk(v, "a/c")->kind, VIEW_DIRECTORY);
	assert_int_equal(walk(v, "a/c/d")->kind, VIEW_FILE);
	assert_int_equal(walk(v, "a-")->kind, VIEW_FILE);
	assert_int_equal(v->note_count, 2);
	assert_non_null(strstr(v->notes[0], "\"a.seal\""));
}

static void test_ten_thousand(void **state)
{
	enum { MANY = 10000 };
	struct source_listing l = {0};
	_cleanup_(view_freep) struct view *v = NULL;
	char name[64];

	for (int i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), i % 3 ? "m%05d.seal" : "dir%02d/m%05d.seal",
			       i % 3 ? i : i % 97, i);
		assert_int_equal(source_listing_add(&l, name, 1000, i, "v"), 0);
	}
	assert_int_equal(view_build(&l, &v, NULL), 0);
	source_listing_clear(&l);
	assert_int_equal(view_number(v), 0);
	assert_sound(v);
	assert_int_equal(v->file_count, MANY);
}

/* ---------------------------------------------------------------- heads */

struct store {
	struct memory_source memory;
	struct fixture model;
	char payload[64];
};

static void store_model(struct store *s, const char *name, bool sign)
{
	struct fixture_options o = {.length = 3 * 4096 + 1, .path = name, .sign = sign};
	char id[17];

	fixture_make(&o, &s->model);
	hex_encode(s->model.seal + 0x10, 8, id);
	(void)snprintf(s->payload, sizeof(s->payload), "%s.%s.sealed", name, id);
	memory_source_add(&s->memory, s->payload, s->model.payload, o.length, "p1");
}

static struct view *open_store(struct store *s, const struct owner_keys *owners)
{
	struct view_options o = {.source = &s->memory.source, .owners = owners};
	struct view *v = NULL;

	assert_int_equal(view_read(&o, &v, NULL), 0);
	assert_int_equal(view_number(v), 0);
	assert_sound(v);
	return v;
}

static void test_heads(void **state)
{
	struct store s;

	memory_source_init(&s.memory, false);
	store_model(&s, "m.gguf", false);
	memory_source_add(&s.memory, "m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
	{
		_cleanup_(view_freep) struct view *v = open_store(&s, NULL);
		const struct view_node *n = walk(v, "m.gguf");

		assert_null(n->broken);
		assert_int_equal(n->size, 3 * 4096 + 1);
		assert_int_equal(v->total_size, n->size);
		assert_int_equal(n->mtime_ns, 1234567890123456789);
		assert_memory_equal(n->facts.file_id, s.model.seal + 0x10, 32);
		assert_memory_equal(n->facts.sha256, s.model.seal + 0x40, 32);
		assert_memory_equal(n->facts.verity, s.model.seal + 0x90, 32);
	}
	fixture_done(&s.model);
}

static void test_inodes_are_stable(void **state)
{
	uint64_t file = 0, dir = 0;
	struct store s;

	memory_source_init(&s.memory, false);
	store_model(&s, "m.gguf", false);
	memory_source_add(&s.memory, "m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
	memory_source_add(&s.memory, "d/m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
	for (int i = 0; i < 2; i++) {
		_cleanup_(view_freep) struct view *v = open_store(&s, NULL);

		assert_true(i == 0 || walk(v, "m.gguf")->ino == file);
		assert_true(i == 0 || walk(v, "d")->ino == dir);
		file = walk(v, "m.gguf")->ino;
		dir = walk(v, "d")->ino;
		assert_true(walk(v, "d/m.gguf")->ino != file);
		/* A rewrapped seal is the same model. */
		s.memory.objects[1].version = "s2";
	}
	/* Sealed anew: another file id. */
	s.model.seal[0x10] ^= 1;
	{
		_cleanup_(view_freep) struct view *v = open_store(&s, NULL);

		assert_true(walk(v, "m.gguf")->ino != file);
		assert_true(walk(v, "d")->ino == dir);
	}
	fixture_done(&s.model);
}

static void assert_broken(struct store *s, const struct owner_keys *owners, int code,
			  const char *words)
{
	_cleanup_(view_freep) struct view *v = open_store(s, owners);
	const struct view_node *n = v->files[0];

	assert_non_null(n->broken);
	assert_int_equal(n->broken->code, code);
	assert_non_null(strstr(n->broken->text, words));
}

static void test_broken_models_stay_visible(void **state)
{
	_cleanup_(owner_keys_freep) struct owner_keys *owners = fixture_owner();
	struct memory_object *seal;
	struct store s;

	memory_source_init(&s.memory, false);
	store_model(&s, "m.gguf", false);
	seal = memory_source_add(&s.memory, "m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
	assert_broken(&s, owners, -EBADMSG, "unsigned");
	seal->name = "other.gguf.seal";
	assert_broken(&s, NULL, -EBADMSG, "stored under another name");
	seal->name = "m.gguf.seal";
	s.memory.objects[0].size--;
	assert_broken(&s, NULL, -EBADMSG, "wrong payload size");
	s.memory.objects[0].size++;
	s.memory.objects[0].name = "elsewhere";
	assert_broken(&s, NULL, -ENOENT, "is missing");
	s.memory.objects[0].name = s.payload;
	seal->size = 100;
	assert_broken(&s, NULL, -EPROTO, "malformed");
	seal->size = 0;
	assert_broken(&s, NULL, -EPROTO, "malformed");
	s.model.seal = realloc(s.model.seal, s.model.seal_size + 1);
	assert_non_null(s.model.seal);
	s.model.seal[s.model.seal_size] = 0;
	seal->data = s.model.seal;
	seal->size = s.model.seal_size + 1;
	assert_broken(&s, NULL, -EPROTO, "malformed");
	seal->size = s.model.seal_size;
	s.model.seal[0] ^= 1;
	assert_broken(&s, NULL, -EPROTO, "m.gguf.seal");
	fixture_done(&s.model);
}

static void test_signed_model(void **state)
{
	_cleanup_(owner_keys_freep) struct owner_keys *owners = fixture_owner();
	struct store s;

	memory_source_init(&s.memory, false);
	store_model(&s, "m.gguf", true);
	memory_source_add(&s.memory, "m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
	{
		_cleanup_(view_freep) struct view *v = open_store(&s, owners);

		assert_null(v->files[0]->broken);
	}
	s.model.seal[0x60] ^= 1;
	{
		_cleanup_(view_freep) struct view *v = open_store(&s, owners);

		assert_non_null(v->files[0]->broken);
	}
	fixture_done(&s.model);
}

struct source_fault {
	int code;
	atomic_uint left;
};

static int fail_hook(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
		     struct error *err)
{
	struct source_fault *f = arg;
	unsigned left = atomic_load(&f->left);

	while (left > 0)
		if (atomic_compare_exchange_weak(&f->left, &left, left - 1))
			return f->code;
	return 0;
}

/* An object that may not be read is that object's trouble; a source that is gone is everybody's. */
static void test_failing_source(void **state)
{
	static const struct {
		int code, result;
	} cases[] = {{-EACCES, 0},
		     {-ENOENT, 0},
		     {-ETIMEDOUT, -ETIMEDOUT},
		     {-ENODATA, 0},
		     {-ECONNREFUSED, -ECONNREFUSED},
		     {-EREMOTEIO, -EREMOTEIO}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct source_fault fault = {.code = cases[i].code, .left = 1};
		_cleanup_(view_freep) struct view *v = NULL;
		struct error err = {0};
		struct view_options o = {0};
		struct store s;

		memory_source_init(&s.memory, false);
		store_model(&s, "m.gguf", false);
		memory_source_add(&s.memory, "m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
		s.memory.hook = fail_hook;
		s.memory.hook_arg = &fault;
		o.source = &s.memory.source;
		assert_int_equal(view_read(&o, &v, &err), cases[i].result);
		if (cases[i].result == 0)
			assert_int_equal(v->files[0]->broken->code, cases[i].code);
		else
			assert_non_null(strstr(err.message, "m.gguf.seal"));
		fixture_done(&s.model);
	}
}

/* Published anew between listing and reading: the new one is taken. */
static int republish_hook(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
			  struct error *err)
{
	struct memory_object *seal = arg;

	if (strcmp(seal->version, "s1") != 0)
		return 0;
	seal->version = "s2";
	return -ESTALE;
}

static void test_republished_while_mounting(void **state)
{
	struct memory_object *seal;
	struct store s;

	memory_source_init(&s.memory, false);
	store_model(&s, "m.gguf", false);
	seal = memory_source_add(&s.memory, "m.gguf.seal", s.model.seal, s.model.seal_size, "s1");
	s.memory.hook = republish_hook;
	s.memory.hook_arg = seal;
	{
		_cleanup_(view_freep) struct view *v = open_store(&s, NULL);

		assert_null(v->files[0]->broken);
		assert_string_equal(v->files[0]->seal.version, "s2");
	}
	fixture_done(&s.model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_file_order_is_path_order),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_names_that_cannot_be_shown),
		cmocka_unit_test(test_notes_cannot_be_forged),
		cmocka_unit_test(test_clash),
		cmocka_unit_test(test_ten_thousand),
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_inodes_are_stable),
		cmocka_unit_test(test_broken_models_stay_visible),
		cmocka_unit_test(test_signed_model),
		cmocka_unit_test(test_failing_source),
		cmocka_unit_test(test_republished_while_mounting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
