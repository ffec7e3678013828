/*
 * Ollama's store. Job: names and manifests for the models that Ollama can load, in a fixed order:
 * owners as the configuration lists them; of each owner explicit names first; both in path order.
 * Trusts the descriptions to be parsed, but no owner about another owner's models: blobs are named
 * by digests that seals only state. Must never show a manifest with a blob that is missing or
 * belongs to another file, nor an empty directory below manifests: Ollama would try to remove it,
 * and exit.
 */
#include "fs/view/ollama_store.h"

#include "crypto/name.h"
#include "fs/formats/gguf_name.h"
#include "fs/view/nodes.h"
#include "fs/view/ollama_derive.h"
#include "fs/view/ollama_internal.h"
#include "fs/view/ollama_plain.h"

#include <errno.h>
#include <string.h>

/* Where newer versions of Ollama keep tags, beside the older place. */
#define MANIFESTS_V2 "manifests-v2"

/* Keeps a directory from being empty: Ollama would try to remove it, and exit. It is not four
 * levels deep, so it is not taken for a manifest. */
#define KEEPER "README"
#define KEEPER_TEXT "This file keeps Ollama from removing the directory.\n"

struct store {
	struct view *view;
	struct ollama_description *const *descriptions;
	struct view_node *blobs, *manifests;
	struct ollama_files files;
	struct ollama_names names;
	bool *is_part; /* by file_index: another model's projector or the like */
};

static void store_clear(struct store *s)
{
	ollama_files_clear(&s->files);
	ollama_names_clear(&s->names);
	free(s->is_part);
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

/* Whether the blob under this name has the wanted bytes, as far as this is known. */
static bool is_same(const struct view_node *was, const struct ollama_blob *blob,
		    const struct view_node *file)
{
	/* The digest of these bytes was computed here. */
	if (was->kind == VIEW_BYTES)
		return was->size == (blob ? blob->size : file->size);
	return file && was->size == file->size &&
	       memcmp(was->facts.verity, file->facts.verity, sizeof(file->facts.verity)) == 0;
}

/* One entry of a manifest. n: its model. -ENOENT: no file has its bytes; -EADDRINUSE: other bytes
 * have its name. */
static int add_blob(struct store *s, struct view_node *n, const struct ollama_description *d,
		    const struct ollama_layer *layer, bool dry)
{
	const struct ollama_blob *blob = find_blob(d, layer);
	struct view_node *file = blob ? NULL : ollama_files_find(&s->files, n, layer);
	const struct view_node *was;
	char name[OLLAMA_BLOB_NAME_SIZE];

	if (!blob && !file)
		return -ENOENT;
	ollama_blob_name(layer->sha256, name);
	was = view_child(s->blobs, name);
	if (was && !is_same(was, blob, file))
		return -EADDRINUSE;
	if (dry || was)
		return 0;
	return blob ? view_add_bytes(s->view, s->blobs, name, blob->data, blob->size,
				     manifest_mtime(n))
		    : view_add_link(s->view, s->blobs, name, file);
}

static int add_blobs(struct store *s, struct view_node *n, const struct ollama_description *d,
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

/* A name stays with its first owner; otherwise another owner's model would be run in its place. */
static int note_foreign_name(struct store *s, const struct view_node *n,
			     const struct ollama_name *name, const struct view_node *by)
{
	char path[NAME_PRINTABLE_SIZE], other[NAME_PRINTABLE_SIZE], taken[OLLAMA_NAME_MAX + 1];

	name_printable(n->path, path);
	name_printable(by->path, other);
	ollama_name_short(name, taken);
	return view_note(s->view,
			 "\"%s\" is not in the Ollama store: the name %s belongs to \"%s\", whose "
			 "owner comes first in the configuration",
			 path, taken, other);
}

/* For a model whose first choice is taken. */
static int find_other_name(struct store *s, const struct view_node *n, struct ollama_name *name)
{
	char taken[OLLAMA_NAME_MAX + 1], given[OLLAMA_NAME_MAX + 1];
	char path[NAME_PRINTABLE_SIZE];
	const struct view_node *by;
	int r;

	ollama_name_short(name, taken);
	r = ollama_name_of_path(n->path, true, name);
	if (r == 0)
		r = ollama_names_take(&s->names, name, n, false, &by);
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

static int note_blob(struct store *s, const struct view_node *n, const char *what)
{
	char path[NAME_PRINTABLE_SIZE];

	name_printable(n->path, path);
	return view_note(s->view, "\"%s\" is not in the Ollama store: %s", path, what);
}

static int add_model(struct store *s, struct view_node *n, const struct ollama_name *wanted,
		     const struct ollama_description *d)
{
	struct ollama_name name = *wanted;
	const struct view_node *by = NULL;
	int r = add_blobs(s, n, d, true);

	if (r == -ENOENT)
		return note_blob(s, n, "a blob of its manifest is missing");
	if (r == -EADDRINUSE)
		return note_blob(s, n,
				 "one of its blobs has the SHA-256 that an earlier model's seal "
				 "states for other content; 'sealctl check' shows which is "
				 "wrong");
	if (r < 0)
		return r;
	r = ollama_names_take(&s->names, &name, n, false, &by);
	if (r == 0 && by->owner != n->owner)
		return note_foreign_name(s, n, &name, by);
	if (r == 0)
		r = find_other_name(s, n, &name);
	if (r <= 0)
		return r;
	r = add_blobs(s, n, d, false);
	return r < 0 ? r : add_manifest(s, n, &name, d);
}

/* A model without a description: its GGUF, and what can be derived from its facts. */
static int add_plain_model(struct store *s, struct view_node *n)
{
	_cleanup_(ollama_plain_clear) struct ollama_plain plain = {0};
	int r = ollama_plain_make(n->stated, n->facts.sha256, n->size, &plain);

	if (r == 0)
		r = ollama_name_of_path(n->path, false, &plain.description.name);
	return r < 0 ? r : add_model(s, n, &plain.description.name, &plain.description);
}

static bool is_gguf(const struct view_node *n)
{
	return n->description || gguf_is_name(n->path);
}

/* Parts of one file are neighbours in path order: only the first is noted. */
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

/* 1: Ollama can load it. A broken file has its own line in the log. */
static int is_fit(struct store *s, size_t index, bool described)
{
	const struct view_node *n = s->view->files[index];
	char path[NAME_PRINTABLE_SIZE];
	struct gguf_shard shard;
	const char *refusal;

	if (!is_gguf(n) || n->broken || !!n->description != described)
		return 0;
	if (gguf_parse_shard(n->path, &shard))
		return note_shard(s, index, &shard);
	if (!described && s->is_part[index])
		return 0;
	refusal = ollama_derive_refusal(n->stated ? n->stated : "");
	if (!refusal)
		return 1;
	name_printable(n->path, path);
	return view_note(s->view, "\"%s\" is not in the Ollama store: it %s", path, refusal);
}

/* A description signed by another owner could give the model any name and template. */
static int note_foreign_description(struct store *s, const struct view_node *n)
{
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(n->path, printable);
	return view_note(
		s->view,
		"\"%s\" is not in the Ollama store: its description belongs to another owner",
		printable);
}

static int add_described(struct store *s, int owner)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->view->file_count; i++) {
		const struct ollama_description *d = s->descriptions[i];
		struct view_node *n = s->view->files[i];

		if (n->owner != owner)
			continue;
		r = is_fit(s, i, true);
		if (r > 0 && !n->description->broken && n->description->owner != owner)
			r = note_foreign_description(s, n);
		else if (r > 0 && d)
			r = add_model(s, n, &d->name, d);
	}
	return MIN(r, 0);
}

/* A later owner does not get the name of a damaged model. */
static int reserve_name(struct store *s, const struct view_node *n)
{
	const struct view_node *by;
	struct ollama_name name;
	int r = ollama_name_of_path(n->path, false, &name);

	return r < 0 ? r : MIN(ollama_names_take(&s->names, &name, n, true, &by), 0);
}

static int add_undescribed(struct store *s, int owner)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->view->file_count; i++) {
		struct view_node *n = s->view->files[i];

		if (n->owner != owner)
			continue;
		r = is_fit(s, i, false);
		if (r > 0)
			r = add_plain_model(s, n);
		else if (r == 0 && n->broken && is_gguf(n) && !n->description)
			r = reserve_name(s, n);
	}
	return MIN(r, 0);
}

