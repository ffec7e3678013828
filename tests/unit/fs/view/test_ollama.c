/* fs/view: Ollama's names, manifests, descriptions, and the store that is made of them. */
#include "fs/view/gguf_name.h"
#include "fs/view/ollama_store.h"

#include "crypto/base/cursor.h"
#include "crypto/digest.h"
#include "fs/view/nodes.h"
#include "tests/unit/base/test.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- names */

static void test_names_parse(void **state)
{
	static const struct {
		const char *text, *full;
	} good[] = {
		{"tiny", "registry.ollama.ai/library/tiny:latest"},
		{"tiny:8b", "registry.ollama.ai/library/tiny:8b"},
		{"acme/Tiny.v1", "registry.ollama.ai/acme/Tiny.v1:latest"},
		{"kms.example/acme/deep:q8", "kms.example/acme/deep:q8"},
		{"localhost:5000/a/b", "localhost:5000/a/b:latest"},
		{"localhost:5000/a/b:c", "localhost:5000/a/b:c"},
		{"_/_:_", "registry.ollama.ai/_/_:_"},
	};
	static const char *const bad[] = {
		"",	    "/",       ":",	   "a:",    ":b",    "a/",	"/a",
		"a//b",	    ".",       "..",	   "../a",  "a/..",  "a/../b",	"-a",
		".a",	    "a b",     "a\nb",	   "a:b:c", "n.s/a", "a/b/c/d", "http://h/n/m",
		"\xc3\xa4", "a/b:c/d", "a@sha256", "a:..",  "a\\b",  "a*",	"h/n:m/x/y",
	};
	char long_part[OLLAMA_PART_MAX + 2], full[OLLAMA_NAME_MAX + 1];
	struct ollama_name n;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_null(ollama_name_parse(good[i].text, &n));
		ollama_name_full(&n, full);
		assert_string_equal(full, good[i].full);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(ollama_name_parse(bad[i], &n));
	memset(long_part, 'x', sizeof(long_part));
	long_part[OLLAMA_PART_MAX + 1] = '\0';
	assert_non_null(ollama_name_parse(long_part, &n));
	long_part[OLLAMA_PART_MAX] = '\0';
	assert_null(ollama_name_parse(long_part, &n));
}

static void assert_path_name(const char *path, const char *want)
{
	char text[OLLAMA_NAME_MAX + 1];
	struct ollama_name n;

	assert_int_equal(ollama_name_of_path(path, false, &n), 0);
	ollama_name_short(&n, text);
	assert_string_equal(text, want);
}

static void test_names_of_paths(void **state)
{
	assert_path_name("mistral-7b.gguf", "mistral-7b");
	assert_path_name("mistral-7b.Q4_K_M.GGUF", "mistral-7b.Q4_K_M");
	assert_path_name("prod/Llama 3 (8B).gguf", "prod/Llama-3-8B");
	assert_path_name("a.b/c/x.gguf", "a-b-c/x");
	assert_path_name("-._x.gguf", "_x");
	assert_path_name("x.-.gguf", "x");
	assert_path_name("...gguf", "model");
	assert_path_name("\xe6\xa8\xa1.gguf", "model");
	assert_path_name("\xe6\xa8\xa1/m", "m");
	assert_path_name("library/m.gguf", "m");
	assert_path_name("m:8b.gguf", "m-8b");
	assert_path_name(".gguf", "gguf");
}

/* Whatever bytes: a name that Ollama takes, and so does our own parser. */
static void test_any_path_has_a_valid_name(void **state)
{
	char path[400], full[OLLAMA_NAME_MAX + 1];
	unsigned seed = 1;

	for (int i = 0; i < 20000; i++) {
		size_t size = 1 + (size_t)i % (sizeof(path) - 1);
		struct ollama_name n, again;

		for (size_t k = 0; k < size; k++) {
			seed = seed * 1103515245U + 12345U;
			path[k] = i % 3 ? (char)(1 + seed / 65536 % 255)
					: "a.-/Z9_: "[seed / 65536 % 9];
		}
		path[size] = '\0';
		assert_int_equal(ollama_name_of_path(path, i % 2, &n), 0);
		ollama_name_full(&n, full);
		assert_null(ollama_name_parse(full, &again));
		assert_int_equal(ollama_name_compare(&n, &again), 0);
	}
}

static void test_gguf_names(void **state)
{
	struct gguf_shard shard;

	assert_true(gguf_is_name("a.gguf"));
	assert_true(gguf_is_name("x/y.GgUf"));
	assert_false(gguf_is_name(".gguf"));
	assert_false(gguf_is_name("x/.gguf"));
	assert_false(gguf_is_name("a.gguf.ollama"));
	assert_false(gguf_is_name("agguf"));
	assert_true(gguf_parse_shard("d/x-00002-of-00005.gguf", &shard));
	assert_int_equal(shard.number, 2);
	assert_false(gguf_parse_shard("x-00006-of-00005.gguf", &shard));
}

/* ---------------------------------------------------------------- descriptions */

static const uint8_t model_bytes[] = "GGUF, as far as anybody here can tell";

static void model_digest(uint8_t out[SHA256_SIZE])
{
	assert_int_equal(digest_buffer(DIGEST_SHA256, model_bytes, sizeof(model_bytes), out), 0);
}

