/*
 * Opened models. Job: single flight of opens, their log lines, and what becomes of files whose
 * reads fail. Trusts unlock_model() to return only what may be read. No lock is held while a
 * model is unlocked or a caller is told.
 */
#include "fs/model.h"

#include "crypto/base/log.h"
#include "fs/breaker.h"
#include "fs/read/monotonic.h"
#include "fs/unlock_model.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

/* The same complaint about the same model is logged again after so long. */
#define LOG_AGAIN_MS 60000
#define LOG_AGAIN_READ_MS 10000

struct model_waiter {
	struct model_waiter *next;
	model_opened *opened;
	void *arg;
};

enum model_state { MODEL_CLOSED, MODEL_OPENING, MODEL_OPEN, MODEL_MENDING };

struct model {
	struct models *set;
	const struct view_node *node;
	struct breaker breaker;

	pthread_mutex_t lock; /* guards what follows */
	enum model_state state;
	struct model_waiter *waiters;
	struct unlocked *unlocked; /* MODEL_CLOSED: keys that are there already; else NULL */
	struct read_file *file;	   /* set once, with MODEL_OPEN; then readable without the lock */
	int logged_code;	   /* of the last failure that was logged */
	uint64_t logged_ms;
	bool poison_logged;
	struct measurement measurement; /* set with file */
	int64_t unlocked_s;
	uint64_t unlock_failures;
	struct error *failed; /* the last unlocking; NULL: it went well, or there was none */
};

struct models {
	struct models_options options;
	atomic_bool stopping;

	pthread_mutex_t lock; /* guards busy */
	pthread_cond_t idle;
	unsigned busy; /* jobs in openers */

	size_t count;
	struct model items[];
};

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
		breaker_init(&m->items[i].breaker);
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
		unlocked_free(m->items[i].unlocked);
		read_file_free(m->items[i].file);
		free(m->items[i].failed);
		pthread_mutex_destroy(&m->items[i].lock);
		breaker_done(&m->items[i].breaker);
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
	open = m->state == MODEL_OPEN || m->state == MODEL_MENDING;
	pthread_mutex_unlock(&m->lock);
	return open;
}

bool model_is_spoilt(struct model *m)
{
	return model_is_open(m) &&
	       (read_file_poisoned(m->file, NULL) < 0 || breaker_size(&m->breaker) != UINT64_MAX);
}

struct read_file *model_file(struct model *m)
{
	return m->file;
}

/* What open(2) says. The log has the rest. */
static int open_errno(int code)
{
	switch (code) {
	case 0:
	case -ENOMEM:
	case -ETIMEDOUT:
	case -ESTALE:
	case -EBADMSG:
		return code;
	case -EPROTO:
		return -EBADMSG;
	case -EKEYREJECTED:
	case -ENOKEY:
	case -EACCES:
	case -EPERM:
		return -EACCES;
	case -ECANCELED:
		return -EINTR;
	default:
		return -EIO;
	}
}

static bool may_log(struct model *m, int code, uint64_t again_ms)
{
	uint64_t now = monotonic_ms();
	bool may;

	pthread_mutex_lock(&m->lock);
	may = m->logged_code != code || now - m->logged_ms >= again_ms;
	if (may) {
		m->logged_code = code;
		m->logged_ms = now;
	}
	pthread_mutex_unlock(&m->lock);
	return may && !atomic_load(&m->set->stopping);
}

void models_log_broken(struct models *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct model *model = &m->items[i];
		const struct error *broken = model->node->broken;

		if (broken && may_log(model, broken->code, LOG_AGAIN_MS))
			log_error_object(LOG_WARNING, broken, broken->code, "cannot be opened");
	}
}

/* Under the lock. Without memory for the reason there is the log. */
static void note_unlocking(struct model *m, int code, const struct error *err)
{
	free(steal_ptr(m->failed));
	if (code == 0) {
		m->unlocked_s = (int64_t)time(NULL);
		return;
	}
	m->unlock_failures++;
	m->failed = calloc(1, sizeof(*m->failed));
	if (m->failed)
		error_set(m->failed, code, "%s", error_text(err, code));
	if (m->failed && err->hint[0])
		error_hint(m->failed, "%s", err->hint);
}

