/*
 * Starting threads. Job: block signals before the thread exists, and report a failure with what to
 * do.
 */
#include "crypto/base/thread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* Not EAGAIN, which would mean that a server was out of reach. */
static int lacking(struct error *err, const char *what, int code)
{
	error_hint(err,
		   "raise the limit on processes and threads: ulimit -u, TasksMax= of the unit, "
		   "pids.max of the control group");
	return error_set(err, -ENOMEM, "cannot start a %s: %s", what, strerror(code));
}

int thread_start(pthread_t *ret, void *(*run)(void *arg), void *arg, struct error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(ret, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		return 0;
	return lacking(err, "thread", r);
}

int error_no_process(struct error *err, int code)
{
	return lacking(err, "process", -code);
}
