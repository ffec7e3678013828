/*
 * Ollama's store. Job: names and manifests for the models that Ollama can take, whatever the source
 * holds, always in the same way: explicit names first, both in path order. Trusts the descriptions
 * to be parsed. Must never show a manifest whose blobs are not all there, nor an empty directory
 * below manifests: Ollama would try to remove it, and end.
 */
#include "fs/view/ollama_store.h"

#include "crypto/name.h"
#include "fs/view/gguf_name.h"
#include "fs/view/nodes.h"

#include <errno.h>
#include <search.h>
#include <string.h>

/* Magic, version and the two counts: nothing shorter is a GGUF. */
#define GGUF_SIZE_MIN 24

struct store {
	struct view *view;
	struct ollama_description *const *descriptions;
	struct view_node *blobs, *manifests;
	struct view_node **by_digest; /* files that can be opened, by SHA-256, then path */
	size_t by_digest_count;
	bool *is_part; /* by file_index: another model's projector or the like */
	void *names;   /* tsearch() tree of struct ollama_name */
};

static int compare_names(const void *a, const void *b)
{
	return ollama_name_compare(a, b);
}

static void store_clear(struct store *s)
{
	free(s->by_digest);
	free(s->is_part);
	tdestroy(s->names, free);
}

static int compare_digest(const struct view_node *n, const uint8_t sha256[SHA256_SIZE],
			  uint64_t size)
{
	int order = memcmp(n->facts.sha256, sha256, SHA256_SIZE);

	return order ? order : (n->size > size) - (n->size < size);
}

static int compare_digests(const void *a, const void *b)
{
	const struct view_node *x = *(struct view_node *const *)a;
	const struct view_node *y = *(struct view_node *const *)b;
	int order = compare_digest(x, y->facts.sha256, y->size);

	if (order)
		return order;
	return x->file_index < y->file_index ? -1 : x->file_index > y->file_index;
}

static int index_digests(struct store *s)
{
	struct view *v = s->view;

	s->by_digest = calloc(v->file_count + 1, sizeof(struct view_node *));
	s->is_part = calloc(v->file_count + 1, sizeof(bool));
	if (!s->by_digest || !s->is_part)
		return -ENOMEM;
	for (size_t i = 0; i < v->file_count; i++)
		if (!v->files[i]->broken)
			s->by_digest[s->by_digest_count++] = v->files[i];
	qsort(s->by_digest, s->by_digest_count, sizeof(struct view_node *), compare_digests);
	return 0;
}