/* Two blobs and a model; the caller frees. */
static size_t make_description(const char *name, uint8_t **ret)
{
	static const char config[] = "{}", text[] = "You are a test.";
	struct ollama_manifest m = {.has_config = true, .layer_count = 2};
	struct ollama_description d = {.blob_count = 2};
	_cleanup_free_ char *manifest = NULL;
	size_t size = 0;

	assert_null(ollama_name_parse(name, &d.name));
	assert_int_equal(ollama_layer_set(&m.config, OLLAMA_CONFIG_TYPE, config, 2), 0);
	assert_int_equal(ollama_layer_set(&m.layers[0], OLLAMA_IMAGE "model", model_bytes,
					  sizeof(model_bytes)),
			 0);
	assert_int_equal(ollama_layer_set(&m.layers[1], OLLAMA_IMAGE "system", text, strlen(text)),
			 0);
	manifest = ollama_manifest_make(&m);
	assert_non_null(manifest);
	d.manifest_bytes = (const uint8_t *)manifest;
	d.manifest_size = strlen(manifest);
	/* Their order does not matter, nor one that nobody names. */
	d.blobs[0] = (struct ollama_blob){(const uint8_t *)text, strlen(text), {0}};
	d.blobs[1] = (struct ollama_blob){(const uint8_t *)config, 2, {0}};
	assert_int_equal(ollama_description_make(&d, ret, &size, NULL), 0);
	return size;
}

static int parse(const uint8_t *bytes, size_t size, const uint8_t model[SHA256_SIZE],
		 struct ollama_description **ret)
{
	uint8_t *copy = malloc(size + 1);

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	return ollama_description_parse(copy, size, model, ret, NULL);
}

static void test_description(void **state)
{
	_cleanup_(ollama_description_freep) struct ollama_description *d = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t model[SHA256_SIZE];
	size_t size = make_description("acme/test:1", &bytes);

	model_digest(model);
	assert_int_equal(parse(bytes, size, model, &d), 0);
	assert_string_equal(d->name.space, "acme");
	assert_int_equal(d->blob_count, 2);
	assert_int_equal(d->blobs[0].size, 2);
	assert_memory_equal(d->blobs[1].data, "You are a test.", d->blobs[1].size);
	assert_int_equal(d->manifest->layer_count, 2);
	model[0] ^= 1;
	{
		struct ollama_description *other = NULL;

		assert_int_equal(parse(bytes, size, model, &other), -EPROTO);
		assert_null(other);
	}
}

/* No byte of it can change, be missing or be added, but those of the name. */
static void test_description_has_one_encoding(void **state)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t model[SHA256_SIZE];
	size_t size = make_description("acme/test:1", &bytes), refused = 0;

	model_digest(model);
	for (size_t at = 0; at < size; at++) {
		struct ollama_description *d = NULL;

		assert_int_equal(parse(bytes, at, model, &d), -EPROTO);
		bytes[at] ^= 0x80;
		refused += parse(bytes, size, model, &d) == -EPROTO;
		assert_null(d);
		bytes[at] ^= 0x80;
	}
	assert_int_equal(refused, size);
	{
		_cleanup_free_ uint8_t *longer = calloc(1, size + 1);
		struct ollama_description *d = NULL;

		memcpy(longer, bytes, size);
		assert_int_equal(parse(longer, size + 1, model, &d), -EPROTO);
	}
}

static void test_manifests_refused(void **state)
{
#define LAYER(kind, digest, size) \
	"{\"mediaType\":\"" OLLAMA_IMAGE kind "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"layers\":{}}",
		"{\"layers\":[]}",
		"{\"layers\":[1]}",
		"{\"layers\":[" LAYER("system", "sha256:" ZEROS, "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256-" ZEROS, "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS "0", "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:../../../../etc/passwd", "1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "-1") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "1.0") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "17592186044417") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "\"1\"") "]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS, "1") "],\"layers\":[]}",
		"{\"layers\":[" LAYER("model", "sha256:" ZEROS,
				      "1") "," LAYER("model", "sha256:" ZEROS, "1") "]}",
		"{\"config\":{\"digest\":\"x\"},\"layers\":[" LAYER("model", "sha256:" ZEROS,
								    "1") "]}",
	};
	static const char good[] = "{\"config\":{\"digest\":\"\"},\"layers\":[" LAYER(
		"model", "sha256:" ZEROS, "1") "]}\n";
	struct ollama_manifest *m = NULL;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(ollama_manifest_parse(bad[i], strlen(bad[i]), &m, NULL), -EPROTO);
	assert_null(m);
	assert_int_equal(ollama_manifest_parse(good, strlen(good), &m, NULL), 0);
	assert_false(m->has_config);
	free(m);
}

/* ---------------------------------------------------------------- the store */

static struct view *make_view(const char *const *names, size_t count)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	struct view *v = NULL;

	l.objects = calloc(count + 1, sizeof(*l.objects));
	for (; l.count < count; l.count++)
		assert_true(asprintf(&l.objects[l.count].name, "%s.seal", names[l.count]) > 0);
	assert_int_equal(view_build(&l, &v, NULL), 0);
	assert_int_equal(view_pair_descriptions(v), 0);
	for (size_t i = 0; i < v->file_count; i++) {
		struct view_node *n = v->files[i];

		n->size = 1000 + i;
		n->mtime_ns = (int64_t)i + 1;
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
	assert_int_equal(count_entries(v, "ollama/manifests"), 0);
	assert_int_equal(view_number(v), 0);
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
		cmocka_unit_test(test_names_parse),
		cmocka_unit_test(test_names_of_paths),
		cmocka_unit_test(test_any_path_has_a_valid_name),
		cmocka_unit_test(test_gguf_names),
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_description_has_one_encoding),
		cmocka_unit_test(test_manifests_refused),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_when_there_is_a_store),
		cmocka_unit_test(test_descriptions_leave_the_tree),
		cmocka_unit_test(test_thousands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
