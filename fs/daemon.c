/*
 * The parts of a mount. Job: make them in order of dependence, log once what is wrong with the
 * models at mount, and end without leaving keys or a dead mount behind.
 */
#include "fs/daemon.h"

#include "crypto/base/log.h"
#include "fs/listing.h"
#include "fs/mount.h"
#include "fs/patience.h"
#include "fs/privileges.h"
#include "fs/reload.h"
#include "fs/source/staged.h"
#include "fs/supervise.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LINGER_MS 1500
#define RUNTIME_DIR "/run/sealedfs"
#define SERVICE_USER "sealedfs" /* of systemd/sealedfs.sysusers */

struct daemon {
	const struct config *config;
	struct notify *notify; /* borrowed */
	struct status *status;
	struct life life;
	struct keeper *keeper; /* NULL: we may not mount; libfuse does it by fusermount3 */
	struct owner_keys *owners;
	struct aws *aws;
	struct attest_provider *provider;
	struct unlock *unlock;
	bool unstaged; /* the disk for copies is full */
	struct source *source;
	struct read_engine *engine;
	struct catalog *catalog;
	struct ollama_shelf *shelf;
	struct listing listing;
	struct ops_context ops;
	struct mount *mount;
	struct reload *reload;
};

static int load_owners(struct daemon *d, struct error *err)
{
	int r = owner_keys_new(&d->owners);

	for (size_t i = 0; r == 0 && i < d->config->owner_keys.count; i++)
		r = owner_keys_add_file(d->owners, d->config->owner_keys.items[i], err);
	return r;
}

static bool needs_aws(const struct config *c)
{
	return source_spec_is_s3(c->source) || c->attest != CONFIG_ATTEST_NONE;
}

static int open_means(struct daemon *d, struct error *err)
{
	const struct config *c = d->config;
	bool attested = c->attest != CONFIG_ATTEST_NONE;
	struct aws_options aws = {
		.region = c->region,
		.profile = c->profile,
		.s3_endpoint = c->s3_endpoint,
		.kms_endpoint = c->kms_endpoint,
		.path_style = c->path_style,
	};
	struct unlock_options unlock = {
		.keyfiles = (const char *const *)c->keyfiles.items,
		.keyfile_count = c->keyfiles.count,
	};
	int r = needs_aws(c) ? aws_new(&aws, &d->aws, err) : 0;

	if (r == 0 && attested)
		r = attest_provider_new("nitrotpm", c->tcti, &d->provider, err);
	if (r < 0)
		return r;
	/* Never KMS without attestation: a daemon that asked so would work until the key's policy
	 * is made strict, and nobody would notice that it never was. */
	if (attested) {
		unlock.aws = d->aws;
		unlock.provider = d->provider;
	}
	r = unlock_new(&unlock, &d->unlock, err);
	if (r == 0)
		r = source_open(c->source, d->aws, false, &d->source, err);
	return r;
}

static void on_stage_notice(void *arg, const char *text)
{
	log_warning("%s", text);
}

/* An eighth of the budget waits for the disk. */
static size_t stage_memory(const struct config *c)
{
	return c->stage ? MAX(c->memory_bytes / 8, STAGE_MEMORY_MIN) : 0;
}

/* A full disk is no reason not to serve. */
static int do_without_stage(struct daemon *d, int code, struct error *err)
{
	if (code != -ENOSPC && code != -EDQUOT)
		return code;
	d->unstaged = true;
	log_error_object(LOG_WARNING, err, code, "models are read without a stage");
	error_clear(err);
	return 0;
}

/* As the user that writes to it. */
static int open_stage(struct daemon *d, struct error *err)
{
	int r;
	struct stage_options options = {
		.dir = d->config->stage,
		.size_bytes = d->config->stage_bytes,
		.memory_bytes = stage_memory(d->config),
		.notice = on_stage_notice,
	};

	r = options.dir && !d->unstaged ? source_stage(&d->source, &options, err) : 0;
	return r < 0 ? do_without_stage(d, r, err) : 0;
}

