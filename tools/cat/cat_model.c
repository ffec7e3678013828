/*
 * One model without a mount. Job: the steps of a mount up to an open model, with the same code, and
 * then its bytes in order. Trusts fs/models to give no file before it was measured. Must never
 * read past the first chunk that fails its check.
 */
#include "tools/cat/cat_model.h"

#include "tools/common/interrupt.h"

#include <errno.h>
#include <string.h>

static void ignore_step(void *arg, unsigned step_ms, const char *text)
{
}

static void stop_network(void *ctx)
{
	aws_cancel(ctx);
}

static void stop_reading(void *ctx)
{
	read_engine_stop(ctx);
}

static const struct view_node *find(const struct generation *g, const char *path)
{
	const struct view *v = generation_view(g);

	for (size_t i = 0; i < v->file_count; i++)
		if (strcmp(v->files[i]->path, path) == 0)
			return v->files[i];
	return NULL;
}

static int open_file(struct cat_model *m, struct error *err)
{
	struct listing *l = &m->means.listing;
	struct generation *g = NULL, *none = NULL;
	const struct view_node *file;
	int r;

	l->only = m->means.config->models.items[0];
	r = listing_read(l, NULL, &g, err);
	if (r == 0)
		r = listing_check(l, g, err);
	if (r < 0)
		return r;
	catalog_commit(m->means.catalog, g, &none);
	m->generation = catalog_acquire(m->means.catalog);
	file = find(m->generation, l->only);
	if (file->broken) {
		*err = view_fault_of(file);
		return err->code;
	}
	m->model = generation_model(m->generation, file);
	m->size = file->size;
	r = model_open_now(m->model, err);
	if (r == 0 && m->means.config->lock_pcr)
		r = measure_lock(&catalog_options(m->means.catalog)->measure_options, err);
	if (r == 0)
		r = read_file_use(model_file(m->model), NULL, 0, err);
	if (r < 0)
		m->model = NULL;
	return r;
}

int cat_model_open(const struct config *config, struct cat_model *ret, struct error *err)
{
	const struct means_user user = {.show = ignore_step};
	struct means *m = &ret->means;
	int r;

	*ret = (struct cat_model){0};
	r = means_plan(m, config, err);
	if (r == 0)
		r = means_open(m, err);
	if (r == 0 && m->aws)
		r = interrupt_hook(stop_network, m->aws);
	if (r == 0)
		r = means_finish(m, &user, err);
	if (r == 0)
		r = interrupt_hook(stop_reading, m->engine);
	if (r == 0)
		r = open_file(ret, err);
	return r == 0 ? interrupt_check(err) : r;
}

static int write_pieces(struct sink *sink, const struct read_result *res, size_t *ret,
			struct error *err)
{
	int r = 0;

	*ret = 0;
	for (size_t i = 0; r == 0 && i < res->count; i++) {
		r = sink_write(sink, res->pieces[i].data, res->pieces[i].size, err);
		*ret += res->pieces[i].size;
	}
	return r;
}

int cat_model_write(struct cat_model *m, struct sink *sink, struct error *err)
{
	struct read_file *file = model_file(m->model);
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < m->size;) {
		struct read_result res = {0};
		size_t written = 0;

		r = read_file_read(file, at, SEAL_CHUNK_SIZE, &res, err);
		if (r == 0)
			r = write_pieces(sink, &res, &written, err);
		read_result_clear(&res);
		at += written;
		if (r == 0 && written == 0)
			r = error_set(err, -EIO, "%s ended early", sink->label);
	}
	return r;
}

void cat_model_close(struct cat_model *m)
{
	if (m->model)
		model_close(m->model);
	if (m->generation)
		catalog_release(m->means.catalog, m->generation);
	if (m->means.aws)
		interrupt_unhook(stop_network, m->means.aws);
	if (m->means.engine)
		interrupt_unhook(stop_reading, m->means.engine);
	means_clear(&m->means);
	m->model = NULL;
	m->generation = NULL;
}
