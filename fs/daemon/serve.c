/*
 * Supervision. Job: one thread that asks for time during a start, then the main loop. Must never
 * tell the service manager that all is well because a timer ran: see life.h.
 */
#include "fs/supervise.h"

#include "crypto/base/log.h"
#include "fs/read/monotonic.h"

#include <errno.h>
#include <pthread.h>

#define TICK_MS 5000
#define EXTEND_MS 60000

struct supervisor {
	struct supervision what;
	pthread_t thread;
	pthread_mutex_t lock; /* guards `over` */
	pthread_cond_t changed;
	bool over;
};

static void look(const struct supervision *w)
{
	if (w->source)
		w->life->answers = source_answers(w->source);
}

static void *run_start(void *arg)
{
	struct supervisor *s = arg;
	const struct supervision *w = &s->what;

	pthread_mutex_lock(&s->lock);
	while (!s->over) {
		if (monotonic_cond_wait(&s->changed, &s->lock, monotonic_ms() + TICK_MS) == 0)
			continue;
		look(w);
		if (life_has_moved(w->life, monotonic_ms()))
			notify_extend(w->notify, EXTEND_MS);
		status_refresh(w->status);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int supervise_start(const struct supervision *what, struct supervisor **ret)
{
	struct supervisor *s;

	*ret = NULL;
	if (!notify_is_heard(what->notify))
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->what = *what;
	pthread_mutex_init(&s->lock, NULL);
	monotonic_cond_init(&s->changed);
	if (pthread_create(&s->thread, NULL, run_start, s) != 0) {
		pthread_cond_destroy(&s->changed);
		pthread_mutex_destroy(&s->lock);
		free(s);
		return -EAGAIN;
	}
	*ret = s;
	return 0;
}

void supervise_start_over(struct supervisor *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->over = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Often enough that two lost datagrams do no harm. */
static int tick_ms(const struct notify *n)
{
	unsigned watchdog_ms = notify_watchdog_ms(n);

	if (!notify_is_heard(n))
		return -1;
	return watchdog_ms ? (int)MAX(MIN(watchdog_ms / 3, (unsigned)TICK_MS), 1U) : TICK_MS;
}

static void tick(const struct supervision *w, struct keeper *keeper)
{
	look(w);
	status_refresh(w->status);
	if (!notify_watchdog_ms(w->notify))
		return;
	if (life_is_good(w->life, monotonic_ms()))
		notify_alive(w->notify);
	else
		log_error("requests are not answered any more");
	if (keeper && keeper_ask(keeper) == 0)
		w->life->answered = false;
}

/* False: the keeper is gone. */
static bool take_answer(const struct supervision *w, struct keeper *keeper)
{
	int r = keeper_take_answer(keeper);

	if (r == 0)
		w->life->answered = true;
	return r != -EPIPE && r != -ECONNRESET;
}

/* SIGHUP asks a daemon to reload; from a terminal that goes away it means the end. */
static enum supervise_reason hangup_reason(void)
{
	return isatty(STDERR_FILENO) ? SUPERVISE_END : SUPERVISE_RELOAD;
}

enum supervise_reason supervise(const struct supervision *w, struct mount *mount,
				struct keeper *keeper)
{
	int pause_ms = tick_ms(w->notify);
	uint64_t next_ms = monotonic_ms();

	if (w->life->moved_ms == 0)
		life_start(w->life, next_ms);
	for (;;) {
		uint64_t now_ms = monotonic_ms();
		int fd = keeper ? keeper_fd(keeper) : -1;

		if (pause_ms >= 0 && now_ms >= next_ms) {
			tick(w, keeper);
			next_ms = now_ms + (uint64_t)pause_ms;
		}
		switch (mount_wait(mount, fd, pause_ms < 0 ? -1 : (int)(next_ms - now_ms))) {
		case MOUNT_ENDED:
			return SUPERVISE_END;
		case MOUNT_STOP:
			log_info("unmounting");
			return SUPERVISE_END;
		case MOUNT_HANGUP:
			return hangup_reason();
		case MOUNT_READABLE:
			if (!take_answer(w, keeper))
				keeper = NULL;
			break;
		case MOUNT_TIMEOUT:
			break;
		}
	}
}