/* All of the first owner's before any of the second's. */
static int add_models(struct store *s)
{
	int last = 0, r = 0;

	for (size_t i = 0; i < s->view->file_count; i++) {
		const struct view_node *n = s->view->files[i];

		last = MAX(last, n->owner);
		if (s->descriptions[i])
			ollama_files_mark_parts(&s->files, s->descriptions[i]->manifest, n->owner,
						s->is_part);
	}
	for (int owner = 0; r == 0 && owner <= last; owner++) {
		r = add_described(s, owner);
		if (r == 0)
			r = add_undescribed(s, owner);
	}
	return r;
}

static bool has_any(const struct view *v)
{
	for (size_t i = 0; i < v->file_count; i++)
		if (is_gguf(v->files[i]))
			return true;
	return false;
}

/* The source's own files under this name stay visible beside the store if they do not clash. 0:
 * they do. */
static int claim_directory(struct view *v, struct view_node **ret)
{
	static const char *const places[] = {"/blobs", "/manifests", ("/" MANIFESTS_V2)};
	struct view_node *dir = view_child(v->root, OLLAMA_DIRECTORY);
	const char *clash = NULL;
	int r;

	if (!dir) {
		r = view_add_directory(v, v->root, OLLAMA_DIRECTORY, ret);
		return r < 0 ? r : 1;
	}
	*ret = dir;
	if (dir->kind != VIEW_DIRECTORY)
		clash = "";
	for (size_t i = 0; !clash && i < ARRAY_LEN(places); i++)
		if (view_child(dir, places[i] + 1))
			clash = places[i];
	if (!clash)
		return 1;
	return view_note(
		v, "no Ollama store is shown: the source has \"" OLLAMA_DIRECTORY "%s\" of its own",
		clash);
}

static int keep(struct store *s, struct view_node *dir)
{
	return view_add_bytes(s->view, dir, KEEPER, KEEPER_TEXT, sizeof(KEEPER_TEXT) - 1,
			      s->view->root->mtime_ns);
}

int ollama_store_add(struct view *v, enum ollama_mode mode,
		     struct ollama_description *const *descriptions)
{
	_cleanup_(store_clear) struct store s = {
		.view = v, .names.view = v, .descriptions = descriptions};
	struct view_node *dir = NULL, *newer = NULL;
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
		r = ollama_files_make(v, &s.files);
	s.is_part = calloc(v->file_count + 1, sizeof(bool));
	if (r == 0 && !s.is_part)
		r = -ENOMEM;
	if (r == 0)
		r = add_models(&s);
	if (r == 0)
		r = view_add_directory(v, dir, MANIFESTS_V2, &newer);
	if (r == 0)
		r = keep(&s, newer);
	if (r == 0 && s.manifests->child_count == 0)
		r = keep(&s, s.manifests);
	/* An empty store is as old as what there is. */
	if (r == 0 && s.blobs->child_count == 0)
		s.blobs->mtime_ns = s.manifests->mtime_ns = dir->mtime_ns = v->root->mtime_ns;
	return r;
}
