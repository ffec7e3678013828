/*
 * The measured models of a mount. Job: keep the PCR and the list of served models equal, in one
 * order. Trusts measure_models() for the TPM and the log. Must never report a model as measured
 * that the PCR did not show a second ago.
 */
#include "fs/models/measured.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* How long a reading of the PCR is valid: between these limits, four times what it took, so that
 * opens never use more than a fifth of a TPM's time. */
#define FRESH_MIN_MS 250
#define FRESH_MAX_MS 1000
#define LOOK_MS 15000

struct entry {
	const void *key;
	char *name;
	bool earlier; /* the PCR had it before it came */
};

struct measured {
	struct measure_options options;
	enum measure_mode mode;

	pthread_mutex_t work; /* one at a time talks to the TPM; guards what follows */
	struct measure_event *events;
	struct entry *entries; /* of the same index */
	size_t count, room;

	pthread_mutex_t lock; /* guards what follows; never held while waiting for anything else */
	pthread_cond_t idle;
	uint64_t looked_ms;
	unsigned checks; /* in a pool, 0 or 1 */
	struct error last;
	atomic_uint_fast64_t fresh_until_ms;
};

int measured_new(const struct measure_options *options, enum measure_mode mode,
		 struct measured **ret)
{
	struct measured *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->options = *options;
	m->mode = mode;
	pthread_mutex_init(&m->work, NULL);
	pthread_mutex_init(&m->lock, NULL);
	monotonic_cond_init(&m->idle);
	*ret = m;
	return 0;
}

void measured_change(struct measured *m, const struct measure_options *options)
{
	m->options = *options;
}

void measured_free(struct measured *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++)
		free(m->entries[i].name);
	free(m->events);
	free(m->entries);
	pthread_cond_destroy(&m->idle);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->work);
	free(m);
}

