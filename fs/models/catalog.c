/*
 * Generations of the listing. Job: return the current one, keep older ones as long as they are
 * held, and carry over models that did not change. Trusts the view for identity: path, file id,
 * digests and the seal's version.
 */
#include "fs/models/catalog.h"

#include "crypto/base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define OPENERS 8

struct generation {
	struct generation *older; /* guarded by the catalog's lock */
	unsigned holds;		  /* same; current, adopted from, requests, open files */
	struct view *view;
	struct mounted_set *set;     /* held; NULL: none */
	struct measured *measured;   /* the catalog's */
	struct models *models;	     /* of all files; those that were adopted are not used */
	struct generation **adopted; /* by file index: whose model is used; NULL: ours */
};

struct catalog {
	struct models_options options;
	struct pool *openers;
	struct measured *measured;
	pthread_mutex_t lock;
	struct generation *newest; /* list by older */
	struct generation *current;
};

int catalog_new(const struct models_options *options, struct catalog **ret, struct error *err)
{
	_cleanup_(catalog_freep) struct catalog *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	r = pool_new(OPENERS, &c->openers);
	/* Without a thread no model could be opened. */
	if (r == 0)
		r = pool_start(c->openers, err);
	if (r == 0)
		r = measured_new(&options->measure_options, options->measure, &c->measured);
	if (r < 0)
		return r;
	c->options = *options;
	c->options.openers = c->openers;
	c->options.measured = c->measured;
	*ret = steal_ptr(c);
	return 0;
}

const struct models_options *catalog_options(const struct catalog *c)
{
	return &c->options;
}

static void generation_free(struct generation *g)
{
	if (!g)
		return;
	models_free(g->models);
	view_free(g->view);
	mounted_set_drop(g->set, g->measured);
	free(g->adopted);
	free(g);
}

DEFINE_CLEANUP(struct generation *, generation_free)

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	pool_free(c->openers);
	while (c->newest) {
		struct generation *g = c->newest;

		c->newest = g->older;
		generation_free(g);
	}
	measured_free(c->measured);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static bool same_facts(const struct view_node *a, const struct view_node *b)
{
	return a->size == b->size && memcmp(&a->facts, &b->facts, sizeof(a->facts)) == 0;
}

/*
 * The model of the current generation that the file can reuse. A seal that was only rewritten (for
 * another recipient) describes the same payload with the same tables, so an open model keeps them.
 */
static struct generation *find_adoptable(const struct generation *current,
					 const struct mounted_set *set,
					 const struct view_node *file)
{
	const struct view_node *was = view_by_ino(current->view, file->ino);
	struct model *m;

	if (!was || was->kind != VIEW_FILE || was->broken || file->broken || !same_facts(was, file))
		return NULL;
	m = generation_model(current, was);
	if (model_is_spoilt(m))
		return NULL;
	/* Models that are not open yet will be checked and measured by the new listing. */
	if ((strcmp(was->seal.version, file->seal.version) != 0 || current->set != set) &&
	    !model_is_open(m))
		return NULL;
	model_ask_again(m);
	return models_owner(m);
}

/* Under the lock. */
static void adopt(struct catalog *c, struct generation *g)
{
	for (size_t i = 0; c->current && i < g->view->file_count; i++) {
		g->adopted[i] = find_adoptable(c->current, g->set, g->view->files[i]);
		if (g->adopted[i])
			g->adopted[i]->holds++;
	}
}

int catalog_prepare(struct catalog *c, struct view *view, struct mounted_set *set,
		    struct generation **ret)
{
	_cleanup_(generation_freep) struct generation *g = calloc(1, sizeof(*g));
	struct models_options options = c->options;
	int r;

	if (!g) {
		view_free(view);
		mounted_set_drop(set, NULL);
		return -ENOMEM;
	}
	g->view = view;
	g->set = set;
	g->measured = c->measured;
	g->adopted = calloc(view->file_count + 1, sizeof(struct generation *));
	if (!g->adopted)
		return -ENOMEM;
	options.view = view;
	options.set = set;
	options.owner = g;
	r = models_new(&options, &g->models);
	if (r < 0)
		return r;
	pthread_mutex_lock(&c->lock);
	adopt(c, g);
	g->older = c->newest;
	c->newest = g;
	g->holds = 1;
	*ret = steal_ptr(g);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

void catalog_commit(struct catalog *c, struct generation *g, struct generation **ret_old)
{
	pthread_mutex_lock(&c->lock);
	*ret_old = c->current;
	c->current = g;
	pthread_mutex_unlock(&c->lock);
}

struct generation *catalog_acquire(struct catalog *c)
{
	struct generation *g;

	pthread_mutex_lock(&c->lock);
	g = c->current;
	g->holds++;
	pthread_mutex_unlock(&c->lock);
	return g;
}

void catalog_release(struct catalog *c, struct generation *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&c->lock);
	g->holds--;
	pthread_mutex_unlock(&c->lock);
}

/* Under the lock. Older models that the current generation does not show leave memory, also where
 * their generation stays because of others in it. */
