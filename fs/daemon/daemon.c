/*
 * A mount from start to end. Job: take the steps in order, and end without leaving keys or a dead
 * mount behind.
 */
#include "fs/daemon/daemon.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "fs/daemon/daemon_internal.h"
#include "fs/daemon/serve.h"
#include "fs/fuse/mount_options.h"
#include "fs/service/privileges.h"
#include "fs/service/signals.h"

#include <errno.h>
#include <time.h>

#define LINGER_MS 1500
#define FINISH_MS 5000
#define FINISH_PAUSE_MS 200

static int start_keeper(struct daemon *d, struct error *err)
{
	_cleanup_(keeper_mount_clear) struct keeper_mount plan = {0};
	int r;

	if (!privileges_can_mount())
		return 0;
	r = mount_plan(d->config, &plan);
	return r < 0 ? r : keeper_start(&plan, &d->keeper, err);
}

/* From the first thread on: stage, catalog and models, while the service manager is informed. */
static int prepare_models(struct daemon *d, struct error *err)
{
	_cleanup_(supervise_start_overp) struct supervisor *supervisor = NULL;
	struct supervision what = {
		.notify = d->notify, .life = &d->life, .source = d->means.source};
	int r = signals_block(&d->signal_fd, err);

	if (r == 0)
		r = supervise_start(&what, d->signal_fd, &supervisor, err);
	if (r == 0)
		r = parts_finish(d, err);
	return r < 0 ? r : daemon_open_models(d, err);
}

static int prepare_ops(struct daemon *d, struct error *err)
{
	struct ops_context *ops = &d->ops;
	int r = pool_new(OPS_MORE_READERS, &ops->more_readers);

	ops->config = d->config;
	ops->catalog = d->means.catalog;
	ops->life = &d->life;
	ops->mountpoint = realpath(d->config->mountpoint, NULL);
	ops->engine = d->means.engine;
	ops->residents = d->residents;
	ops->keeper = d->keeper;
	ops->kept = &d->means.kept;
	ops->source = d->means.source;
	ops->aws = d->means.aws;
	ops->started_s = (int64_t)time(NULL);
	return r < 0 ? r : late_new(&ops_late_calls, &ops->late, err);
}

int daemon_prepare(const struct config *config, struct notify *notify, struct daemon **ret,
		   struct error *err)
{
	_cleanup_(daemon_freep) struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->config = config;
	d->notify = notify;
	d->signal_fd = -1;
	r = means_plan(&d->means, config, err);
	/* Before there are secrets and before OpenSSL is used: a child process has neither. */
	if (r == 0)
		r = start_keeper(d, err);
	if (r == 0)
		r = parts_open(d, err);
	if (r == 0)
		r = daemon_drop_privileges(d, err);
	if (r == 0)
		r = prepare_models(d, err);
	if (r == 0)
		r = prepare_ops(d, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(d);
	return 0;
}

/*
 * Lets current reads finish: a process that populates a mapping retries a failed read endlessly.
 * Not for processes that only hold a file, or wait.
 */
static void let_readers_finish(struct daemon *d)
{
	uint64_t end_ms = monotonic_ms() + FINISH_MS;
	unsigned long long seen;

	do
		seen = atomic_load(&d->life.finished);
	while (!mount_detach(d->mount, FINISH_PAUSE_MS) && atomic_load(&d->life.finished) != seen &&
	       monotonic_ms() < end_ms);
}

/* Everything that may wait for a network ends soon. False: something does not. */
static bool let_go(struct daemon *d)
{
	bool reloaded, filled = true;

	atomic_store(&d->ops.leaving, true);
	if (d->means.aws)
		aws_cancel(d->means.aws);
	reloaded = !d->reload || reload_end(d->reload, LINGER_MS);
	catalog_stop(d->means.catalog);
	if (d->residents)
		residents_stop(d->residents);
	read_engine_stop(d->means.engine);
	if (d->residents)
		filled = residents_idle(d->residents, LINGER_MS);
	late_stop(d->ops.late);
	return reloaded && filled;
}

static void serve(struct daemon *d)
{
	struct supervision what = {
		.notify = d->notify,
		.life = &d->life,
		.source = d->means.source,
		.tidy = reload_tidy,
		.tidy_arg = d->reload,
		.catalog = d->config->measure == MEASURE_NONE ? NULL : d->means.catalog,
	};
	struct generation *g = catalog_acquire(d->means.catalog);
	uint32_t number;

	listing_show_status(&d->means.listing, g);
	listing_shown(g);
	catalog_release(d->means.catalog, g);
	notify_ready(d->notify);
	while (supervise(&what, d->mount, d->keeper) == SUPERVISE_RELOAD)
		(void)reload_begin(d->reload, &number);
	notify_stopping(d->notify);
	notify_status(d->notify, "Unmounting");
	let_readers_finish(d);
}

int daemon_run(struct daemon *d, struct launch *launch, struct error *err)
{
	int r = mount_start(d->config, &d->ops, d->keeper, d->signal_fd, &d->mount, err);
	bool idle;

	if (r == 0)
		r = mount_serve(d->mount, err);
	if (r == 0)
		r = reload_new(&d->means.listing, &d->ops, d->notify, &d->reload);
	if (r == 0) {
		if (launch->report_fd >= 0)
			log_setup("sealedfs", config_log_level(d->config), true);
		r = launch_ready(launch);
		if (r == 0) {
			serve(d);
			r = mount_result(d->mount, err);
		}
	}
	if (!d->mount)
		return r;
	idle = let_go(d);
	if (!mount_stop(d->mount) || !idle || !catalog_idle(d->means.catalog, LINGER_MS) ||
	    !read_engine_idle(d->means.engine, LINGER_MS)) {
		if (r < 0)
			log_error_object(LOG_ERR, err, r, NULL);
		/* Readers hold files open, or a TPM or a network does not answer. Readers have had
		 * their errors; the kernel wipes and frees the keys' pages with the process. */
		_exit((int)error_exit_code(r));
	}
	return r;
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	pool_free(d->ops.more_readers);
	if (d->ops.late)
		late_stop(d->ops.late);
	mount_free(d->mount);
	late_free(d->ops.late);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
	keeper_free(d->keeper);
	reload_free(d->reload);
	means_clear(&d->means);
	residents_free(d->residents);
	free(d->ops.mountpoint);
	free(d);
}
