/*
 * The thread that answers late. Job: give each answer when it is due. Must never answer a request
 * twice, or touch one after its answer: the code that takes it out of the deferral answers it.
 */
#include "fs/models/late.h"

#include "crypto/base/clock.h"
#include "crypto/base/thread.h"
#include "fs/models/process.h"

#include <errno.h>

struct late {
	struct late_calls calls;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct deferral *deferral;
	uint64_t wake_ms; /* when the thread looks again */
	bool stopping;
};

static void wait_for_next(struct late *l)
{
	l->wake_ms = deferral_next_ms(l->deferral);
	if (l->wake_ms == UINT64_MAX)
		pthread_cond_wait(&l->changed, &l->lock);
	else
		(void)monotonic_cond_wait(&l->changed, &l->lock, l->wake_ms);
}

static void *run(void *arg)
{
	struct late *l = arg;
	struct deferred read;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		if (deferral_take(l->deferral, l->stopping ? UINT64_MAX : monotonic_ms(), &read)) {
			pthread_mutex_unlock(&l->lock);
			l->calls.answer(read.request, read.code);
			pthread_mutex_lock(&l->lock);
		} else if (l->stopping) {
			break;
		} else {
			wait_for_next(l);
		}
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int late_new(const struct late_calls *calls, struct late **ret, struct error *err)
{
	_cleanup_(late_freep) struct late *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->calls = *calls;
	pthread_mutex_init(&l->lock, NULL);
	monotonic_cond_init(&l->changed);
	r = deferral_new(process_of_thread, process_is_there, &l->deferral);
	if (r == 0)
		r = thread_start(&l->thread, run, l, err);
	if (r < 0)
		return r;
	l->started = true;
	*ret = steal_ptr(l);
	return 0;
}

/* Under the lock, so that the request is not answered elsewhere. True: the caller must answer it.
 */
static bool take_if_killed(struct late *l, void *request)
{
	const struct deferred *read = deferral_find(l->deferral, request);

	/* Other signals do not count: one that is blocked stays pending, and would hurry each
	 * answer. */
	if (!read || !process_is_dying(read->reader))
		return false;
	deferral_remove(l->deferral, read);
	return true;
}

bool late_fail(struct late *l, const struct deferred *read, struct deferral_look *ret_look)
{
	uint64_t now_ms = monotonic_ms();
	bool later, killed = false;

	pthread_mutex_lock(&l->lock);
	later = !l->stopping && deferral_add(l->deferral, read, now_ms);
	/* late_interrupt() did not find the request if the signal came before it was added. */
	if (later && l->calls.is_interrupted(read->request))
		killed = take_if_killed(l, read->request);
	later = later && !killed;
	if (later) {
		deferral_look(l->deferral, read->ino, now_ms, ret_look);
		if (deferral_next_ms(l->deferral) < l->wake_ms)
			pthread_cond_signal(&l->changed);
	}
	pthread_mutex_unlock(&l->lock);
	if (!later)
		l->calls.answer(read->request, killed ? -EINTR : read->code);
	return later;
}

void late_interrupt(struct late *l, void *request)
{
	bool killed;

	pthread_mutex_lock(&l->lock);
	killed = take_if_killed(l, request);
	pthread_mutex_unlock(&l->lock);
	if (killed)
		l->calls.answer(request, -EINTR);
}

void late_stop(struct late *l)
{
	bool started;

	pthread_mutex_lock(&l->lock);
	l->stopping = true;
	started = l->started;
	l->started = false;
	pthread_cond_signal(&l->changed);
	pthread_mutex_unlock(&l->lock);
	if (started)
		pthread_join(l->thread, NULL);
}

void late_free(struct late *l)
{
	if (!l)
		return;
	late_stop(l);
	deferral_free(l->deferral);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void late_look(struct late *l, uint64_t ino, struct deferral_look *ret)
{
	pthread_mutex_lock(&l->lock);
	deferral_look(l->deferral, ino, monotonic_ms(), ret);
	pthread_mutex_unlock(&l->lock);
}