static int grow(struct measured *m, size_t more)
{
	size_t room = MAX(2 * m->room, m->count + more);
	struct measure_event *events;
	struct entry *entries;

	if (m->room - m->count >= more)
		return 0;
	events = reallocarray(m->events, room, sizeof(*events));
	if (!events)
		return -ENOMEM;
	m->events = events;
	entries = reallocarray(m->entries, room, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	m->entries = entries;
	m->room = room;
	return 0;
}

/* served: the number of models that are served already, all of which the PCR must show. */
static void note(struct measured *m, uint64_t began_ms, size_t served, int code,
		 const struct error *err)
{
	uint64_t now = monotonic_ms();
	uint64_t fresh = MAX(4 * (now - began_ms), (uint64_t)FRESH_MIN_MS);

	pthread_mutex_lock(&m->lock);
	m->last = (struct error){0};
	if (code < 0 && served > 0) {
		m->last = *err;
		m->last.code = code;
	}
	pthread_mutex_unlock(&m->lock);
	atomic_store(&m->fresh_until_ms, code == 0 ? now + MIN(fresh, (uint64_t)FRESH_MAX_MS) : 0);
}

/* The first `count` events are in the PCR when this returns 0. `had` of them were before. */
static int measure(struct measured *m, size_t count, size_t had, struct error *err)
{
	struct error mine = {0};
	uint64_t began_ms = monotonic_ms();
	size_t again = 0;
	int r = measure_models(&m->options, m->events, count, &mine);

	note(m, began_ms, had, r, &mine);
	for (size_t i = 0; i < had; i++)
		again += m->events[i].extended;
	if (again > 0)
		log_warning("PCR %u had lost its measurements, as after a reset of the TPM: "
			    "%zu model%s measured again",
			    m->options.pcr, again, again == 1 ? " was" : "s were");
	if (r < 0 && err)
		*err = mine;
	return r;
}

/* The index of a key; count: it is not here. */
static size_t find(const struct measured *m, const void *key)
{
	size_t i = 0;

	while (i < m->count && m->entries[i].key != key)
		i++;
	return i;
}

/* Puts it behind the others, not measured yet. */
static int append(struct measured *m, const struct measured_model *model)
{
	char *name;

	if (find(m, model->key) < m->count)
		return 0;
	name = strdup(model->event.name);
	if (!name)
		return -ENOMEM;
	m->entries[m->count] = (struct entry){.key = model->key, .name = name};
	m->events[m->count] = model->event;
	m->events[m->count].name = name;
	m->count++;
	return 0;
}

int measured_add(struct measured *m, const struct measured_model *models, size_t count,
		 struct error *err)
{
	size_t had;
	int r;

	pthread_mutex_lock(&m->work);
	had = m->count;
	r = grow(m, count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = append(m, &models[i]);
	if (r == 0 && m->count > had)
		r = measure(m, m->count, had, err);
	for (size_t i = had; r == 0 && i < m->count; i++)
		m->entries[i].earlier = !m->events[i].extended;
	while (r < 0 && m->count > had)
		free(m->entries[--m->count].name);
	pthread_mutex_unlock(&m->work);
	return r;
}

bool measured_has(struct measured *m, const void *key, bool *ret_earlier)
{
	bool has;
	size_t i;

	pthread_mutex_lock(&m->work);
	i = find(m, key);
	has = i < m->count;
	if (has)
		*ret_earlier = m->entries[i].earlier;
	pthread_mutex_unlock(&m->work);
	return has;
}

static void forget_failure(struct measured *m)
{
	pthread_mutex_lock(&m->lock);
	m->last = (struct error){0};
	pthread_mutex_unlock(&m->lock);
}

void measured_drop(struct measured *m, const void *key)
{
	size_t i;

	pthread_mutex_lock(&m->work);
	i = find(m, key);
	if (i < m->count) {
		free(m->entries[i].name);
		m->count--;
		memmove(m->entries + i, m->entries + i + 1, (m->count - i) * sizeof(*m->entries));
		memmove(m->events + i, m->events + i + 1, (m->count - i) * sizeof(*m->events));
		if (m->count == 0)
			forget_failure(m);
	}
	pthread_mutex_unlock(&m->work);
}

bool measured_is_fresh(struct measured *m)
{
	return m->mode == MEASURE_NONE || monotonic_ms() < atomic_load(&m->fresh_until_ms);
}

int measured_check(struct measured *m, struct error *err)
{
	int r = 0;

	pthread_mutex_lock(&m->work);
	/* Another thread may have checked while this one waited. */
	if (m->count > 0 && !measured_is_fresh(m))
		r = measure(m, m->count, m->count, err);
	pthread_mutex_unlock(&m->work);
	return r;
}

static void run_check(void *arg)
{
	struct measured *m = arg;
	struct error before, err = {0};
	int r;

	measured_look(m, &before);
	r = measured_check(m, &err);
	/* Each reason once. */
	if (r < 0 && strcmp(before.message, err.message) != 0)
		log_error_object(LOG_ERR, &err, r, "models that are measured cannot be opened");
	pthread_mutex_lock(&m->lock);
	m->checks--;
	pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->lock);
}

void measured_check_soon(struct measured *m, struct pool *pool)
{
	uint64_t now = monotonic_ms();
	bool begin;

	pthread_mutex_lock(&m->lock);
	begin = m->mode != MEASURE_NONE && m->checks == 0 && now - m->looked_ms >= LOOK_MS;
	if (begin)
		m->looked_ms = now;
	m->checks += begin;
	pthread_mutex_unlock(&m->lock);
	if (!begin || pool_submit(pool, run_check, m) == 0)
		return;
	pthread_mutex_lock(&m->lock);
	m->checks--;
	pthread_mutex_unlock(&m->lock);
}

bool measured_idle(struct measured *m, unsigned wait_ms)
{
	uint64_t deadline = monotonic_ms() + wait_ms;
	bool idle;

	pthread_mutex_lock(&m->lock);
	while (m->checks > 0 && monotonic_cond_wait(&m->idle, &m->lock, deadline) == 0)
		;
	idle = m->checks == 0;
	pthread_mutex_unlock(&m->lock);
	return idle;
}

void measured_look(struct measured *m, struct error *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->last;
	pthread_mutex_unlock(&m->lock);
}
