/*
 * Signals become an ordinary event. Job: let an interrupted run abort its uploads and remove its
 * files, and then end by the signal that came. Trusts the hooks to be quick. Must never do work
 * inside a signal handler: it installs none.
 */
#include "tools/common/interrupt.h"

#include "crypto/base/thread.h"
#include "fs/service/signals.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#define HOOKS_MAX 4
#define GRACE_S 10

static struct {
	sigset_t signals;
	bool pipe_ignored;    /* when the program started */
	sem_t running;	      /* posted once by the thread that waits for signals */
	pthread_mutex_t lock; /* guards all below */
	int received;	      /* signal number, 0: none */
	int held;
	struct {
		void (*fn)(void *ctx);
		void *ctx;
		bool called;
	} hooks[HOOKS_MAX];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* With the lock held. */
static void call_hooks(void)
{
	if (!state.received || state.held > 0)
		return;
	for (int i = 0; i < HOOKS_MAX; i++) {
		if (!state.hooks[i].fn || state.hooks[i].called)
			continue;
		state.hooks[i].called = true;
		state.hooks[i].fn(state.hooks[i].ctx);
	}
}

/* Nothing would be cancelled, and no step is going on that must be completed. */
static bool is_idle(void)
{
	bool idle;

	pthread_mutex_lock(&state.lock);
	idle = state.held == 0;
	for (int i = 0; i < HOOKS_MAX; i++)
		idle = idle && !state.hooks[i].fn;
	pthread_mutex_unlock(&state.lock);
	return idle;
}

/* A pipe that nobody writes, or a lock that another process holds, may keep the program from
 * looking at the flag. Returns the second signal, or the first where that is so. */
static int wait_for_second(int first)
{
	const struct timespec grace = {.tv_sec = GRACE_S};
	int number;

	do
		number = sigtimedwait(&state.signals, NULL, &grace);
	while (number < 0 && (errno == EINTR || !is_idle()));
	return number < 0 ? first : number;
}

static void *wait_for_signals(void *arg)
{
	int number;

	sem_post(&state.running);
	if (sigwait(&state.signals, &number) != 0)
		return NULL;
	pthread_mutex_lock(&state.lock);
	state.received = number;
	call_hooks();
	pthread_mutex_unlock(&state.lock);

	if (wait_for_second(number) == SIGINT)
		signals_die(SIGINT);
	_exit(EXIT_CODE_FAILURE);
}

void interrupt_die(void)
{
	int number;

	pthread_mutex_lock(&state.lock);
	number = state.received;
	pthread_mutex_unlock(&state.lock);
	if (number == SIGINT)
		signals_die(number);
}

int interrupt_setup(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	pthread_t thread;
	int r;

	sigemptyset(&state.signals);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		struct sigaction old;

		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&state.signals, numbers[i]);
	}
	state.pipe_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;
	if (sem_init(&state.running, 0, 0) < 0)
		return -errno;
	r = pthread_sigmask(SIG_BLOCK, &state.signals, NULL);
	if (r == 0)
		r = -thread_start(&thread, wait_for_signals, NULL, NULL);
	if (r == 0)
		r = pthread_detach(thread);
	/* A process that ends while a thread of it is being made looks to LeakSanitizer like a
	 * leak. */
	while (r == 0 && sem_wait(&state.running) < 0 && errno == EINTR)
		;
	return -r;
}

void interrupt_end(void)
{
	signal(SIGPIPE, state.pipe_ignored ? SIG_IGN : SIG_DFL);
	(void)pthread_sigmask(SIG_UNBLOCK, &state.signals, NULL);
}

int interrupt_check(struct error *err)
{
	int number;

	pthread_mutex_lock(&state.lock);
	number = state.received;
	pthread_mutex_unlock(&state.lock);
	if (!number)
		return 0;
	return error_set(err, -EINTR, "interrupted by %s",
			 number == SIGINT    ? "SIGINT"
			 : number == SIGTERM ? "SIGTERM"
					     : "SIGHUP");
}

int interrupt_translate(int code, struct error *err)
{
	if (code == 0 || interrupt_check(NULL) == 0)
		return code;
	error_clear(err);
	return interrupt_check(err);
}

int interrupt_hook(void (*fn)(void *ctx), void *ctx)
{
	int r = -ENOSPC;

	pthread_mutex_lock(&state.lock);
	for (int i = 0; i < HOOKS_MAX && r < 0; i++)
		if (!state.hooks[i].fn) {
			state.hooks[i].fn = fn;
			state.hooks[i].ctx = ctx;
			state.hooks[i].called = false;
			r = 0;
		}
	call_hooks();
	pthread_mutex_unlock(&state.lock);
	return r;
}

void interrupt_unhook(void (*fn)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&state.lock);
	for (int i = 0; i < HOOKS_MAX; i++)
		if (state.hooks[i].fn == fn && state.hooks[i].ctx == ctx)
			state.hooks[i].fn = NULL;
	pthread_mutex_unlock(&state.lock);
}

void interrupt_hold(void)
{
	pthread_mutex_lock(&state.lock);
	state.held++;
	pthread_mutex_unlock(&state.lock);
}

void interrupt_release(void)
{
	pthread_mutex_lock(&state.lock);
	state.held--;
	call_hooks();
	pthread_mutex_unlock(&state.lock);
}