static int make_catalog(struct daemon *d)
{
	const struct config *c = d->config;
	struct read_engine_options engine = {
		.memory_bytes = c->memory_bytes,
		.reserved_bytes = stage_memory(c),
		.ahead = true,
		.fill = c->fill,
		.store = model_store,
		.introduce = model_introduce,
	};
	struct models_options models = {
		.source = d->source,
		.owners = d->owners,
		.unlock = d->unlock,
		.measure = c->measure,
		.pcr = c->pcr,
		.forget_pages = ops_forget_pages,
		.store_pages = ops_store_pages,
		.introduce = ops_introduce,
		.forget_arg = &d->ops,
		.measure_options =
			{
				.log_path = c->event_log,
				.tcti = c->tcti,
				.allow_foreign = c->allow_foreign_extend,
			},
	};
	int r = read_engine_new(&engine, &d->engine);

	models.engine = d->engine;
	if (r == 0)
		r = catalog_new(&models, &d->catalog);
	if (r == 0)
		r = ollama_shelf_new(&d->shelf);
	d->listing = (struct listing){
		.config = c,
		.source = d->source,
		.owners = d->owners,
		.catalog = d->catalog,
		.shelf = d->shelf,
		.notify = d->notify,
		.status = d->status,
	};
	return r;
}

static void on_retry(void *arg, const char *what, const char *why, bool throttled)
{
	struct daemon *d = arg;

	if (throttled && d->engine)
		read_engine_throttled(d->engine);

	atomic_fetch_add(&d->life.events, 1);
	status_trouble(d->status, what, why);
}

/* A boot may mount by fstab before systemd-tmpfiles has made the directory: it must not become
 * root's then, or the daemons of services could not write to it. */
static void make_runtime_dir(void)
{
	const struct passwd *pw = getpwnam(SERVICE_USER);

	if (!pw || mkdir(RUNTIME_DIR, 0755) < 0)
		return;
	if (chmod(RUNTIME_DIR, 0755) < 0 || chown(RUNTIME_DIR, pw->pw_uid, pw->pw_gid) < 0)
		(void)rmdir(RUNTIME_DIR);
}

/*
 * Who the daemon is once it has its keys: the option setuid, else whoever owns the directory of the
 * measurement log: all daemons of a machine write to that one log, and it is not shared between
 * users. NULL: nobody else.
 */
static const char *daemon_user(const struct config *c)
{
	_cleanup_free_ char *dir = strdup(c->event_log ? c->event_log : RUNTIME_DIR "/");
	char *slash = dir ? strrchr(dir, '/') : NULL;
	const struct passwd *pw;
	struct stat st;

	if (c->user || geteuid() != 0 || c->measure == MEASURE_NONE)
		return c->user;
	if (!slash)
		return NULL;
	*slash = '\0';
	if (strcmp(dir, RUNTIME_DIR) == 0)
		make_runtime_dir();
	if (stat(*dir ? dir : "/", &st) < 0 || st.st_uid == 0)
		return NULL;
	pw = getpwuid(st.st_uid);
	return pw ? pw->pw_name : NULL;
}

static int make_stage(struct daemon *d, const char *user, struct error *err)
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

static int drop_privileges(struct daemon *d, struct error *err)
{
	_cleanup_free_ char *user = NULL;
	const char *found = daemon_user(d->config);
	struct privileges keep = {0};
	int r;

	if (found) {
		user = strdup(found);
		if (!user)
			return -ENOMEM;
	}
	r = make_stage(d, user, err);
	/* Without a keeper there may be nothing to drop, and fusermount3 has to work. */
	if (r < 0 || (!d->keeper && !user))
		return r;
	keep.user = user;
	keep.read_anything = !user && geteuid() == 0;
	return privileges_drop(&keep, err);
}

static int start_keeper(struct daemon *d, struct error *err)
{
	_cleanup_(keeper_mount_clear) struct keeper_mount plan = {0};
	int r;

	if (!privileges_can_mount())
		return 0;
	r = mount_plan(d->config, &plan);
	return r < 0 ? r : keeper_start(&plan, &d->keeper, err);
}

/* Everything that asks a server or the TPM. */
static int open_models(struct daemon *d, struct error *err)
{
	const struct listing *l = &d->listing;
	struct generation *g = NULL, *none;
	struct patience patience;
	int r;

	patience_start(&patience, d->notify, d->status, d->config->wait_s);
	if (d->aws)
		patience_for_clock(&patience);
	for (;;) {
		r = listing_read(l, &patience, &g, err);
		if (r == 0 || !patience_again(&patience, r, err))
			break;
		error_clear(err);
	}
	if (r == 0)
		r = listing_check(l, g, err);
	if (r < 0)
		return r;
	listing_log(l, g);
	r = listing_unlock(l, g, &patience, err);
	if (r == 0)
		catalog_commit(d->catalog, g, &none);
	return r;
}

