/*
 * Listings. Job: the steps from the source's listing to a generation. Trusts the view to have
 * marked broken seals.
 */
#include "fs/models/listing.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

bool listing_names(const struct config *config, const char *path)
{
	const struct config_list *names = &config->models;

	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], path) == 0)
			return true;
	return names->count == 0;
}

bool listing_may_leave_out(const struct config *config, bool measuring, int code,
			   const struct error *err)
{
	if (config->models.count > 0)
		return false;
	switch (code) {
	case -ESTALE:
	case -ENOBUFS:
	case -ENOKEY: /* measuring: the mode refuses the plaintext */
		return true;
	case -EPROTO:
	case -EBADMSG:
	case -ENOENT:
	case -EACCES:
	case -EKEYREJECTED:
		return !measuring || seal_failure_of(err) != SEAL_FAILURE_NONE;
	default:
		return false;
	}
}

void listing_show(const struct listing *l, unsigned step_ms, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	l->show(l->show_arg, step_ms, text);
}

static void before_description(void *arg, const char *path)
{
	listing_show(arg, LISTING_STEP_MS, "Unlocking %s", path);
}

static bool must_unlock(void *arg, const struct view_node *model, const struct error *err)
{
	const struct listing *l = arg;

	return l->config->ready >= CONFIG_READY_UNLOCKED && listing_names(l->config, model->path) &&
	       !listing_may_leave_out(l->config, false, err->code, err);
}

static bool need_not_unlock(void *arg, const struct view_node *model, const struct error *err)
{
	return false;
}

/* *ret: to be dropped; NULL: all that the source has is shown. */
static int read_set(const struct listing *l, struct mounted_set **ret, struct error *err)
{
	const struct config *c = l->config;
	uint8_t id[SET_ID_SIZE];
	struct set_policy policy = {
		.source = l->source,
		.owners = l->owners,
		.unlock = catalog_options(l->catalog)->unlock,
		.allowance = l->allowance,
		.required = c->set == CONFIG_SET_REQUIRE ||
			    catalog_options(l->catalog)->measure == MEASURE_SET,
		.id = c->set_id ? id : NULL,
		.state = c->set_state,
		.min_version = c->set_min_version,
		.oms = c->oms,
		.oms_key = l->oms_key,
	};
	bool again = false;
	struct mounted_set *was = catalog_hold_set(l->catalog, &again);
	int r = 0;

	*ret = NULL;
	if (c->set_id)
		(void)hex_decode(c->set_id, id, sizeof(id)); /* config_parse() checked it */
	if (c->set != CONFIG_SET_OFF && (was || !again)) {
		listing_show(l, LISTING_STEP_MS, "Reading the set of %s", c->source);
		r = mounted_set_read(&policy, was, ret, err);
	}
	mounted_set_drop(was, NULL);
	if (r == 0 && *ret && !again && l->set_start)
		catalog_measure_sets(l->catalog, l->set_start);
	return r;
}

/* A mount that began without a set stays without: its models are measured one by one. */
static void warn_about_new_set(const struct listing *l)
{
	struct source_object o = {0};
	bool again = false;
	struct mounted_set *set = catalog_hold_set(l->catalog, &again);

	if (again && !set && l->config->set == CONFIG_SET_AUTO &&
	    source_stat(l->source, SET_OBJECT_NAME, &o, NULL) == 0)
		log_warning("%s has a set now (%s), which this mount does not use: mount again",
			    l->config->source, SET_OBJECT_NAME);
	source_object_clear(&o);
	mounted_set_drop(set, NULL);
}

static int fill_view(const struct listing *l, const struct round_pause *pause,
		     struct mounted_set *set, struct view **ret, struct error *err)
{
	struct view_options options = {
		.source = l->source,
		.owners = l->owners,
		.allowance = l->allowance,
		.file_bytes = model_bytes(),
		.set = set ? mounted_set_get(set) : NULL,
		.only = l->only,
		.set_facts = l->config->ollama != OLLAMA_OFF,
	};
	struct models_options models = *catalog_options(l->catalog);
	struct ollama_shelving how = {
		.models = &models,
		.pause = pause,
		.must_unlock = pause ? must_unlock : need_not_unlock,
		.before = before_description,
		.arg = (void *)(uintptr_t)l,
	};
	_cleanup_(view_freep) struct view *view = NULL;
	int r;

