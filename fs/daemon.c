/*
 * The parts of a mount. Job: make them in order of dependence, log once what is wrong with the
 * models at mount, and end without leaving keys or a dead mount behind.
 */
#include "fs/daemon.h"

#include "crypto/base/log.h"
#include "fs/model.h"
#include "fs/mount.h"

#include <errno.h>

#define LINGER_MS 1500

struct daemon {
	const struct config *config;
	struct owner_keys *owners;
	struct aws *aws;
	struct attest_provider *provider;
	struct unlock *unlock;
	struct source *source;
	struct view *view;
	struct read_engine *engine;
	struct models *models;
	struct ops_context ops;
	struct mount *mount;
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

static void log_view(const struct daemon *d)
{
	const struct view *v = d->view;

	for (size_t i = 0; i < v->note_count; i++)
		log_warning("%s", v->notes[i]);
	models_log_broken(d->models);
	log_info("%zu models, %llu bytes", v->file_count, (unsigned long long)v->total_size);
}

static int open_view(struct daemon *d, struct error *err)
{
	const struct config *c = d->config;
	struct view_options view = {.source = d->source, .owners = d->owners};
	struct read_engine_options engine = {.memory_bytes = c->memory_bytes};
	struct models_options models = {
		.source = d->source,
		.owners = d->owners,
		.unlock = d->unlock,
		.measure = c->measure,
		.pcr = c->pcr,
		.measure_options =
			{
				.log_path = c->event_log,
				.tcti = c->tcti,
				.allow_foreign = c->allow_foreign_extend,
			},
		.forget_pages = ops_forget_pages,
		.forget_arg = &d->ops,
	};
	int r = view_open(&view, &d->view, err);

	if (r == 0)
		r = read_engine_new(&engine, &d->engine);
	if (r < 0)
		return r;
	models.view = d->view;
	models.engine = d->engine;
	return models_new(&models, &d->models);
}

/* In path order, one after the other: the order is the PCR's. */
static int unlock_all(struct daemon *d, struct error *err)
{
	for (size_t i = 0; i < d->view->file_count; i++) {
		const struct view_node *n = d->view->files[i];
		int r;

		if (n->broken) {
			*err = *n->broken;
			return err->code;
		}
		r = model_open_now(models_get(d->models, n), err);
		if (r < 0)
			return error_prefix(err, r, "%s", n->path);
	}
	return 0;
}

int daemon_prepare(const struct config *config, struct daemon **ret, struct error *err)
{
	_cleanup_(daemon_freep) struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->config = config;
	if (config->measure == MEASURE_DECLARED && config->owner_keys.count == 0)
		log_warning("measure=declared without owner-key: what is measured is the word of "
			    "whoever sealed the model");
	r = load_owners(d, err);
	if (r == 0)
		r = open_means(d, err);
	if (r == 0)
		r = open_view(d, err);
	if (r < 0)
		return r;
	if (config->unlock_at_mount)
		r = unlock_all(d, err);
	else
		log_view(d);
	if (r < 0)
		return r;
	d->ops.config = config;
	d->ops.view = d->view;
	d->ops.models = d->models;
	*ret = steal_ptr(d);
	return 0;
}

/* Everything that may wait for a network ends soon. */
static void let_go(struct daemon *d)
{
	atomic_store(&d->ops.leaving, true);
	if (d->aws)
		aws_cancel(d->aws);
	models_stop(d->models);
	read_engine_stop(d->engine);
}

int daemon_run(struct daemon *d, struct launch *launch, struct error *err)
{
	int r = mount_start(d->config, &d->ops, &d->mount, err);

	if (r == 0)
		r = mount_serve(d->mount, err);
	if (r == 0) {
		if (launch->report_fd >= 0)
			log_setup("sealedfs", config_log_level(d->config), true);
		r = launch_ready(launch);
		if (r == 0 && !mount_wait(d->mount))
			log_info("unmounting");
	}
	if (!d->mount)
		return r;
	let_go(d);
	if (!mount_stop(d->mount) || !models_idle(d->models, LINGER_MS))
		/* Readers hold files open, and have had their errors; or a TPM does not answer. The
		 * kernel wipes and frees the keys' pages with the process. */
		_Exit((int)error_exit_code(r));
	return r;
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	mount_free(d->mount);
	models_free(d->models);
	read_engine_free(d->engine);
	view_free(d->view);
	source_free(d->source);
	unlock_free(d->unlock);
	attest_provider_free(d->provider);
	aws_free(d->aws);
	owner_keys_free(d->owners);
	free(d);
}
