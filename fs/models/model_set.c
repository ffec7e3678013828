/*
 * The set of models. Job: own each model, return its state, and pass its pages to the kernel. No
 * lock is held while a caller is called.
 */
#include "fs/models/model_internal.h"

#include "attest/start_event.h"
#include "crypto/base/clock.h"
#include "fs/models/unlock_model.h"

#include <errno.h>

size_t model_bytes(void)
{
	return sizeof(struct model) + 2 * sizeof(void *);
}

int models_new(const struct models_options *options, struct models **ret)
{
	size_t count = options->view->file_count;
	struct models *m = calloc(1, sizeof(*m) + count * sizeof(m->items[0]));

	if (!m)
		return -ENOMEM;
	m->options = *options;
	m->count = count;
	pthread_mutex_init(&m->lock, NULL);
	monotonic_cond_init(&m->idle);
	for (size_t i = 0; i < count; i++) {
		m->items[i].set = m;
		m->items[i].node = options->view->files[i];
		pthread_mutex_init(&m->items[i].lock, NULL);
	}
	*ret = m;
	return 0;
}

void models_free(struct models *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++) {
		measured_drop(m->options.measured, &m->items[i]);
		unlocked_free(m->items[i].unlocked);
		resident_free(model_resident(&m->items[i]));
		read_file_free(m->items[i].file);
		free(m->items[i].failed);
		pthread_mutex_destroy(&m->items[i].lock);
	}
	pthread_cond_destroy(&m->idle);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

struct model *models_get(struct models *m, const struct view_node *file)
{
	return &m->items[file->file_index];
}

void *models_owner(const struct model *m)
{
	return m->set->options.owner;
}

bool model_is_open(struct model *m)
{
	bool open;

	pthread_mutex_lock(&m->lock);
	open = m->state != MODEL_CLOSED && m->state != MODEL_OPENING;
	pthread_mutex_unlock(&m->lock);
	return open;
}

bool model_is_spoilt(struct model *m)
{
	return model_is_open(m) && read_file_poisoned(m->file, NULL) < 0;
}

uint64_t model_ino(const struct model *m)
{
	return m->node->ino;
}

void model_shown(struct model *m)
{
	if (model_is_open(m))
		read_file_shown(m->file);
}

struct read_file *model_file(struct model *m)
{
	return m->file;
}

struct resident *model_resident(struct model *m)
{
	return atomic_load(&m->resident);
}

bool models_leave(struct models *m)
{
	bool gone = true;

	for (size_t i = 0; i < m->count; i++)
		if (model_resident(&m->items[i]))
			gone = resident_leave(model_resident(&m->items[i])) && gone;
	return gone;
}

bool model_claim(struct model *m, struct measured_model *ret)
{
	enum measure_mode mode = m->set->options.measure;
	bool known;

	*ret = (struct measured_model){.key = m, .event.name = m->node->path};
	pthread_mutex_lock(&m->lock);
	known = m->unlocked && mode != MEASURE_SET && start_event_needed(mode) &&
		unlocked_claim(m->unlocked, mode, &ret->event, NULL) == 0;
	pthread_mutex_unlock(&m->lock);
	return known;
}

bool model_has_key(struct model *m)
{
	bool has;

	pthread_mutex_lock(&m->lock);
	has = m->unlocked || m->file;
	pthread_mutex_unlock(&m->lock);
	return has;
}

void model_look(struct model *m, struct model_look *ret)
{
	*ret = (struct model_look){0};
	if (model_resident(m)) {
		ret->may_be_resident = true;
		resident_look(model_resident(m), &ret->residency);
	}
	pthread_mutex_lock(&m->lock);
	ret->measurement = m->measurement;
	ret->unlocked_s = m->unlocked_s;
	ret->unlock_failures = m->unlock_failures;
	ret->has_stats = m->file != NULL;
	if (m->failed)
		ret->why = *m->failed;
	if (m->state == MODEL_OPENING)
		ret->condition = MODEL_IS_UNLOCKING;
	else if (m->file)
		ret->condition = m->measurement.done ? MODEL_IS_MEASURED : MODEL_IS_UNLOCKED;
	else if (m->unlocked)
		ret->condition = MODEL_IS_UNLOCKED;
	pthread_mutex_unlock(&m->lock);
	if (ret->has_stats) {
		stats_look(read_file_stats(m->file), &ret->stats);
		if (read_file_poisoned(m->file, &ret->why) < 0)
			ret->condition = MODEL_IS_POISONED;
		if (!ret->why.code)
			(void)read_file_trouble(m->file, &ret->why);
	} else if (m->node->broken && ret->condition == MODEL_IS_SEALED) {
		ret->condition = MODEL_IS_BROKEN;
		ret->why = view_fault_of(m->node);
	}
}

bool model_statement(struct model *m, uint8_t out[SEAL_STATEMENT_SIZE])
{
	const struct seal *seal;

	pthread_mutex_lock(&m->lock);
	seal = m->file ? read_file_seal(m->file) : m->unlocked ? unlocked_seal(m->unlocked) : NULL;
	if (seal)
		seal_copy_statement(seal, out);
	pthread_mutex_unlock(&m->lock);
	return seal;
}

int model_store(void *target, uint64_t offset, const uint8_t *data, size_t size)
{
	struct model *m = target;
	const struct models_options *o = &m->set->options;

	if (!o->kernel.store_pages || atomic_load(&m->set->stopping))
		return -ECANCELED;
	return o->kernel.store_pages(o->kernel.arg, m->node->ino, offset, data, size);
}

int model_introduce(void *target)
{
	struct model *m = target;
	const struct models_options *o = &m->set->options;

	return o->kernel.introduce ? o->kernel.introduce(o->kernel.arg, m->node->path) : -ENOENT;
}