/* The place of the first file with these bytes in by_digest, where there is one. */
static size_t find_digest(const struct store *s, const struct ollama_layer *layer)
{
	size_t from = 0, to = s->by_digest_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (compare_digest(s->by_digest[middle], layer->sha256, layer->size) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool has_digest(const struct store *s, size_t place, const struct ollama_layer *layer)
{
	return place < s->by_digest_count &&
	       compare_digest(s->by_digest[place], layer->sha256, layer->size) == 0;
}

static struct view_node *find_file(const struct store *s, const struct ollama_layer *layer)
{
	size_t place = find_digest(s, layer);

	return has_digest(s, place, layer) ? s->by_digest[place] : NULL;
}

/* Projectors, adapters and drafts are no models of their own. */
static void mark_parts(struct store *s, const struct ollama_manifest *m)
{
	for (size_t i = 0; i < m->layer_count; i++) {
		size_t place = find_digest(s, &m->layers[i]);

		for (; i != m->model && has_digest(s, place, &m->layers[i]); place++)
			s->is_part[s->by_digest[place]->file_index] = true;
	}
}

static const struct ollama_blob *find_blob(const struct ollama_description *d,
					   const struct ollama_layer *layer)
{
	for (size_t i = 0; i < d->blob_count; i++)
		if (d->blobs[i].size == layer->size &&
		    memcmp(d->blobs[i].sha256, layer->sha256, SHA256_SIZE) == 0)
			return &d->blobs[i];
	return NULL;
}

static int64_t manifest_mtime(const struct view_node *n)
{
	return n->description ? MAX(n->mtime_ns, n->description->mtime_ns) : n->mtime_ns;
}

static int ignore_existing(int r)
{
	return r == -EEXIST ? 0 : r;
}

/* One entry of a manifest; -ENOENT: nobody has its bytes. n: whose manifest it is. */
static int add_blob(struct store *s, const struct view_node *n, const struct ollama_description *d,
		    const struct ollama_layer *layer, bool dry)
{
	const struct ollama_blob *blob = find_blob(d, layer);
	struct view_node *file = blob ? NULL : find_file(s, layer);
	char name[OLLAMA_BLOB_NAME_SIZE];

	if (!blob && !file)
		return -ENOENT;
	if (dry)
		return 0;
	ollama_blob_name(layer->sha256, name);
	return ignore_existing(blob ? view_add_bytes(s->view, s->blobs, name, blob->data,
						     blob->size, manifest_mtime(n))
				    : view_add_link(s->blobs, name, file));
}

static int add_blobs(struct store *s, const struct view_node *n, const struct ollama_description *d,
		     bool dry)
{
	const struct ollama_manifest *m = d->manifest;
	int r = m->has_config ? add_blob(s, n, d, &m->config, dry) : 0;

	for (size_t i = 0; r == 0 && i < m->layer_count; i++)
		r = add_blob(s, n, d, &m->layers[i], dry);
	return r;
}

static int go_down(struct store *s, struct view_node **dir, const char *name)
{
	struct view_node *child = view_child(*dir, name);
	int r = child ? 0 : view_add_directory(s->view, *dir, name, &child);

	*dir = child;
	return r;
}

static int add_manifest(struct store *s, const struct view_node *n, const struct ollama_name *name,
			const struct ollama_description *d)
{
	struct view_node *dir = s->manifests;
	int r = go_down(s, &dir, name->host);

	if (r == 0)
		r = go_down(s, &dir, name->space);
	if (r == 0)
		r = go_down(s, &dir, name->model);
	if (r == 0)
		r = view_add_bytes(s->view, dir, name->tag, d->manifest_bytes, d->manifest_size,
				   manifest_mtime(n));
	return r;
}

/* 1: it is free, and now taken. */
static int take_name(struct store *s, const struct ollama_name *name)
{
	struct ollama_name *copy, **found;

	if (tfind(name, &s->names, compare_names))
		return 0;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *name;
	found = tsearch(copy, &s->names, compare_names);
	if (!found) {
		free(copy);
		return -ENOMEM;
	}
	return 1;
}

/* For a model whose first choice is taken. */
static int find_other_name(struct store *s, const struct view_node *n, struct ollama_name *name)
{
	char taken[OLLAMA_NAME_MAX + 1], given[OLLAMA_NAME_MAX + 1];
	char path[NAME_PRINTABLE_SIZE];
	int r;

	ollama_name_short(name, taken);
	r = ollama_name_of_path(n->path, true, name);
	if (r == 0)
		r = take_name(s, name);
	if (r < 0)
		return r;
	name_printable(n->path, path);
	ollama_name_short(name, given);
	if (r == 0)
		return view_note(s->view,
				 "\"%s\" is not in the Ollama store: the names %s and %s are taken",
				 path, taken, given);
	r = view_note(s->view, "\"%s\" is %s in the Ollama store: the name %s is taken", path,
		      given, taken);
	return r < 0 ? r : 1;
}

static int add_model(struct store *s, const struct view_node *n, const struct ollama_name *wanted,
		     const struct ollama_description *d)
{
	struct ollama_name name = *wanted;
	char path[NAME_PRINTABLE_SIZE];
	int r = add_blobs(s, n, d, true);

	if (r == -ENOENT) {
		name_printable(n->path, path);
		return view_note(s->view,
				 "\"%s\" is not in the Ollama store: a blob of its manifest is not "
				 "there",
				 path);
	}
	r = take_name(s, &name);
	if (r == 0)
		r = find_other_name(s, n, &name);
	if (r <= 0)
		return r;
	r = add_blobs(s, n, d, false);
	return r < 0 ? r : add_manifest(s, n, &name, d);
}

/* A model that nobody has described: its GGUF and the plainest of configurations. */
static int add_plain_model(struct store *s, const struct view_node *n)
{
	struct ollama_manifest m = {.has_config = true, .layer_count = 1};
	struct ollama_description d = {.manifest = &m, .blob_count = 1};
	_cleanup_free_ char *text = NULL;
	int r = ollama_layer_set(&m.config, OLLAMA_CONFIG_TYPE, OLLAMA_PLAIN_CONFIG,
				 sizeof(OLLAMA_PLAIN_CONFIG) - 1);

	d.blobs[0].data = (const uint8_t *)OLLAMA_PLAIN_CONFIG;
	d.blobs[0].size = sizeof(OLLAMA_PLAIN_CONFIG) - 1;
	memcpy(d.blobs[0].sha256, m.config.sha256, SHA256_SIZE);
	memcpy(m.layers[0].type, OLLAMA_IMAGE "model", sizeof(OLLAMA_IMAGE "model"));
	memcpy(m.layers[0].sha256, n->facts.sha256, SHA256_SIZE);
	m.layers[0].size = n->size;
	text = ollama_manifest_make(&m);
	if (r == 0 && !text)
		r = -ENOMEM;
	if (r < 0)
		return r;
	d.manifest_bytes = (const uint8_t *)text;
	d.manifest_size = strlen(text);
	r = ollama_name_of_path(n->path, false, &d.name);
	return r < 0 ? r : add_model(s, n, &d.name, &d);
}

static bool is_gguf(const struct view_node *n)
{
	return n->description || (gguf_is_name(n->path) && n->size >= GGUF_SIZE_MIN);
}

/* Parts of one file stand beside each other in path order: the first of them speaks for all. */
static int note_shard(struct store *s, size_t index, const struct gguf_shard *shard)
{
	const char *path = s->view->files[index]->path;
	const char *before = index > 0 ? s->view->files[index - 1]->path : "";
	char printable[NAME_PRINTABLE_SIZE];
	struct gguf_shard other;

	if (gguf_parse_shard(before, &other) && other.count == shard->count &&
	    other.number_at == shard->number_at && strncmp(before, path, other.number_at) == 0)
		return 0;
	name_printable(path, printable);
	return view_note(s->view,
			 "\"%s\" is not in the Ollama store, nor are its other parts: Ollama takes "
			 "no split GGUF",
			 printable);
}

/* 1: Ollama can take it. What is broken has its own line in the log. */
static int is_fit(struct store *s, size_t index, bool described)
{
	const struct view_node *n = s->view->files[index];
	struct gguf_shard shard;

	if (!is_gguf(n) || n->broken || !!n->description != described)
		return 0;
	if (gguf_parse_shard(n->path, &shard))
		return note_shard(s, index, &shard);
	return described || !s->is_part[index];
}

static int add_models(struct store *s)
{
	size_t count = s->view->file_count;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		if (s->descriptions[i])
			mark_parts(s, s->descriptions[i]->manifest);
	for (size_t i = 0; r >= 0 && i < count; i++) {
		const struct ollama_description *d = s->descriptions[i];

		r = is_fit(s, i, true);
		if (r > 0 && d)
			r = add_model(s, s->view->files[i], &d->name, d);
	}
	for (size_t i = 0; r >= 0 && i < count; i++) {
		r = is_fit(s, i, false);
		if (r > 0)
			r = add_plain_model(s, s->view->files[i]);
	}
	return MIN(r, 0);
}

static bool has_any(const struct view *v)
{
	for (size_t i = 0; i < v->file_count; i++)
		if (is_gguf(v->files[i]))
			return true;
	return false;
}

/* What the source itself has under this name stays, beside the store where that is possible. 0:
 * impossible. */
static int claim_directory(struct view *v, struct view_node **ret)
{
	struct view_node *dir = view_child(v->root, OLLAMA_DIRECTORY);
	int r;

	if (!dir) {
		r = view_add_directory(v, v->root, OLLAMA_DIRECTORY, ret);
		return r < 0 ? r : 1;
	}
	*ret = dir;
	if (dir->kind == VIEW_DIRECTORY && !view_child(dir, "blobs") &&
	    !view_child(dir, "manifests"))
		return 1;
	return view_note(v, "no Ollama store is shown: the source has \"%s\" of its own",
			 dir->kind == VIEW_DIRECTORY ? OLLAMA_DIRECTORY
				 "/blobs or " OLLAMA_DIRECTORY "/manifests"
						     : OLLAMA_DIRECTORY);
}

int ollama_store_add(struct view *v, enum ollama_mode mode,
		     struct ollama_description *const *descriptions)
{
	_cleanup_(store_clear) struct store s = {.view = v, .descriptions = descriptions};
	struct view_node *dir = NULL;
	int r;

	if (mode == OLLAMA_OFF || (mode == OLLAMA_AUTO && !has_any(v)))
		return 0;
	r = claim_directory(v, &dir);
	if (r <= 0)
		return r;
	r = view_add_directory(v, dir, "blobs", &s.blobs);
	if (r == 0)
		r = view_add_directory(v, dir, "manifests", &s.manifests);
	if (r == 0)
		r = index_digests(&s);
	if (r == 0)
		r = add_models(&s);
	/* An empty store is as old as what there is. */
	if (r == 0 && s.blobs->child_count == 0)
		s.blobs->mtime_ns = s.manifests->mtime_ns = dir->mtime_ns = v->root->mtime_ns;
	return r;
}