int daemon_prepare(const struct config *config, struct notify *notify, struct daemon **ret,
		   struct error *err)
{
	_cleanup_(daemon_freep) struct daemon *d = calloc(1, sizeof(*d));
	_cleanup_(supervise_start_overp) struct supervisor *supervisor = NULL;
	int r;

	if (!d)
		return -ENOMEM;
	d->config = config;
	d->notify = notify;
	if (config->measure == MEASURE_DECLARED && config->owner_keys.count == 0)
		log_warning("measure=declared without owner-key: what is measured is the word of "
			    "whoever sealed the model");
	r = status_new(notify, &d->status);
	/* Before any secret is in memory. */
	if (r == 0)
		r = start_keeper(d, err);
	if (r == 0)
		r = load_owners(d, err);
	if (r == 0)
		r = open_means(d, err);
	if (r == 0)
		r = drop_privileges(d, err);
	if (r < 0)
		return r;
	if (d->aws)
		aws_observe_retries(d->aws, on_retry, d);
	r = open_stage(d, err);
	if (r == 0)
		r = make_catalog(d);
	if (r < 0)
		return r;
	r = supervise_start(&(struct supervision){notify, d->status, &d->life, d->source},
			    &supervisor);
	if (r == 0)
		r = open_models(d, err);
	if (r < 0)
		return r;
	d->ops.config = config;
	d->ops.catalog = d->catalog;
	d->ops.life = &d->life;
	d->ops.mountpoint = realpath(config->mountpoint, NULL);
	r = pool_new(OPS_MORE_READERS, &d->ops.more_readers);
	if (r < 0)
		return r;
	d->ops.engine = d->engine;
	d->ops.source = d->source;
	d->ops.aws = d->aws;
	d->ops.started_s = (int64_t)time(NULL);
	*ret = steal_ptr(d);
	return 0;
}

/* Everything that may wait for a network ends soon. False: something does not. */
static bool let_go(struct daemon *d)
{
	bool reloaded;

	atomic_store(&d->ops.leaving, true);
	if (d->aws)
		aws_cancel(d->aws);
	reloaded = !d->reload || reload_end(d->reload, LINGER_MS);
	catalog_stop(d->catalog);
	read_engine_stop(d->engine);
	return reloaded;
}

static void serve(struct daemon *d)
{
	struct supervision what = {d->notify, d->status, &d->life, d->source};
	struct generation *g = catalog_acquire(d->catalog);

	listing_show_status(&d->listing, g);
	catalog_release(d->catalog, g);
	notify_ready(d->notify);
	while (supervise(&what, d->mount, d->keeper) == SUPERVISE_RELOAD)
		reload_begin(d->reload);
	notify_stopping(d->notify);
	status_set(d->status, "Unmounting");
}

int daemon_run(struct daemon *d, struct launch *launch, struct error *err)
{
	int r = mount_start(d->config, &d->ops, d->keeper, &d->mount, err);
	bool idle;

	if (r == 0)
		r = mount_serve(d->mount, err);
	if (r == 0)
		r = reload_new(&d->listing, &d->ops, &d->reload);
	if (r == 0) {
		if (launch->report_fd >= 0)
			log_setup("sealedfs", config_log_level(d->config), true);
		r = launch_ready(launch);
		if (r == 0)
			serve(d);
	}
	if (!d->mount)
		return r;
	idle = let_go(d);
	if (!mount_stop(d->mount) || !idle || !catalog_idle(d->catalog, LINGER_MS) ||
	    !read_engine_idle(d->engine, LINGER_MS))
		/* Readers hold files open, or a TPM or a network does not answer. Readers have had
		 * their errors; the kernel wipes and frees the keys' pages with the process. */
		_exit((int)error_exit_code(r));
	return r;
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	pool_free(d->ops.more_readers);
	mount_free(d->mount);
	keeper_free(d->keeper);
	reload_free(d->reload);
	catalog_free(d->catalog);
	ollama_shelf_free(d->shelf);
	read_engine_free(d->engine);
	source_free(d->source);
	unlock_free(d->unlock);
	attest_provider_free(d->provider);
	aws_free(d->aws);
	owner_keys_free(d->owners);
	status_free(d->status);
	free(d->ops.mountpoint);
	free(d);
}