static int unlock_and_measure(struct model *m, struct unlocked *u, struct read_file **ret,
			      struct measurement *ret_measured, struct error *err)
{
	const struct models_options *o = &m->set->options;
	int r = u ? 0 : unlock_model(o, m->node, &u, err);

	if (r < 0)
		return r;
	unlocked_set_target(u, m);
	r = unlocked_measure(u, o, m->node, ret, ret_measured, err);
	/* The pass over it has left pages in the kernel that nobody may have now. */
	if (r < 0)
		o->forget_pages(o->forget_arg, m->node->ino, 0);
	return r;
}

/* The model is MODEL_OPENING and this is the one thread to change that. */
static int do_open(struct model *m, struct error *err, struct model_waiter **ret_waiters)
{
	_cleanup_(unlocked_freep) struct unlocked *u = NULL;
	struct read_file *file = NULL;
	struct measurement measurement = {0};
	int r = -ECANCELED;

	pthread_mutex_lock(&m->lock);
	u = steal_ptr(m->unlocked);
	pthread_mutex_unlock(&m->lock);
	if (!atomic_load(&m->set->stopping))
		r = unlock_and_measure(m, steal_ptr(u), &file, &measurement, err);
	if (r == 0)
		read_file_opened(file);
	pthread_mutex_lock(&m->lock);
	note_unlocking(m, r, err);
	m->measurement = measurement;
	m->file = file;
	m->state = r == 0 ? MODEL_OPEN : MODEL_CLOSED;
	*ret_waiters = steal_ptr(m->waiters);
	pthread_mutex_unlock(&m->lock);
	return r;
}

static void tell_waiters(struct model *m, struct model_waiter *w, int code)
{
	while (w) {
		struct model_waiter *next = w->next;

		w->opened(w->arg, m, code);
		free(w);
		w = next;
	}
}

static void count_busy(struct models *m, int change)
{
	pthread_mutex_lock(&m->lock);
	m->busy += (unsigned)change;
	pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->lock);
}

static void run_open(void *arg)
{
	struct model *m = arg;
	struct model_waiter *waiters = NULL;
	struct error err = {0};
	int r = do_open(m, &err, &waiters);

	if (r < 0 && may_log(m, r, LOG_AGAIN_MS))
		log_error_object(LOG_ERR, &err, r, m->node->path);
	tell_waiters(m, waiters, open_errno(r));
	count_busy(m->set, -1);
}

void models_stop(struct models *m)
{
	atomic_store(&m->stopping, true);
	for (size_t i = 0; i < m->count; i++) {
		struct model *model = &m->items[i];
		struct model_waiter *waiters;

		pthread_mutex_lock(&model->lock);
		waiters = steal_ptr(model->waiters);
		pthread_mutex_unlock(&model->lock);
		tell_waiters(model, waiters, -EINTR);
	}
}

bool models_idle(struct models *m, unsigned wait_ms)
{
	uint64_t deadline = monotonic_ms() + wait_ms;
	bool idle;

	pthread_mutex_lock(&m->lock);
	while (m->busy > 0 && monotonic_cond_wait(&m->idle, &m->lock, deadline) == 0)
		;
	idle = m->busy == 0;
	pthread_mutex_unlock(&m->lock);
	return idle;
}

int model_unlock_now(struct model *m, struct error *err)
{
	return unlock_model(&m->set->options, m->node, &m->unlocked, err);
}

int model_open_now(struct model *m, struct error *err)
{
	struct model_waiter *waiters = NULL;

	pthread_mutex_lock(&m->lock);
	m->state = MODEL_OPENING;
	pthread_mutex_unlock(&m->lock);
	return do_open(m, err, &waiters);
}

/*
 * A file that was cut but not tampered with: its payload was out of reach for a while. The kernel
 * holds pages of zeros behind the cut; the order of these steps keeps them from being seen.
 */
