/*
 * Opening models. Job: do the work of concurrent opens once, and pause after an open that failed.
 * Trusts unlock_model() to return only plaintext that may be read. No lock is held while a model is
 * unlocked or a caller is called.
 */
#include "fs/models/model_internal.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "fs/models/unlock_model.h"

#include <errno.h>
#include <time.h>

/* The pause before a model that failed to open is tried again; it doubles each time. Without it,
 * any user who may open files could make us send signed requests at any rate, also if the key was
 * released and the payload failed. */
#define FAILED_FIRST_MS ((uint64_t)1000)
#define REFUSED_MAX_MS ((uint64_t)300000)
#define FAILED_MAX_MS ((uint64_t)5000)

/* The errno for open(2). The log has the details. */
static int open_errno(int code)
{
	switch (code) {
	case 0:
	case -ENOMEM:
	case -ETIMEDOUT:
	case -ESTALE:
	case -EBADMSG:
		return code;
	case -ENOBUFS:
		return -ENOMEM;
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

/* The longest pause after a failure; 0: none. Requests to an unreachable server were already
 * repeated with pauses, and memory may be available as soon as another file is closed. */
static uint64_t longest_pause(int code)
{
	if (code == -ENOMEM || code == -ENOBUFS || code == -ECANCELED)
		return 0;
	switch (error_exit_code(code)) {
	case EXIT_CODE_REFUSED:
	case EXIT_CODE_NOT_AUTHENTIC:
		return REFUSED_MAX_MS;
	case EXIT_CODE_OK:
	case EXIT_CODE_UNREACHABLE:
		return 0;
	default:
		return FAILED_MAX_MS;
	}
}

/* Under the lock. */
static void note_refusal(struct model *m, int code)
{
	uint64_t most = longest_pause(code);

	m->refused_code = most > 0 ? code : 0;
	if (!m->refused_code) {
		m->refusals = 0;
		return;
	}
	m->ask_again_ms = monotonic_ms() + MIN(FAILED_FIRST_MS << MIN(m->refusals, 20U), most);
	m->refusals++;
}

/* Under the lock. True: this open fails with the last refusal, too. */
static bool stays_refused(struct model *m)
{
	return m->refused_code &&
	       (monotonic_ms() < m->ask_again_ms || !unlock_may_repeat(m->set->options.unlock));
}

void model_ask_again(struct model *m)
{
	pthread_mutex_lock(&m->lock);
	m->refused_code = 0;
	m->refusals = 0;
	pthread_mutex_unlock(&m->lock);
}

/* Under the lock. Without memory for the reason, only the log has it. */
static void note_unlocking(struct model *m, int code, const struct error *err)
{
	free(steal_ptr(m->failed));
	note_refusal(m, code);
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
	r = unlocked_measure(u, o, m->node, m, ret, ret_measured, err);
	/* The pass over the model has left pages in the kernel that must not be read now. */
	if (r < 0 && o->kernel.forget_pages)
		o->kernel.forget_pages(o->kernel.arg, m->node->ino, 0);
	return r;
}

/* Without memory for it the model is just not resident. */
static struct resident *make_resident(struct model *m, struct read_file *file)
{
	struct resident *resident = NULL;

	if (m->set->options.residents)
		(void)resident_new(m->set->options.residents, file, m->node->path, &resident);
	return resident;
}

/* The model is MODEL_OPENING and this is the one thread to change that. */
static int do_open(struct model *m, struct error *err, struct model_waiter **ret_waiters)
{
	_cleanup_(unlocked_freep) struct unlocked *u = NULL;
	struct read_file *file = NULL;
	struct measurement measurement = {0};
	struct resident *resident = NULL;
	int r = -ECANCELED;

	pthread_mutex_lock(&m->lock);
	u = steal_ptr(m->unlocked);
	pthread_mutex_unlock(&m->lock);
	if (!atomic_load(&m->set->stopping))
		r = unlock_and_measure(m, steal_ptr(u), &file, &measurement, err);
	if (r == 0)
		resident = make_resident(m, file);
	pthread_mutex_lock(&m->lock);
	note_unlocking(m, r, err);
	m->measurement = measurement;
	m->file = file;
	atomic_store(&m->resident, resident);
	m->state = r == 0 ? MODEL_OPEN : MODEL_CLOSED;
	*ret_waiters = steal_ptr(m->waiters);
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* Each gets a use of the file's tables with its success; model_close() ends it. */
static void tell_waiters(struct model *m, struct model_waiter *w, int code)
{
	while (w) {
		struct model_waiter *next = w->next;
		struct error err = {0};
		int r = code < 0 ? 0 : read_file_use(m->file, NULL, 0, &err);

		if (r < 0 && model_may_log(m, r, LOG_AGAIN_MS))
			log_error_object(LOG_ERR, &err, r, m->node->path);
		w->opened(w->arg, m, code < 0 ? code : open_errno(r));
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

	if (r == 0)
		read_file_opened(m->file);
	if (r < 0 && model_may_log(m, r, LOG_AGAIN_MS))
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
	_cleanup_(unlocked_freep) struct unlocked *u = NULL;
	int r = unlock_model(&m->set->options, m->node, &u, err);

	pthread_mutex_lock(&m->lock);
	if (r == 0)
		m->unlocked = steal_ptr(u);
	note_unlocking(m, r, err);
	pthread_mutex_unlock(&m->lock);
	return r;
}

int model_open_now(struct model *m, struct error *err)
{
	struct model_waiter *waiters = NULL;

	pthread_mutex_lock(&m->lock);
	m->state = MODEL_OPENING;
	pthread_mutex_unlock(&m->lock);
	return do_open(m, err, &waiters);
}

/* The model is open, but the PCR must be read again, or its tables. */
static void run_check(void *arg)
{
	struct model *m = arg;
	struct model_waiter *waiters;
	struct error err = {0};
	int r = measured_check(m->set->options.measured, &err);

	if (r == 0)
		read_file_opened(m->file);
	else if (model_may_log(m, r, LOG_AGAIN_MS))
		log_error_object(LOG_ERR, &err, r, m->node->path);
	pthread_mutex_lock(&m->lock);
	m->state = MODEL_OPEN;
	waiters = steal_ptr(m->waiters);
	pthread_mutex_unlock(&m->lock);
	tell_waiters(m, waiters, open_errno(r));
	count_busy(m->set, -1);
}

void model_close(struct model *m)
{
	read_file_unuse(m->file);
}

/* What must be done before this open can succeed; NULL: nothing, or it is being done. An open
 * model's tables are then in use on behalf of the opener. */
static void (*find_work(struct model *m, enum model_state *ret))(void *arg)
{
	if (m->state == MODEL_CLOSED) {
		*ret = MODEL_OPENING;
		return run_open;
	}
	if (m->state != MODEL_OPEN)
		return NULL;
	if (!measured_is_fresh(m->set->options.measured) || !read_file_try_use(m->file)) {
		*ret = MODEL_CHECKING;
		return run_check;
	}
	return NULL;
}

/* 1: open, nothing to wait for. 0: queued, and the work is being done. Under the lock. */
static int join_opening(struct model *m, struct model_waiter *w)
{
	enum model_state next;
	void (*work)(void *arg);
	int r;

	if (atomic_load(&m->set->stopping))
		return -ECANCELED;
	if (m->state == MODEL_OPEN) {
		r = read_file_poisoned(m->file, NULL);
		if (r < 0)
			return r;
	}
	if (m->state == MODEL_CLOSED && stays_refused(m))
		return m->refused_code;
	work = find_work(m, &next);
	if (!work && m->state == MODEL_OPEN) {
		read_file_opened(m->file);
		return 1;
	}
	if (work) {
		count_busy(m->set, 1);
		r = pool_submit(m->set->options.openers, work, m);
		if (r < 0) {
			count_busy(m->set, -1);
			return r;
		}
		m->state = next;
	}
	w->next = m->waiters;
	m->waiters = w;
	return 0;
}

void model_open(struct model *m, model_opened *opened, model_open_left *left, void *arg)
{
	struct model_waiter *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (w) {
		*w = (struct model_waiter){NULL, opened, arg};
		pthread_mutex_lock(&m->lock);
		r = join_opening(m, w);
		if (r == 0 && left(arg)) {
			m->waiters = w->next;
			r = -ECANCELED;
		}
		pthread_mutex_unlock(&m->lock);
	}
	if (r == 0)
		return;
	free(w);
	if (r == -ENOMEM && model_may_log(m, r, LOG_AGAIN_MS))
		log_error("%s: cannot be opened: no memory or no thread", m->node->path);
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
