/*
 * The shelf of descriptions. Job: small sealed files, opened by the same steps as models and with
 * the same distrust, but kept in memory and out of the PCR. Trusts unlock_model() and read.h for
 * what is authentic. Must never let a description in trouble keep its model from being served by
 * name.
 */
#include "fs/ollama_shelf.h"

#include "crypto/base/log.h"
#include "crypto/digest.h"
#include "crypto/failure.h"
#include "fs/unlock_model.h"

#include <errno.h>
#include <string.h>

/* All descriptions together: they are in no budget of buffers. */
#define SHELF_MAX ((size_t)64 << 20)

struct item {
	struct view_facts facts; /* of the sealed description */
	struct ollama_description *description;
	size_t size;
	bool used;
};

struct ollama_shelf {
	struct item *items;
	size_t count;
};

int ollama_shelf_new(struct ollama_shelf **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void ollama_shelf_free(struct ollama_shelf *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		ollama_description_free(s->items[i].description);
	free(s->items);
	free(s);
}

static struct item *find(struct ollama_shelf *s, const struct view_facts *facts)
{
	for (size_t i = 0; i < s->count; i++)
		if (memcmp(&s->items[i].facts, facts, sizeof(*facts)) == 0)
			return &s->items[i];
	return NULL;
}

/* Takes the description. */
static int put(struct ollama_shelf *s, const struct view_node *n,
	       struct ollama_description *description, struct error *err)
{
	struct item *items = reallocarray(s->items, s->count + 1, sizeof(*items));
	size_t total = (size_t)n->size;
	int r = items ? 0 : -ENOMEM;

	if (items)
		s->items = items;
	for (size_t i = 0; i < s->count; i++)
		total += s->items[i].used ? s->items[i].size : 0;
	if (r == 0 && total > SHELF_MAX)
		r = error_set(err, -ENOSPC, "%s: the descriptions for Ollama have more than 64 MiB",
			      n->path);
	if (r < 0) {
		ollama_description_free(description);
		return r;
	}
	items[s->count++] = (struct item){n->facts, description, (size_t)n->size, true};
	return 0;
}

static void forget_unused(struct ollama_shelf *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->count; i++) {
		if (s->items[i].used)
			s->items[kept++] = s->items[i];
		else
			ollama_description_free(s->items[i].description);
	}
	s->count = kept;
}

static int read_all(struct read_file *file, uint8_t *out, size_t size, struct error *err)
{
	for (size_t at = 0; at < size;) {
		struct read_result result = {0};
		int r = read_file_read(file, at, MIN(size - at, (size_t)SEAL_CHUNK_SIZE), &result,
				       err);

		if (r < 0)
			return r;
		if (result.count == 0)
			return -EIO;
		for (size_t i = 0; i < result.count; i++) {
			memcpy(out + at, result.pieces[i].data, result.pieces[i].size);
			at += result.pieces[i].size;
		}
		read_result_clear(&result);
	}
	return 0;
}

/* Everything that models go through but the measurement. The caller frees *ret. */
static int fetch(const struct models_options *models, const struct view_node *n, uint8_t **ret,
		 struct error *err)
{
	struct models_options options = *models;
	_cleanup_(read_file_freep) struct read_file *file = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct unlocked *unlocked = NULL;
	uint8_t digest[SHA256_SIZE];
	int r;

	if (n->broken) {
		*err = *n->broken;
		return err->code;
	}
	if (n->size > OLLAMA_DESCRIPTION_MAX)
		return error_set(err, -EPROTO, "%s: an Ollama description has at most 4 MiB",
				 n->path);
	options.measure = MEASURE_NONE;
	bytes = malloc((size_t)n->size + 1);
	r = bytes ? unlock_model(&options, n, &unlocked, err) : -ENOMEM;
	if (r == 0)
		r = unlocked_measure(unlocked, &options, n, &file, NULL, err);
	if (r == 0)
		r = read_all(file, bytes, (size_t)n->size, err);
	if (r == 0)
		r = digest_buffer(DIGEST_SHA256, bytes, (size_t)n->size, digest);
	if (r < 0)
		return r;
	if (memcmp(digest, n->facts.sha256, sizeof(digest)) != 0)
		return seal_fail(err, SEAL_BAD_DIGEST, n->path,
				 "it does not have the SHA-256 that its seal states");
	*ret = steal_ptr(bytes);
	return 0;
}

static int fetch_patiently(const struct ollama_shelving *how, const struct view_node *n,
			   uint8_t **ret, struct error *err)
{
	int r;

	how->before(how->arg, n->path);
	r = fetch(how->models, n, ret, err);
	while (r < 0 && how->patience && patience_again(how->patience, r, err)) {
		error_clear(err);
		how->before(how->arg, n->path);
		r = fetch(how->models, n, ret, err);
	}
	return r;
}

static bool is_of(const struct ollama_description *d, const struct view_node *model)
{
	const struct ollama_manifest *m = d->manifest;

	return memcmp(m->layers[m->model].sha256, model->facts.sha256, SHA256_SIZE) == 0;
}

/* Authentic bytes are one thing, and what they say is another: *ret_unlocked tells them apart. */
static int take_down(struct ollama_shelf *s, const struct ollama_shelving *how,
		     const struct view_node *model, struct ollama_description **ret,
		     bool *ret_unlocked, struct error *err)
{
	const struct view_node *n = model->description;
	struct item *item = n->broken ? NULL : find(s, &n->facts);
	struct ollama_description *d = NULL;
	uint8_t *bytes = NULL;
	int r;

	if (item && is_of(item->description, model)) {
		item->used = true;
		*ret = item->description;
		return 0;
	}
	r = fetch_patiently(how, n, &bytes, err);
	if (r < 0)
		return r;
	*ret_unlocked = true;
	r = ollama_description_parse(bytes, (size_t)n->size, model->facts.sha256, &d, err);
	if (r < 0)
		return error_prefix(err, r, "%s", n->path);
	r = put(s, n, d, err);
	if (r == 0)
		*ret = d;
	return r;
}

static int take_all(struct ollama_shelf *s, const struct ollama_shelving *how, const struct view *v,
		    struct ollama_description **descriptions, struct error *err)
{
	for (size_t i = 0; i < v->file_count; i++) {
		const struct view_node *model = v->files[i];
		bool unlocked = false;
		int r;

		if (!model->description || model->broken)
			continue;
		r = take_down(s, how, model, &descriptions[i], &unlocked, err);
		if (r == -ENOMEM || (r < 0 && !unlocked && how->must_unlock(how->arg, model)))
			return error_prefix(err, r, "%s", model->description->path);
		if (r < 0)
			log_error_object(LOG_WARNING, err, r, "not in the Ollama store");
		error_clear(err);
	}
	return 0;
}

int ollama_shelf_fill(struct ollama_shelf *s, const struct ollama_shelving *how,
		      enum ollama_mode mode, struct view *v, struct error *err)
{
	struct ollama_description **descriptions =
		calloc(v->file_count + 1, sizeof(struct ollama_description *));
	int r = 0;

	if (!descriptions)
		return -ENOMEM;
	for (size_t i = 0; i < s->count; i++)
		s->items[i].used = false;
	if (mode != OLLAMA_OFF)
		r = take_all(s, how, v, descriptions, err);
	if (r == 0) {
		forget_unused(s);
		r = ollama_store_add(v, mode, descriptions);
	}
	free(descriptions);
	return r;
}
