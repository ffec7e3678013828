/*
 * The shelf of descriptions. Job: open small sealed files by the same steps and with the same
 * checks as models, but keep them in memory and out of the PCR. Trusts unlock_model() and read.h
 * for authenticity. Must never let a failing description keep its model from being served by name.
 */
#include "fs/models/descriptions.h"

#include "crypto/base/digest.h"
#include "crypto/base/log.h"
#include "crypto/failure.h"
#include "fs/models/unlock_model.h"

#include <errno.h>
#include <string.h>

/* Limit of all descriptions together: the budget of buffers does not contain them. */
#define SHELF_MAX ((size_t)64 << 20)

struct item {
	struct view_facts facts; /* of the sealed description */
	struct ollama_description *description;
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
	       struct ollama_description *description)
{
	struct item *items = reallocarray(s->items, s->count + 1, sizeof(*items));

	if (!items) {
		ollama_description_free(description);
		return -ENOMEM;
	}
	s->items = items;
	items[s->count++] = (struct item){n->facts, description, true};
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

/* The same steps as for models, without the measurement. The caller frees *ret. */
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
		*err = view_fault_of(n);
		return err->code;
	}
	if (n->size > OLLAMA_DESCRIPTION_MAX)
		return error_set(err, -EPROTO, "%s: an Ollama description has at most 4 MiB",
				 n->path);
	options.measure = MEASURE_NONE;
	bytes = malloc((size_t)n->size + 1);
	r = bytes ? unlock_model(&options, n, &unlocked, err) : -ENOMEM;
	if (r == 0)
		r = unlocked_measure(unlocked, &options, n, NULL, &file, NULL, err);
	if (r == 0)
		r = read_file_use(file, NULL, 0, err);
	if (r == 0) {
		r = read_all(file, bytes, (size_t)n->size, err);
		read_file_unuse(file);
	}
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

static bool is_of(const struct ollama_description *d, const struct view_node *model)
{
	const struct ollama_manifest *m = d->manifest;

	return memcmp(m->layers[m->model].sha256, model->facts.sha256, SHA256_SIZE) == 0;
}

struct task {
	const struct view_node *model;
	size_t index; /* of the model in the view */
	bool done;
	bool unlocked; /* the bytes are authentic, whatever they say */
	struct ollama_description *description;
};

struct batch {
	const struct ollama_shelving *how;
	struct task *tasks;
	size_t count;
};

static bool begin_task(void *arg, size_t index)
{
	const struct batch *b = arg;

	return !b->tasks[index].done;
}

static int run_task(void *arg, size_t index, struct error *err)
{
	const struct batch *b = arg;
	struct task *t = &b->tasks[index];
	const struct view_node *n = t->model->description;
	_cleanup_free_ uint8_t *bytes = NULL;
	int r;

	b->how->before(b->how->arg, n->path);
	r = fetch(b->how->models, n, &bytes, err);
	if (r < 0)
		return r;
	t->unlocked = true;
	r = ollama_description_parse(steal_ptr(bytes), (size_t)n->size, t->model->facts.sha256,
				     &t->description, err);
	return r < 0 ? error_prefix(err, r, "%s", n->path) : 0;
}

static void log_left_out(const struct error *err, int code)
{
	log_error_object(LOG_WARNING, err, code, "not in the Ollama store");
}

/* What is unreachable for one is unreachable for all: those under way go on, no other begins. */
static bool end_task(void *arg, size_t index, int code, struct error *err, bool *stop)
{
	const struct batch *b = arg;
	struct task *t = &b->tasks[index];
	bool may_pass = !t->unlocked && round_may_pass(code);

	t->done = !may_pass;
	if (code == 0)
		return false;
	if (!may_pass && code != -ENOMEM &&
	    (t->unlocked || !b->how->must_unlock(b->how->arg, t->model, err))) {
		log_left_out(err, code);
		return false;
	}
	*stop = true;
	return true;
}

/* What is still unreachable when there is no more waiting. */
static int give_up(const struct batch *b, const char *failed, int code, struct error *err)
{
	size_t left = 0;

	for (size_t i = 0; i < b->count; i++) {
		const struct task *t = &b->tasks[i];

		if (t->done)
			continue;
		left++;
		if (b->how->must_unlock(b->how->arg, t->model, err))
			return error_prefix(err, code, "%s", failed);
	}
	log_left_out(err, code);
	if (left > 1)
		log_warning("%zu more descriptions are unreachable and not in the Ollama store",
			    left - 1);
	error_clear(err);
	return 0;
}

static int fetch_all(struct batch *b, struct error *err)
{
	struct round round = {
		.count = b->count,
		.begin = begin_task,
		.attempt = run_task,
		.end = end_task,
		.arg = b,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	const char *failed;
	int r = round_run(&round, err);

	while (r < 0 && round.failed < round.count && round_again(b->how->pause, r, err)) {
		error_clear(err);
		r = round_run(&round, err);
	}
	if (r == 0 || round.failed == round.count)
		return r;
	failed = b->tasks[round.failed].model->description->path;
	return round_may_pass(r) ? give_up(b, failed, r, err) : error_prefix(err, r, "%s", failed);
}

/* Another owner's description is not unlocked; the store has a note about it. */
static bool is_wanted(const struct view_node *model)
{
	const struct view_node *n = model->description;

	return n && !model->broken && (n->broken || n->owner == model->owner);
}

/* Takes descriptions from the shelf; the others become tasks. */
static size_t find_tasks(struct ollama_shelf *s, const struct view *v,
			 struct ollama_description **descriptions, struct task *tasks)
{
	size_t count = 0, total = 0;

	for (size_t i = 0; i < v->file_count; i++) {
		const struct view_node *model = v->files[i], *n = model->description;
		struct item *item;

		if (!is_wanted(model))
			continue;
		item = n->broken ? NULL : find(s, &n->facts);
		total += (size_t)MIN(n->size, (uint64_t)OLLAMA_DESCRIPTION_MAX);
		if (item && is_of(item->description, model)) {
			item->used = true;
			descriptions[i] = item->description;
		} else if (total > SHELF_MAX) {
			log_warning("%s: not in the Ollama store: the descriptions have more than "
				    "64 MiB",
				    n->path);
		} else {
			tasks[count++] = (struct task){.model = model, .index = i};
		}
	}
	return count;
}

static int take_all(struct ollama_shelf *s, const struct ollama_shelving *how, const struct view *v,
		    struct ollama_description **descriptions, struct error *err)
{
	struct batch b = {.how = how};
	int r;

	b.tasks = calloc(v->file_count + 1, sizeof(*b.tasks));
	if (!b.tasks)
		return -ENOMEM;
	b.count = find_tasks(s, v, descriptions, b.tasks);
	r = fetch_all(&b, err);
	for (size_t i = 0; i < b.count; i++) {
		struct task *t = &b.tasks[i];

		if (r == 0 && t->description) {
			descriptions[t->index] = t->description;
			r = put(s, t->model->description, steal_ptr(t->description));
		}
		ollama_description_free(t->description);
	}
	free(b.tasks);
	return r;
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
