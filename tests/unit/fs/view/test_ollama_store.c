/* fs/view/ollama_store: the store that is made of models and their descriptions. */
#include "fs/view/ollama_store.h"

#include "crypto/base/digest.h"
#include "fs/view/nodes.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static struct view *make_view(const char *const *names, size_t count)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	struct view *v = NULL;

	l.objects = calloc(count + 1, sizeof(*l.objects));
	for (; l.count < count; l.count++) {
		l.objects[l.count].version = "v";
		assert_true(asprintf(&l.objects[l.count].name, "%s.seal", names[l.count]) > 0);
	}
	assert_int_equal(view_build(&l, &v, NULL), 0);
	assert_int_equal(view_pair_descriptions(v), 0);
	for (size_t i = 0; i < v->file_count; i++) {
		struct view_node *n = v->files[i];

		n->size = 1000 + i;
		n->mtime_ns = (int64_t)i + 1;
		n->stated = strdup("gguf.tensor-data=complete\nkind=gguf\n");
		assert_int_equal(
			digest_buffer(DIGEST_SHA256, n->path, strlen(n->path), n->facts.sha256), 0);
	}
	return v;
}

static const struct view_node *find(const struct view *v, const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	const struct view_node *n = v->root;
	char *save = NULL;

	for (char *part = strtok_r(copy, "/", &save); n && part; part = strtok_r(NULL, "/", &save))
		n = n->kind == VIEW_DIRECTORY ? view_lookup(n, part) : NULL;
	return n;
}

static size_t count_entries(const struct view *v, const char *path)
{
	const struct view_node *n = find(v, path);

	return n ? n->child_count : 0;
}

static void test_store(void **state)
{
	static const char *const names[] = {"a.gguf", "deep/b.gguf", "notes.txt",
					    "s-00001-of-00002.gguf", "s-00002-of-00002.gguf"};
	struct ollama_description *none[5] = {0};
	_cleanup_(view_freep) struct view *v = make_view(names, ARRAY_LEN(names));
	const struct view_node *a = find(v, "a.gguf"), *manifest;
	char blob[OLLAMA_BLOB_NAME_SIZE], path[200];

	assert_int_equal(ollama_store_add(v, OLLAMA_AUTO, none), 0);
	assert_int_equal(view_number(v), 0);
	manifest = find(v, "ollama/manifests/registry.ollama.ai/library/a/latest");
	assert_int_equal(manifest->kind, VIEW_BYTES);
	assert_int_equal(manifest->mtime_ns, a->mtime_ns);
	assert_non_null(find(v, "ollama/manifests/registry.ollama.ai/deep/b/latest"));
	ollama_blob_name(a->facts.sha256, blob);
	(void)snprintf(path, sizeof(path), "ollama/blobs/%s", blob);
	assert_ptr_equal(find(v, path), a);
	assert_int_equal(a->link_count, 2);
	/* Two models and the configuration that both have. */
	assert_int_equal(count_entries(v, "ollama/blobs"), 3);
	assert_int_equal(v->note_count, 1);
	assert_non_null(strstr(v->notes[0], "s-00001-of-00002.gguf"));
	/* by_ino holds each node once. */
	assert_ptr_equal(view_by_ino(v, a->ino), a);
	for (size_t i = 1; i < v->node_count; i++)
		assert_true(v->by_ino[i - 1]->ino < v->by_ino[i]->ino);
}

/* Of two with the same bytes the one that can be opened has the blob. */
static void test_same_bytes(void **state)
{
	static const char *const names[] = {"a.gguf", "b.gguf", "c.gguf"};
	struct ollama_description *none[3] = {0};

	for (size_t doubtful = 0; doubtful < 4; doubtful++) {
		_cleanup_(view_freep) struct view *v = make_view(names, ARRAY_LEN(names));
		size_t wanted = doubtful == 0 ? 1 : doubtful == 1 ? 2 : 0;

		for (size_t i = 1; i < 3; i++) {
			v->files[i]->size = v->files[0]->size;
			v->files[i]->facts = v->files[0]->facts;
		}
		for (size_t i = 0; i < 3; i++)
			v->files[i]->doubtful = i <= doubtful;
		assert_int_equal(ollama_store_add(v, OLLAMA_AUTO, none), 0);
		assert_int_equal(count_entries(v, "ollama/manifests/registry.ollama.ai/library"),
				 3);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(v->files[i]->link_count, i == wanted ? 2 : 1);
	}
}