static void retire_replaced(struct catalog *c)
{
	for (struct generation *g = c->current ? c->current->older : NULL; g; g = g->older)
		for (size_t i = 0; i < g->view->file_count; i++) {
			struct model *m = models_get(g->models, g->view->files[i]);
			const struct view_node *now =
				view_by_ino(c->current->view, g->view->files[i]->ino);

			if (model_resident(m) && (!now || now->kind != VIEW_FILE ||
						  generation_model(c->current, now) != m))
				resident_retire(model_resident(m));
		}
}

/* Frees here and not when the last hold goes: that may happen in a job of the models themselves. */
void catalog_reap(struct catalog *c)
{
	struct generation *dead = NULL;

	pthread_mutex_lock(&c->lock);
	retire_replaced(c);
	/* A generation adopts from older ones only, and those come later in the list. */
	for (struct generation **p = &c->newest; *p;) {
		struct generation *g = *p;

		if (g->holds > 0 || !models_idle(g->models, 0) || !models_leave(g->models)) {
			p = &g->older;
			continue;
		}
		for (size_t i = 0; i < g->view->file_count; i++)
			if (g->adopted[i])
				g->adopted[i]->holds--;
		*p = g->older;
		g->older = dead;
		dead = g;
	}
	pthread_mutex_unlock(&c->lock);
	while (dead) {
		struct generation *g = dead;

		dead = g->older;
		generation_free(g);
	}
}

/* A view without inode numbers is searched by path. */
static struct view_node *find_file(const struct view *v, const char *path)
{
	size_t low = 0, high = v->file_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = view_compare_paths(v->files[middle]->path, path);

		if (order == 0)
			return v->files[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void catalog_mark_doubtful(struct catalog *c, struct view *v)
{
	struct generation *g;

	pthread_mutex_lock(&c->lock);
	g = c->current;
	if (g)
		g->holds++;
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; g && i < g->view->file_count; i++) {
		const struct view_node *was = g->view->files[i];
		struct view_node *file = find_file(v, was->path);
		struct model_look look;

		if (!file || !same_facts(was, file))
			continue;
		model_look(generation_model(g, was), &look);
		file->doubtful = look.why.code < 0 || look.condition == MODEL_IS_POISONED;
	}
	catalog_release(c, g);
}

void catalog_measure_sets(struct catalog *c, const char *start)
{
	c->options.measure = MEASURE_SET;
	c->options.measure_options.start = start;
	measured_change(c->measured, &c->options.measure_options);
}

struct mounted_set *catalog_hold_set(struct catalog *c, bool *ret_any)
{
	struct mounted_set *set;

	pthread_mutex_lock(&c->lock);
	*ret_any = c->current != NULL;
	set = c->current ? mounted_set_hold(c->current->set) : NULL;
	pthread_mutex_unlock(&c->lock);
	return set;
}

struct mounted_set *generation_set(const struct generation *g)
{
	return g->set;
}

const struct view *generation_view(const struct generation *g)
{
	return g->view;
}

struct model *generation_model(const struct generation *g, const struct view_node *file)
{
	const struct generation *owner = g->adopted[file->file_index];

	if (!owner)
		return models_get(g->models, file);
	return models_get(owner->models, view_by_ino(owner->view, file->ino));
}

bool generation_is_first(const struct generation *g, const struct view_node *file)
{
	return !g->adopted[file->file_index];
}

void generation_log_broken(const struct generation *g)
{
	models_log_broken(g->models);
}

struct catalog_place catalog_find(struct catalog *c, uint64_t ino)
{
	struct catalog_place place = {.catalog = c};
	struct generation *g;

	pthread_mutex_lock(&c->lock);
	g = c->current;
	place.node = view_by_ino(g->view, ino);
	for (struct generation *o = c->newest; !place.node && o; o = o->older) {
		g = o;
		place.node = o->holds > 0 ? view_by_ino(o->view, ino) : NULL;
	}
	place.generation = g;
	g->holds++;
	pthread_mutex_unlock(&c->lock);
	return place;
}

void catalog_leave(struct catalog_place *place)
{
	catalog_release(place->catalog, place->generation);
	place->generation = NULL;
}

void catalog_hold_model(struct catalog *c, struct model *m)
{
	struct generation *g = models_owner(m);

	pthread_mutex_lock(&c->lock);
	g->holds++;
	pthread_mutex_unlock(&c->lock);
}

void catalog_drop_model(struct catalog *c, struct model *m)
{
	catalog_release(c, models_owner(m));
}

/* The generation after g (NULL: the first), held instead of g. */
static struct generation *step(struct catalog *c, struct generation *g)
{
	struct generation *next;

	pthread_mutex_lock(&c->lock);
	next = g ? g->older : c->newest;
	if (next)
		next->holds++;
	if (g)
		g->holds--;
	pthread_mutex_unlock(&c->lock);
	return next;
}

void catalog_check_measured(struct catalog *c)
{
	measured_check_soon(c->measured, c->openers);
}

void catalog_stop(struct catalog *c)
{
	for (struct generation *g = step(c, NULL); g; g = step(c, g))
		models_stop(g->models);
}

bool catalog_idle(struct catalog *c, unsigned wait_ms)
{
	bool idle = measured_idle(c->measured, wait_ms);

	for (struct generation *g = step(c, NULL); g; g = step(c, g))
		idle = idle && models_idle(g->models, wait_ms);
	return idle;
}
