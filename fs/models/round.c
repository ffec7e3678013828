/*
 * Rounds. Job: keep several threads busy with one attempt each, and pick the failure to report.
 */
#include "fs/models/round.h"

#include "crypto/base/pool.h"

#include <errno.h>

/* KMS and S3 take far more; a machine's TPM and processors do not. */
#define THREADS 16

bool round_may_pass(int code)
{
	return code == -ENODEV || error_exit_code(code) == EXIT_CODE_UNREACHABLE;
}

/* Under the lock. */
static void note_failure(struct round *r, size_t index, int code, const struct error *err)
{
	bool passes = round_may_pass(code), passed = round_may_pass(r->err.code);

	if (r->failed < r->count && !(passed && !passes) &&
	    !(passed == passes && index < r->failed))
		return;
	r->failed = index;
	r->err = *err;
	r->err.code = code;
}

static void run(void *arg)
{
	struct round *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->stop && r->next < r->count) {
		size_t index = r->next++;
		struct error err = {0};
		int code;

		if (!r->begin(r->arg, index))
			continue;
		pthread_mutex_unlock(&r->lock);
		code = r->attempt(r->arg, index, &err);
		pthread_mutex_lock(&r->lock);
		if (r->end(r->arg, index, code, &err, &r->stop))
			note_failure(r, index, code, &err);
	}
	pthread_mutex_unlock(&r->lock);
}

int round_run(struct round *r, struct error *err)
{
	_cleanup_(pool_freep) struct pool *pool = NULL;
	size_t threads = MIN(r->count, (size_t)THREADS);
	int code;

	r->next = 0;
	r->stop = false;
	r->failed = r->count;
	r->err = (struct error){0};
	if (threads == 0)
		return 0;
	code = pool_new((unsigned)threads, &pool);
	if (code == 0)
		code = pool_start(pool, err);
	if (code == 0)
		code = pool_submit(pool, run, r);
	if (code < 0)
		return code;
	/* With fewer threads it takes longer. */
	for (size_t i = 1; code == 0 && i < threads; i++)
		code = pool_submit(pool, run, r);
	pool_free(steal_ptr(pool));
	if (r->failed == r->count)
		return 0;
	*err = r->err;
	return err->code;
}
