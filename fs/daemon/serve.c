/*
 * Supervision. Job: one thread that receives signals and asks for time during a start, then the
 * main loop. Must never report "alive" to the service manager only because a timer ran: see life.h.
 */
#include "fs/daemon/serve.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "crypto/base/thread.h"
#include "fs/service/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#define TICK_MS 5000
#define TERMINAL_TICK_MS 2000
#define EXTEND_MS 60000

struct supervisor {
	struct supervision what;
	int signal_fd; /* borrowed */
	int over_fd;
	pthread_t thread;
	int tick_ms; /* -1: nobody is to be informed */
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
	struct pollfd fds[] = {
		{.fd = s->over_fd, .events = POLLIN},
		{.fd = s->signal_fd, .events = POLLIN},
	};

	for (;;) {
		int n = poll(fds, ARRAY_LEN(fds), s->tick_ms);
		int number = n > 0 && fds[1].revents ? signals_read(s->signal_fd) : 0;

		if (number)
			signals_die(number);
		if (n > 0 && fds[0].revents)
			return NULL;
		if (n != 0)
			continue;
		if (s->tick_ms == TERMINAL_TICK_MS)
			notify_log_status(w->notify);
		look(w);
		if (life_has_moved(w->life, monotonic_ms()))
			notify_extend(w->notify, EXTEND_MS);
		notify_refresh(w->notify);
	}
}

int supervise_start(const struct supervision *what, int signal_fd, struct supervisor **ret,
		    struct error *err)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->what = *what;
	s->signal_fd = signal_fd;
	/* A user at a terminal is informed, too, why it takes long. */
	s->tick_ms = notify_is_heard(what->notify) ? TICK_MS
		     : isatty(STDERR_FILENO)	   ? TERMINAL_TICK_MS
						   : -1;
	s->over_fd = eventfd(0, EFD_CLOEXEC);
	r = s->over_fd < 0
		    ? error_set(err, -errno, "cannot make an event descriptor: %s", strerror(errno))
		    : thread_start(&s->thread, run_start, s, err);
	if (r < 0) {
		if (s->over_fd >= 0)
			close(s->over_fd);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void supervise_start_over(struct supervisor *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	if (write(s->over_fd, &one, sizeof(one)) == sizeof(one))
		(void)pthread_join(s->thread, NULL);
	close(s->over_fd);
	free(s);
}

/* Three times as often as the watchdog needs: two datagrams may be lost. */
static int tick_ms(const struct supervision *w)
{
	unsigned watchdog_ms = notify_watchdog_ms(w->notify);

	if (!notify_is_heard(w->notify))
		return TICK_MS;
	return watchdog_ms ? (int)MAX(MIN(watchdog_ms / 3, (unsigned)TICK_MS), 1U) : TICK_MS;
}

static void tick(const struct supervision *w, struct keeper *keeper)
{
	look(w);
	notify_refresh(w->notify);
	w->tidy(w->tidy_arg);
	if (w->catalog)
		catalog_check_measured(w->catalog);
	if (!notify_watchdog_ms(w->notify))
		return;
	if (life_is_good(w->life, monotonic_ms()))
		notify_alive(w->notify);
	else
		log_error("requests or probes of the mount are not answered: no sign of life");
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

/* SIGHUP means reload; from a terminal that is closed it means the end. */
static enum supervise_reason hangup_reason(void)
{
	return isatty(STDERR_FILENO) ? SUPERVISE_END : SUPERVISE_RELOAD;
}

enum supervise_reason supervise(const struct supervision *w, struct mount *mount,
				struct keeper *keeper)
{
	int pause_ms = tick_ms(w);
	uint64_t next_ms = monotonic_ms();

	if (w->life->moved_ms == 0)
		life_start(w->life, next_ms);
	for (;;) {
		uint64_t now_ms = monotonic_ms();
		int fd = keeper ? keeper_fd(keeper) : -1;

		if (now_ms >= next_ms) {
			tick(w, keeper);
			next_ms = now_ms + (uint64_t)pause_ms;
		}
		switch (mount_wait(mount, fd, (int)(next_ms - now_ms))) {
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
