/*
 * Unlocking a whole listing. Job: get all keys, several at a time, and then measure, one model
 * after the other in the order of paths, which is the order in the PCR. Trusts the models for each
 * step. At a mount, must never measure anything while the key of a named model is missing.
 */
#include "fs/models/listing.h"

#include "crypto/base/log.h"
#include "crypto/failure.h"

#include <errno.h>
#include <string.h>

/* A folder full of junk must not fill the log. */
#define LOG_LEFT_OUT_MAX 1000

struct batch {
	const struct listing *listing;
	const struct generation *generation;
	bool must; /* at a mount: a failure ends it */
	size_t count;
	const struct view_node **files; /* NULL: left to the first open */

	/* While unlocking, guarded by the round's lock, like `files`. */
	bool *bad; /* something is wrong with this model alone */
	size_t bad_count;
	struct error first_bad;
	size_t done;
};

static int compare_paths(const void *a, const void *b)
{
	return strcmp((*(const struct view_node *const *)a)->path,
		      (*(const struct view_node *const *)b)->path);
}

/* A set is unlocked and measured as a whole, and no member's seal is read before its first open,
 * unless the user names some. */
static bool waits_for_opens(const struct batch *b)
{
	enum measure_mode mode = catalog_options(b->listing->catalog)->measure;
	const struct config *c = b->listing->config;

	return generation_set(b->generation) && c->models.count == 0 &&
	       (mode == MEASURE_SET || c->ready < CONFIG_READY_MEASURED);
}

/* The named models that are new in this generation, bytewise in the order of paths. The view's own
 * order puts a directory's files together. */
static int find_named(struct batch *b)
{
	const struct view *v = generation_view(b->generation);

	b->files = calloc(v->file_count + 1, sizeof(struct view_node *));
	b->bad = calloc(v->file_count + 1, sizeof(bool));
	if (!b->files || !b->bad)
		return -ENOMEM;
	for (size_t i = 0; i < v->file_count && !waits_for_opens(b); i++)
		if (listing_names(b->listing->config, v->files[i]->path) &&
		    generation_is_first(b->generation, v->files[i]))
			b->files[b->count++] = v->files[i];
	if (b->count > 1)
		qsort(b->files, b->count, sizeof(struct view_node *), compare_paths);
	return 0;
}

static void batch_clear(struct batch *b)
{
	free(b->files);
	free(b->bad);
}

static int take_step(const struct batch *b, const struct view_node *file,
		     int (*step)(struct model *m, struct error *err), struct error *err)
{
	int r;

	if (file->broken) {
		*err = view_fault_of(file);
		return err->code;
	}
	r = step(generation_model(b->generation, file), err);
	if (r == 0 || seal_failure_of(err) != SEAL_FAILURE_NONE)
		return r;
	return error_prefix(err, r, "%s", file->path);
}

static void show_progress(const struct batch *b, const char *doing, size_t number,
			  const struct view_node *file)
{
	listing_show(b->listing, LISTING_STEP_MS, "%s model %zu of %zu: %s", doing, number,
		     b->count, file->path);
}

static void note_bad(struct batch *b, size_t index, const struct error *err)
{
	if (b->bad_count++ == 0)
		b->first_bad = *err;
	b->bad[index] = true;
}

/* Called when it is clear that other models are served. Bad ones are not touched after this. */
static int leave_out(struct batch *b, struct error *err)
{
	size_t tried = 0, logged = 0;

	for (size_t i = 0; i < b->count; i++)
		tried += b->files[i] != NULL;
	if (b->bad_count > 0 && b->bad_count == tried) {
		*err = b->first_bad;
		return tried == 1 ? err->code
				  : error_prefix(err, err->code, "none of %zu models can be served",
						 tried);
	}
	for (size_t i = 0; i < b->count; i++) {
		struct model_look look;

		if (!b->bad[i])
			continue;
		model_look(generation_model(b->generation, b->files[i]), &look);
		if (logged++ < LOG_LEFT_OUT_MAX)
			log_error_object(LOG_ERR, &look.why, look.why.code, "left out");
		b->files[i] = NULL;
		b->bad[i] = false;
	}
	if (logged > 0)
		log_error("%zu of %zu models are left out%s; sealctl status shows the reasons",
			  logged, tried,
			  b->listing->config->ready == CONFIG_READY_MEASURED
				  ? ", and are not in the PCR"
				  : "");
	b->bad_count = 0;
	return 0;
}

static bool begin_unlock(void *arg, size_t index)
{
	const struct batch *b = arg;
	const struct view_node *file = b->files[index];

	if (!file || b->bad[index] || model_has_key(generation_model(b->generation, file)))
		return false;
	show_progress(b, "Unlocking", b->done + 1, file);
	return true;
}

static int unlock_one(void *arg, size_t index, struct error *err)
{
	const struct batch *b = arg;

	return take_step(b, b->files[index], model_unlock_now, err);
}