	models.set = set;
	if (!set)
		listing_show(l, LISTING_STEP_MS, "Reading the listing of %s", l->config->source);
	r = view_read(&options, &view, err);
	if (r == 0)
		catalog_mark_doubtful(l->catalog, view);
	if (r == 0)
		r = ollama_shelf_fill(l->shelf, &how, l->config->ollama, view, err);
	if (r == -ENOBUFS && !err->code)
		return allowance_refuse(l->allowance, allowance_left(l->allowance) + view->taken,
					err, "the Ollama store of %s", l->config->source);
	if (r == 0)
		r = view_number(view);
	if (r == 0)
		*ret = steal_ptr(view);
	return r;
}

int listing_read(const struct listing *l, const struct round_pause *pause, struct generation **ret,
		 struct error *err)
{
	struct mounted_set *set = NULL;
	struct view *view = NULL;
	int r = read_set(l, &set, err);

	if (r == 0)
		r = fill_view(l, pause, set, &view, err);
	if (r == 0)
		return catalog_prepare(l->catalog, view, set, ret);
	mounted_set_drop(set, NULL);
	return r;
}

static bool is_there(const struct view *v, const char *path)
{
	for (size_t i = 0; i < v->file_count; i++)
		if (strcmp(v->files[i]->path, path) == 0)
			return true;
	return false;
}

static int refuse_empty(const struct listing *l, struct error *err)
{
	_cleanup_free_ char *nearby = source_nearby(l->source);

	error_hint(err, "use allow-empty to mount it and wait for models (sealedfs --reload)");
	return error_set(err, -ENOENT, "%s has no sealed model%s%s", l->config->source,
			 nearby ? "; " : "", nearby ? nearby : "");
}

int listing_check(const struct listing *l, const struct generation *g, struct error *err)
{
	const struct config_list *names = &l->config->models;

	if (generation_view(g)->file_count == 0 && !l->config->allow_empty && !l->only)
		return refuse_empty(l, err);
	for (size_t i = 0; i < names->count; i++)
		if (!is_there(generation_view(g), names->items[i]))
			return error_set(err, -ENOENT, "%s has no model %s", l->config->source,
					 names->items[i]);
	return 0;
}

static bool same_bytes(const struct view_node *a, const struct view_node *b)
{
	return a->size == b->size &&
	       memcmp(a->facts.sha256, b->facts.sha256, sizeof(a->facts.sha256)) == 0;
}

bool listing_has_alternatives(const struct generation *g)
{
	const struct view *v = generation_view(g);

	for (size_t i = 0; i < v->file_count; i++) {
		const struct view_node *file = v->files[i];
		struct model_look look;

		if (file->broken || file->link_count < 2)
			continue;
		model_look(generation_model(g, file), &look);
		for (size_t k = 0; look.why.code < 0 && k < v->file_count; k++)
			if (k != i && !v->files[k]->broken && same_bytes(file, v->files[k]))
				return true;
	}
	return false;
}

void listing_shown(const struct generation *g)
{
	const struct view *v = generation_view(g);

	for (size_t i = 0; i < v->file_count; i++)
		if (generation_is_first(g, v->files[i]))
			model_shown(generation_model(g, v->files[i]));
}

static void log_bundle(const struct oms_summary *s)
{
	if (!s)
		return;
	log_notice("OMS bundle of \"%s\": signed by the key %s; its %zu files are the set's",
		   s->name, s->key, s->files);
	if (s->unchecked[0])
		log_notice("not checked in the OMS bundle: %s", s->unchecked);
	if (s->ignored > 0)
		log_notice("the OMS bundle leaves out %zu of the set's members, \"%s\" first",
			   s->ignored, s->first_ignored);
}

void listing_log(const struct listing *l, const struct generation *g)
{
	const struct view *v = generation_view(g);
	const struct mounted_set *set = generation_set(g);

	if (set) {
		const struct set_header *h = set_header(mounted_set_get(set));

		log_info("set \"%s\", version %" PRIu64 ", %" PRIu32 " members", h->name,
			 h->version, h->member_count);
		log_bundle(mounted_set_oms(set));
	}
	warn_about_new_set(l);
	for (size_t i = 0; i < v->note_count; i++)
		log_warning("%s", v->notes[i]);
	if (v->more_notes > 0)
		log_warning("%zu more like these are not listed", v->more_notes);
	/* listing_unlock() reports them otherwise. */
	if (l->config->ready < CONFIG_READY_UNLOCKED)
		generation_log_broken(g);
	log_info("%zu models, %llu bytes", v->file_count, (unsigned long long)v->total_size);
}

void listing_show_status(const struct listing *l, const struct generation *g)
{
	const struct view *v = generation_view(g);

	listing_show(l, 0, "Serving %zu model%s, %.1f GB, from %s", v->file_count,
		     v->file_count == 1 ? "" : "s", (double)v->total_size / 1e9, l->config->source);
}