/* What the seal states decides, not the name. */
static void test_what_is_no_model(void **state)
{
	static const struct {
		const char *facts, *word;
	} cases[] = {
		{NULL, "--no-facts"},
		{"kind=other\n", "is not a GGUF"},
		{"kind=safetensors\n", "is not a GGUF"},
		{"gguf.version=3\nkind=gguf\n", "malformed"},
		{"gguf.tensor-data=truncated\nkind=gguf\n", "ends before"},
		{"gguf.split-count=2\ngguf.tensor-data=complete\nkind=gguf\n", "split"},
		{"gguf.tensor-data=complete\ngguf.type=mmproj\nkind=gguf\n", "projector"},
		{"gguf.architecture=clip\ngguf.tensor-data=complete\nkind=gguf\n", "projector"},
		{"gguf.tensor-data=complete\ngguf.type=adapter\nkind=gguf\n", "adapter"},
	};
	static const char *const names[] = {"bad.gguf", "good.gguf"};
	struct ollama_description *none[2] = {0};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(view_freep) struct view *v = make_view(names, ARRAY_LEN(names));

		free(v->files[0]->stated);
		v->files[0]->stated = cases[i].facts ? strdup(cases[i].facts) : NULL;
		assert_int_equal(ollama_store_add(v, OLLAMA_AUTO, none), 0);
		assert_int_equal(view_number(v), 0);
		assert_int_equal(count_entries(v, "ollama/manifests/registry.ollama.ai/library"),
				 1);
		assert_int_equal(v->note_count, 1);
		assert_non_null(strstr(v->notes[0], cases[i].word));
		assert_non_null(find(v, "bad.gguf"));
		assert_int_equal(count_entries(v, "ollama/manifests-v2"), 1);
	}
}

static void test_when_there_is_a_store(void **state)
{
	static const char *const plain[] = {"notes.txt"}, *const clash[] = {"m.gguf", "ollama"};
	static const char *const inner[] = {"m.gguf", "ollama/blobs/x"};
	static const char *const beside[] = {"m.gguf", "ollama/x"};
	static const struct {
		const char *const *names;
		size_t count;
		enum ollama_mode mode;
		bool store;
		size_t notes;
	} cases[] = {
		{plain, 1, OLLAMA_AUTO, false, 0}, {plain, 1, OLLAMA_ON, true, 0},
		{plain, 0, OLLAMA_ON, true, 0},	   {clash, 1, OLLAMA_AUTO, true, 0},
		{clash, 1, OLLAMA_OFF, false, 0},  {clash, 2, OLLAMA_ON, false, 1},
		{inner, 2, OLLAMA_ON, false, 1},   {beside, 2, OLLAMA_AUTO, true, 0},
	};
	struct ollama_description *none[2] = {0};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_(view_freep) struct view *v = make_view(cases[i].names, cases[i].count);

		assert_int_equal(ollama_store_add(v, cases[i].mode, none), 0);
		assert_int_equal(view_number(v), 0);
		assert_int_equal(find(v, "ollama/manifests") != NULL, cases[i].store);
		assert_int_equal(v->note_count, cases[i].notes);
	}
}

