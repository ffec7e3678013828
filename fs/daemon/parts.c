/*
 * The parts of a mount. Job: make them in order of dependence. Trusts the configuration; what it
 * names is checked by the parts themselves.
 */
#include "crypto/base/log.h"
#include "fs/daemon/daemon_internal.h"
#include "fs/fuse/passthrough.h"
#include "fs/stage/staged.h"

#include <errno.h>
#include <pwd.h>

static void on_retry(void *arg, const char *what, const char *why, bool throttled)
{
	struct daemon *d = arg;

	if (throttled && d->means.engine)
		read_engine_throttled(d->means.engine);
	atomic_fetch_add(&d->life.events, 1);
	notify_trouble(d->notify, what, why);
}

int parts_open(struct daemon *d, struct error *err)
{
	int r = means_open(&d->means, err);

	if (r == 0 && d->means.aws)
		aws_observe_retries(d->means.aws, on_retry, d);
	return r;
}

static void on_stage_notice(void *arg, const char *text)
{
	log_warning("%s", text);
}

/* A full disk does not prevent the mount. */
static int do_without_stage(struct daemon *d, int code, struct error *err)
{
	if (code != -ENOSPC && code != -EDQUOT)
		return code;
	d->unstaged = true;
	log_error_object(LOG_WARNING, err, code, "models are read without a stage");
	error_clear(err);
	return 0;
}

int parts_make_stage_directory(struct daemon *d, const char *user, struct error *err)
{
	const struct config *c = d->config;
	const struct passwd *pw = user ? getpwnam(user) : NULL;
	int r;

	if (!c->stage)
		return 0;
	r = stage_make_directory(c->stage, pw ? pw->pw_uid : geteuid(), pw ? pw->pw_gid : getegid(),
				 err);
	return r < 0 ? do_without_stage(d, r, err) : 0;
}

/* As the user that writes to it. */
static int open_stage(struct daemon *d, struct error *err)
{
	int r;
	struct stage_options options = {
		.dir = d->config->stage,
		.size_bytes = d->config->stage_bytes,
		.memory_bytes = d->means.budget.stage,
		.notice = on_stage_notice,
	};

	r = options.dir && !d->unstaged ? source_stage(&d->means.source, &options, err) : 0;
	return r < 0 ? do_without_stage(d, r, err) : 0;
}

static void show_step(void *arg, unsigned step_ms, const char *text)
{
	struct daemon *d = arg;

	notify_status(d->notify, "%s", text);
	if (step_ms > 0)
		notify_extend(d->notify, step_ms);
}

static int make_residents(struct daemon *d, struct error *err)
{
	const struct config *c = d->config;
	struct residents_options options = {
		.limit = c->resident_bytes ? c->resident_bytes : UINT64_MAX,
		.reserve = d->means.budget.total,
		.attach = passthrough_attach,
		.detach = passthrough_detach,
		.arg = &d->ops,
	};

	return c->resident ? residents_new(&options, &d->residents, err) : 0;
}

int parts_finish(struct daemon *d, struct error *err)
{
	const struct kernel_ops kernel = ops_kernel(&d->ops);
	struct means_user user = {.kernel = &kernel, .show = show_step, .show_arg = d};
	int r = open_stage(d, err);

	if (r == 0)
		r = make_residents(d, err);
	user.residents = d->residents;
	return r < 0 ? r : means_finish(&d->means, &user, err);
}