/* What is unreachable for one is unreachable for all: those under way go on, no other begins. */
static bool end_unlock(void *arg, size_t index, int code, struct error *err, bool *stop)
{
	struct batch *b = arg;

	b->done += code == 0;
	if (code == 0)
		return false;
	if (b->must && listing_may_leave_out(b->listing->config, false, code, err)) {
		note_bad(b, index, err);
		return false;
	}
	*stop = b->must || round_may_pass(code);
	if (!b->must) {
		log_error_object(LOG_ERR, err, code, NULL);
		b->files[index] = NULL;
	}
	return true;
}

/* At a reload: the next open of such a model tries again. */
static void leave_alone(struct batch *b)
{
	size_t left = 0;

	for (size_t i = 0; i < b->count; i++) {
		if (!b->files[i] || model_has_key(generation_model(b->generation, b->files[i])))
			continue;
		b->files[i] = NULL;
		left++;
	}
	if (left > 0)
		log_warning(
			"%zu more model%s left locked until the next open; sealctl status shows "
			"the reasons",
			left, left == 1 ? " is" : "s are");
}

static int unlock_all(struct batch *b, const struct round_pause *pause, struct error *err)
{
	struct round round = {
		.count = b->count,
		.begin = begin_unlock,
		.attempt = unlock_one,
		.end = end_unlock,
		.arg = b,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int r = round_run(&round, err);

	while (r < 0 && round_again(pause, r, err)) {
		error_clear(err);
		r = round_run(&round, err);
	}
	if (r < 0 && b->must)
		return r;
	if (b->must)
		return leave_out(b, err);
	if (r < 0)
		leave_alone(b);
	error_clear(err);
	return 0;
}

static int measure_one(const struct batch *b, size_t index, const struct round_pause *pause,
		       struct error *err)
{
	const struct view_node *file = b->files[index];
	int r;

	show_progress(b, "Measuring", index + 1, file);
	r = take_step(b, file, model_open_now, err);
	while (r < 0 && round_again(pause, r, err)) {
		error_clear(err);
		show_progress(b, "Measuring", index + 1, file);
		r = take_step(b, file, model_open_now, err);
	}
	return r;
}

/* Measurements that need only the seal go into the PCR together: connecting to a TPM is expensive.
 */
static int measure_known(const struct batch *b, struct error *err)
{
	const struct models_options *o = catalog_options(b->listing->catalog);
	_cleanup_free_ struct measured_model *known = calloc(b->count + 2, sizeof(*known));
	struct mounted_set *set = generation_set(b->generation);
	size_t count = 0;
	int r;

	if (!known)
		return -ENOMEM;
	if (set && o->measure == MEASURE_SET)
		known[count++] = mounted_set_claim(set);
	for (size_t i = 0; i < b->count; i++)
		if (b->files[i] &&
		    model_claim(generation_model(b->generation, b->files[i]), &known[count]))
			count++;
	if (count == 0)
		return 0;
	listing_show(b->listing, LISTING_STEP_MS, "Measuring %zu model%s", count,
		     count == 1 ? "" : "s");
	r = measured_add(o->measured, known, count, err);
	if (r == 0 && set && o->measure == MEASURE_SET)
		mounted_set_note_measured(set, o->measured);
	if (r == -ENODEV)
		error_hint(err, "on a machine without a TPM mount with -o measure=none");
	return r;
}

static int measure_all(struct batch *b, const struct round_pause *pause, struct error *err)
{
	int known = measure_known(b, err);

	while (known < 0 && round_again(pause, known, err)) {
		error_clear(err);
		known = measure_known(b, err);
	}
	if (known < 0 && b->must)
		return known;
	if (known < 0)
		log_error_object(LOG_ERR, err, known, "models that are new");
	if (known < 0) {
		error_clear(err);
		return 0;
	}
	for (size_t i = 0; i < b->count; i++) {
		int r = b->files[i] ? measure_one(b, i, pause, err) : 0;

		if (r == 0)
			continue;
		if (b->must && !listing_may_leave_out(b->listing->config, true, r, err))
			return r;
		if (b->must)
			note_bad(b, i, err);
		else
			log_error_object(LOG_ERR, err, r, NULL);
		error_clear(err);
	}
	return b->must ? leave_out(b, err) : 0;
}

int listing_unlock(const struct listing *l, const struct generation *g,
		   const struct round_pause *pause, struct error *err)
{
	_cleanup_(batch_clear) struct batch b = {
		.listing = l,
		.generation = g,
		.must = pause != NULL,
	};
	int r;

	if (l->config->ready < CONFIG_READY_UNLOCKED)
		return 0;
	r = find_named(&b);
	if (r == 0)
		r = unlock_all(&b, pause, err);
	/* With measure=none, opening costs nothing more. */
	if (r == 0 &&
	    (l->config->ready == CONFIG_READY_MEASURED || l->config->measure == MEASURE_NONE))
		r = measure_all(&b, pause, err);
	return r;
}
