/*
 * Listings. Job: the steps between an answer of the source and a generation. Trusts the view to
 * have marked what is broken.
 */
#include "fs/listing.h"

#include "crypto/base/log.h"
#include "fs/patience.h"

#include <errno.h>
#include <string.h>

/* One step with all its retries ends in this time. */
#define STEP_MS 180000

static bool is_named(const struct config *config, const char *path)
{
	const struct config_list *names = &config->models;

	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], path) == 0)
			return true;
	return names->count == 0;
}

static void before_step(const struct listing *l, const char *doing, const char *path)
{
	status_set(l->status, "%s %s", doing, path);
	notify_extend(l->notify, STEP_MS);
}

static void before_description(void *arg, const char *path)
{
	before_step(arg, "Unlocking", path);
}

static bool must_unlock(void *arg, const struct view_node *model)
{
	const struct listing *l = arg;

	return l->config->unlock_at_mount && is_named(l->config, model->path);
}

static bool need_not_unlock(void *arg, const struct view_node *model)
{
	return false;
}

int listing_read(const struct listing *l, struct patience *patience, struct generation **ret,
		 struct error *err)
{
	struct view_options options = {.source = l->source, .owners = l->owners};
	struct ollama_shelving how = {
		.models = catalog_options(l->catalog),
		.patience = patience,
		.must_unlock = patience ? must_unlock : need_not_unlock,
		.before = before_description,
		.arg = (void *)(uintptr_t)l,
	};
	_cleanup_(view_freep) struct view *view = NULL;
	int r;

	status_set(l->status, "Reading the listing of %s", l->config->source);
	notify_extend(l->notify, STEP_MS);
	r = view_read(&options, &view, err);
	if (r == 0)
		r = ollama_shelf_fill(l->shelf, &how, l->config->ollama, view, err);
	if (r == 0)
		r = view_number(view);
	return r < 0 ? r : catalog_prepare(l->catalog, steal_ptr(view), ret);
}

static bool is_there(const struct view *v, const char *path)
{
	for (size_t i = 0; i < v->file_count; i++)
		if (strcmp(v->files[i]->path, path) == 0)
			return true;
	return false;
}

int listing_check(const struct listing *l, const struct generation *g, struct error *err)
{
	const struct config_list *names = &l->config->models;

	for (size_t i = 0; i < names->count; i++)
		if (!is_there(generation_view(g), names->items[i]))
			return error_set(err, -ENOENT, "%s has no model %s", l->config->source,
					 names->items[i]);
	return 0;
}

struct step {
	const char *doing;
	int (*take)(struct model *m, struct error *err);
};

static const struct step step_unlock = {"Unlocking", model_unlock_now};
static const struct step step_measure = {"Measuring", model_open_now};

static int try_step(const struct listing *l, const struct generation *g, const struct step *step,
		    const struct view_node *file, struct error *err)
{
	int r;

	before_step(l, step->doing, file->path);
	if (file->broken) {
		*err = *file->broken;
		return err->code;
	}
	r = step->take(generation_model(g, file), err);
	return r < 0 ? error_prefix(err, r, "%s", file->path) : 0;
}

static int take_step(const struct listing *l, const struct generation *g, const struct step *step,
		     const struct view_node *file, struct patience *patience, struct error *err)
{
	int r = try_step(l, g, step, file, err);

	while (r < 0 && patience && patience_again(patience, r, err)) {
		error_clear(err);
		r = try_step(l, g, step, file, err);
	}
	return r;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp((*(const struct view_node *const *)a)->path,
		      (*(const struct view_node *const *)b)->path);
}

/*
 * What is named, and this generation has first; bytewise in the order of paths, which is the PCR's.
 * The view's own order puts a directory's files together.
 */
static int find_named(const struct listing *l, const struct generation *g,
		      const struct view_node ***ret, size_t *ret_count)
{
	const struct view *v = generation_view(g);
	const struct view_node **files = calloc(v->file_count + 1, sizeof(struct view_node *));
	size_t count = 0;

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < v->file_count; i++)
		if (is_named(l->config, v->files[i]->path) && generation_is_first(g, v->files[i]))
			files[count++] = v->files[i];
	if (count > 1)
		qsort(files, count, sizeof(struct view_node *), compare_paths);
	*ret = files;
	*ret_count = count;
	return 0;
}

/* Files that fail without patience become NULL: what they lack will be asked for again when
 * somebody opens them. */
static int take_steps(const struct listing *l, const struct generation *g, const struct step *step,
		      const struct view_node **files, size_t count, struct patience *patience,
		      struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		int r = files[i] ? take_step(l, g, step, files[i], patience, err) : 0;

		if (r == 0)
			continue;
		if (patience)
			return r;
		log_error_object(LOG_ERR, err, r, NULL);
		error_clear(err);
		files[i] = NULL;
	}
	return 0;
}

int listing_unlock(const struct listing *l, const struct generation *g, struct patience *patience,
		   struct error *err)
{
	_cleanup_free_ const struct view_node **files = NULL;
	size_t count = 0;
	int r = 0;

	if (l->config->unlock_at_mount)
		r = find_named(l, g, &files, &count);
	/* All keys first: a model that cannot be unlocked fails the mount before the PCR says that
	 * others were served. */
	if (r == 0)
		r = take_steps(l, g, &step_unlock, files, count, patience, err);
	if (r == 0 && l->config->measure_at_mount)
		r = take_steps(l, g, &step_measure, files, count, patience, err);
	return r;
}

void listing_log(const struct listing *l, const struct generation *g)
{
	const struct view *v = generation_view(g);

	for (size_t i = 0; i < v->note_count; i++)
		log_warning("%s", v->notes[i]);
	/* With unlock=mount they are reported as what fails. */
	if (!l->config->unlock_at_mount)
		generation_log_broken(g);
	log_info("%zu models, %llu bytes", v->file_count, (unsigned long long)v->total_size);
}

void listing_show_status(const struct listing *l, const struct generation *g)
{
	const struct view *v = generation_view(g);

	status_set(l->status, "Serving %zu model%s, %.1f GB, from %s", v->file_count,
		   v->file_count == 1 ? "" : "s", (double)v->total_size / 1e9, l->config->source);
}
