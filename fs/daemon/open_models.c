/*
 * The models of a mount that starts. Job: list, unlock and measure them as the configuration asks,
 * within the time that it allows.
 */
#include "crypto/base/log.h"
#include "fs/daemon/daemon_internal.h"
#include "fs/service/startup_wait.h"

/* If a model behind a blob of the Ollama store could not be opened and another one has the same
 * bytes, the other one provides the blob, before the first reader. Everything else is unchanged. */
static void settle_store(struct daemon *d, struct generation *g)
{
	struct generation *better = NULL;
	struct error err = {0};
	int r;

	if (!listing_has_alternatives(g))
		return;
	r = listing_read(&d->means.listing, NULL, &better, &err);
	if (r < 0) {
		log_error_object(LOG_WARNING, &err, r, "the Ollama store stays as it is");
		return;
	}
	catalog_commit(d->means.catalog, better, &g);
	catalog_release(d->means.catalog, g);
	catalog_reap(d->means.catalog);
}

static bool wait_and_try_again(void *arg, int code, const struct error *err)
{
	return startup_wait_again(arg, code, err);
}

/* The listing, and the keys and measurements that the configuration wants. */
int daemon_open_models(struct daemon *d, struct error *err)
{
	const struct listing *l = &d->means.listing;
	struct generation *g = NULL, *none;
	struct startup_wait wait;
	struct round_pause pause = {wait_and_try_again, &wait};
	int r;

	startup_wait_begin(&wait, d->notify, d->config->wait_s);
	if (d->means.aws)
		startup_wait_for_clock(&wait);
	unlock_batch_begin(d->means.unlock);
	for (;;) {
		r = listing_read(l, &pause, &g, err);
		if (r == 0 || !startup_wait_again(&wait, r, err))
			break;
		error_clear(err);
	}
	if (r == 0)
		r = listing_check(l, g, err);
	if (r == 0) {
		listing_log(l, g);
		r = listing_unlock(l, g, &pause, err);
		if (r == 0 && d->means.config->lock_pcr)
			r = measure_lock(&catalog_options(d->means.catalog)->measure_options, err);
	}
	unlock_batch_end(d->means.unlock);
	if (r < 0)
		return r;
	catalog_commit(d->means.catalog, g, &none);
	settle_store(d, g);
	return 0;
}