static void run_mend(void *arg)
{
	const struct models_options *o;
	struct model *m = arg;
	struct model_waiter *waiters;

	o = &m->set->options;
	breaker_mend_begin(&m->breaker);
	o->forget_pages(o->forget_arg, m->node->ino, breaker_size(&m->breaker));
	breaker_mend_end(&m->breaker);
	o->forget_pages(o->forget_arg, m->node->ino, m->node->size);
	pthread_mutex_lock(&m->lock);
	m->state = MODEL_OPEN;
	waiters = steal_ptr(m->waiters);
	pthread_mutex_unlock(&m->lock);
	tell_waiters(m, waiters, 0);
	count_busy(m->set, -1);
}

/* 1: open, nothing to wait for. 0: queued, and somebody is at work. Under the lock. */
static int join_opening(struct model *m, struct model_waiter *w)
{
	bool cut = m->state == MODEL_OPEN && breaker_size(&m->breaker) != UINT64_MAX;

	if (atomic_load(&m->set->stopping))
		return -ECANCELED;
	if (m->state == MODEL_OPEN) {
		int r = read_file_poisoned(m->file, NULL);

		if (r == 0 && !cut)
			read_file_opened(m->file);
		if (r < 0 || !cut)
			return r < 0 ? r : 1;
	}
	if (m->state == MODEL_CLOSED || cut) {
		int r;

		count_busy(m->set, 1);
		r = pool_submit(m->set->options.openers, cut ? run_mend : run_open, m);
		if (r < 0) {
			count_busy(m->set, -1);
			return r;
		}
		m->state = cut ? MODEL_MENDING : MODEL_OPENING;
	}
	w->next = m->waiters;
	m->waiters = w;
	return 0;
}

void model_open(struct model *m, model_opened *opened, void *arg)
{
	struct model_waiter *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (w) {
		*w = (struct model_waiter){NULL, opened, arg};
		pthread_mutex_lock(&m->lock);
		r = join_opening(m, w);
		pthread_mutex_unlock(&m->lock);
	}
	if (r == 0)
		return;
	free(w);
	opened(arg, m, r > 0 ? 0 : open_errno(r));
}

bool model_open_cancel(struct model *m, const void *arg)
{
	struct model_waiter **p, *found;

	pthread_mutex_lock(&m->lock);
	for (p = &m->waiters; *p && (*p)->arg != arg;)
		p = &(*p)->next;
	found = *p;
	if (found)
		*p = found->next;
	pthread_mutex_unlock(&m->lock);
	free(found);
	return found != NULL;
}

void model_look(struct model *m, struct model_look *ret)
{
	*ret = (struct model_look){0};
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
	} else if (m->node->broken && ret->condition == MODEL_IS_SEALED) {
		ret->condition = MODEL_IS_BROKEN;
		ret->why = *m->node->broken;
	}
}

int model_store(void *target, uint64_t offset, const uint8_t *data, size_t size)
{
	struct model *m = target;
	const struct models_options *o = &m->set->options;
	int r;

	if (!o->store_pages || atomic_load(&m->set->stopping) || !breaker_push_begin(&m->breaker))
		return -ECANCELED;
	r = o->store_pages(o->forget_arg, m->node->ino, offset, data, size);
	breaker_push_end(&m->breaker);
	return r;
}

int model_introduce(void *target)
{
	struct model *m = target;
	const struct models_options *o = &m->set->options;

	return o->introduce ? o->introduce(o->forget_arg, m->node->path) : -ENOENT;
}

bool model_read_failed(struct model *m, uint64_t offset, int code, const struct error *err)
{
	if (code != -ECANCELED)
		stats_count_error(read_file_stats(m->file), code);
	if (code == -EBADMSG || code == -ESTALE) {
		bool first;

		pthread_mutex_lock(&m->lock);
		first = !m->poison_logged;
		m->poison_logged = true;
		pthread_mutex_unlock(&m->lock);
		if (first)
			log_error_object(LOG_ERR, err, code, m->node->path);
	} else if (may_log(m, code, LOG_AGAIN_READ_MS)) {
		log_error_object(LOG_ERR, err, code, m->node->path);
	}
	return breaker_error(&m->breaker, offset, monotonic_ms());
}

bool model_is_cut(struct model *m, uint64_t offset)
{
	return breaker_is_cut(&m->breaker, offset);
}

void model_answered(struct model *m)
{
	breaker_answered(&m->breaker);
}

uint64_t model_size(struct model *m)
{
	return MIN(m->node->size, breaker_size(&m->breaker));
}