static void test_descriptions_leave_the_tree(void **state)
{
	static const char *const names[] = {"a.gguf",	"a.gguf.ollama", "a.gguf.ollama.ollama",
					    "b.ollama", "d/c",		 "d/c.ollama"};
	struct ollama_description *none[6] = {0};
	_cleanup_(view_freep) struct view *v = make_view(names, ARRAY_LEN(names));

	assert_int_equal(v->file_count, 4);
	assert_null(find(v, "a.gguf.ollama"));
	assert_non_null(find(v, "a.gguf")->description);
	assert_non_null(find(v, "a.gguf.ollama.ollama"));
	assert_non_null(find(v, "b.ollama"));
	assert_string_equal(find(v, "d/c")->description->path, "d/c.ollama");
	/* Descriptions that could not be had: no manifest, and none by another name. */
	assert_int_equal(ollama_store_add(v, OLLAMA_AUTO, none), 0);
	assert_int_equal(count_entries(v, "ollama/manifests"), 1);
	assert_int_equal(find(v, "ollama/manifests/README")->kind, VIEW_BYTES);
	assert_int_equal(view_number(v), 0);
}

static void set_layer(struct ollama_layer *layer, const char *type, const struct view_node *n)
{
	(void)snprintf(layer->type, sizeof(layer->type), "%s", type);
	memcpy(layer->sha256, n->facts.sha256, SHA256_SIZE);
	layer->size = n->size;
}

/* a.gguf is described with b.gguf as its projector; the number of notes. */
static size_t add_pair(int owner_a, int owner_b, bool *ret_a, bool *ret_b)
{
	static const char *const names[] = {"a.gguf", "a.gguf.ollama", "b.gguf"};
	_cleanup_(view_freep) struct view *v = make_view(names, ARRAY_LEN(names));
	struct ollama_manifest m = {.layer_count = 2};
	struct ollama_description d = {
		.manifest = &m, .manifest_bytes = (const uint8_t *)"{}", .manifest_size = 2};
	struct ollama_description *descriptions[2] = {&d, NULL};

	v->files[0]->owner = v->files[0]->description->owner = owner_a;
	v->files[1]->owner = owner_b;
	set_layer(&m.layers[0], OLLAMA_IMAGE "model", v->files[0]);
	set_layer(&m.layers[1], OLLAMA_IMAGE "projector", v->files[1]);
	assert_null(ollama_name_parse("seer", &d.name));
	assert_int_equal(ollama_store_add(v, OLLAMA_ON, descriptions), 0);
	*ret_a = find(v, "ollama/manifests/registry.ollama.ai/library/seer/latest") != NULL;
	*ret_b = find(v, "ollama/manifests/registry.ollama.ai/library/b/latest") != NULL;
	return v->note_count;
}

static void test_parts_of_other_owners(void **state)
{
	bool a, b;

	assert_int_equal(add_pair(0, 0, &a, &b), 0);
	assert_true(a && !b); /* a part of one's own */
	assert_int_equal(add_pair(1, 0, &a, &b), 0);
	assert_true(a && b); /* a later owner hides nothing */
	assert_int_equal(add_pair(0, 1, &a, &b), 1);
	assert_true(!a && b); /* and gives nothing */
}

static void test_thousands(void **state)
{
	enum { MANY = 6000 };
	const char **names = calloc(MANY, sizeof(*names));
	struct ollama_description **none = calloc(MANY, sizeof(*none));
	struct view *v;

	for (int i = 0; i < MANY; i++) {
		char *name = NULL;

		assert_true(asprintf(&name, "m%05d.gguf", i) > 0);
		names[i] = name;
	}
	v = make_view(names, MANY);
	assert_int_equal(ollama_store_add(v, OLLAMA_AUTO, none), 0);
	assert_int_equal(view_number(v), 0);
	assert_int_equal(count_entries(v, "ollama/blobs"), MANY + 1);
	assert_int_equal(count_entries(v, "ollama/manifests/registry.ollama.ai/library"), MANY);
	view_free(v);
	for (int i = 0; i < MANY; i++)
		free((void *)(uintptr_t)names[i]);
	free(names);
	free(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_same_bytes),
		cmocka_unit_test(test_what_is_no_model),
		cmocka_unit_test(test_when_there_is_a_store),
		cmocka_unit_test(test_descriptions_leave_the_tree),
		cmocka_unit_test(test_parts_of_other_owners),
		cmocka_unit_test(test_thousands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
