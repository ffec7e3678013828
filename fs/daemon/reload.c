/*
 * Reloads. Job: one at a time, in a thread that no request waits for; then the kernel's cache of
 * names is updated. Trusts the catalog to keep open models.
 */
#include "fs/daemon/reload.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "crypto/base/thread.h"
#include "fs/fuse/invalidate.h"

#include <errno.h>
#include <string.h>

struct reload {
	const struct listing *listing;
	struct ops_context *ops;
	struct notify *notify;
	struct ops_reload calls; /* for ops */

	pthread_mutex_t catalog; /* held while a reload or reload_tidy() changes it */
	pthread_mutex_t lock;	 /* guards what follows */
	pthread_cond_t changed;
	bool running, again, ended;
	uint32_t begun, over; /* how many reloads have */
	struct error err;     /* of the last that is over */
};

static int begin(void *arg, uint32_t *ret)
{
	return reload_begin(arg, ret);
}

static uint32_t look(void *arg, struct error *ret)
{
	struct reload *r = arg;
	uint32_t over;

	pthread_mutex_lock(&r->lock);
	*ret = r->err;
	over = r->over;
	pthread_mutex_unlock(&r->lock);
	return over;
}

int reload_new(const struct listing *listing, struct ops_context *ops, struct notify *notify,
	       struct reload **ret)
{
	struct reload *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->listing = listing;
	r->ops = ops;
	r->notify = notify;
	pthread_mutex_init(&r->catalog, NULL);
	pthread_mutex_init(&r->lock, NULL);
	monotonic_cond_init(&r->changed);
	*ret = r;
	r->calls = (struct ops_reload){begin, look, r};
	atomic_store(&ops->reload, &r->calls);
	return 0;
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->catalog);
	free(r);
}

static int reload_once(struct reload *r, struct error *err)
{
	const struct listing *l = r->listing;
	struct generation *g = NULL, *old = NULL;
	struct unlock *unlock = catalog_options(l->catalog)->unlock;
	int code;

	unlock_batch_begin(unlock);
	code = listing_read(l, NULL, &g, err);
	if (code == 0) {
		listing_log(l, g);
		(void)listing_unlock(l, g, NULL, err);
	}
	unlock_batch_end(unlock);
	if (code < 0)
		return code;
	catalog_commit(l->catalog, g, &old);
	ops_listing_changed(r->ops, old, g);
	listing_shown(g);
	catalog_release(l->catalog, old);
	catalog_reap(l->catalog);
	return 0;
}

/* Publishes the outcome before the service manager is informed. */
static void reload_and_tell(struct reload *r)
{
	const struct listing *l = r->listing;
	struct error err = {0};
	struct generation *g;
	int code;

	notify_reloading(r->notify);
	pthread_mutex_lock(&r->catalog);
	code = reload_once(r, &err);
	pthread_mutex_unlock(&r->catalog);
	if (code < 0)
		log_error_object(LOG_ERR, &err, code, "the listing stays as it was");
	else
		log_notice("read the listing again");
	if (code == 0)
		error_clear(&err);
	if (code < 0 && err.code == 0)
		(void)error_set(&err, code, "%s", strerror(-code));
	pthread_mutex_lock(&r->lock);
	r->over++;
	r->err = err;
	pthread_mutex_unlock(&r->lock);
	g = catalog_acquire(l->catalog);
	listing_show_status(l, g);
	catalog_release(l->catalog, g);
	notify_ready(r->notify);
}

static void *run(void *arg)
{
	struct reload *r = arg;

	pthread_mutex_lock(&r->lock);
	do {
		r->again = false;
		r->begun++;
		pthread_mutex_unlock(&r->lock);
		reload_and_tell(r);
		pthread_mutex_lock(&r->lock);
	} while (r->again && !r->ended);
	r->running = false;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

int reload_begin(struct reload *r, uint32_t *ret)
{
	struct error err = {0};
	pthread_t thread;
	int code = -EAGAIN;

	pthread_mutex_lock(&r->lock);
	/* The listing that is being read now may be older than this request. */
	*ret = r->begun + 1;
	if (r->running && !r->ended) {
		r->again = true;
		code = 0;
	} else if (!r->ended) {
		code = thread_start(&thread, run, r, &err);
		r->running = code == 0;
		if (code == 0)
			pthread_detach(thread);
	}
	pthread_mutex_unlock(&r->lock);
	if (code < 0)
		log_error_object(LOG_ERR, &err, code, "the listing is not read again");
	return code;
}

void reload_tidy(void *arg)
{
	struct reload *r = arg;

	if (pthread_mutex_trylock(&r->catalog) != 0)
		return;
	catalog_reap(r->listing->catalog);
	pthread_mutex_unlock(&r->catalog);
}

bool reload_end(struct reload *r, unsigned wait_ms)
{
	uint64_t deadline = monotonic_ms() + wait_ms;
	bool over;

	pthread_mutex_lock(&r->lock);
	r->ended = true;
	while (r->running && monotonic_cond_wait(&r->changed, &r->lock, deadline) == 0)
		;
	over = !r->running;
	pthread_mutex_unlock(&r->lock);
	return over;
}
