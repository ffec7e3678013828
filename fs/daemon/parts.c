/*
 * The parts of a mount. Job: make them in order of dependence. Trusts the configuration; what it
 * names is checked by the parts themselves.
 */
#include "attest/start_event.h"
#include "attest/tpm.h"
#include "crypto/backend.h"
#include "crypto/base/locked.h"
#include "crypto/base/log.h"
#include "fs/daemon/daemon_internal.h"
#include "fs/daemon/trust.h"
#include "fs/stage/staged.h"

#include <errno.h>
#include <pwd.h>

/* No model can be opened without a TPM in these modes: reported now, not at each open. */
static void warn_without_tpm(const struct config *c)
{
	bool measures = c->measure != MEASURE_NONE;
	bool attests = c->attest == CONFIG_ATTEST_NITROTPM && c->keyfiles.count == 0;
	const char *missing = tpm_missing(c->tcti);

	if ((measures || attests) && missing)
		log_warning("this machine has no TPM (no %s): no model can be opened; without one, "
			    "mount with %s",
			    missing,
			    attests ? "key-file=FILE,attest=none,measure=none" : "measure=none");
}

int parts_plan(struct daemon *d, struct error *err)
{
	const struct config *c = d->config;
	int r = budget_divide(c->memory_bytes, c->stage != NULL, &d->budget, err);

	if (c->measure == MEASURE_DECLARED && c->owner_keys.count == 0)
		log_warning("measure=declared without owner-key: the measurement only repeats what "
			    "whoever sealed the model claims");
	d->kept = (struct allowance){
		.limit = d->budget.kept, .advise = budget_advise, .advise_arg = &d->budget};
	if (r == 0)
		warn_without_tpm(c);
	return r;
}

static int choose_crypto(const struct config *config, struct error *err)
{
	char text[CRYPTO_BACKEND_TEXT_SIZE];
	int r = crypto_backend_choose(config->crypto, err);

	if (r < 0)
		return r;
	crypto_backend_text(text);
	log_info("%s", text);
	return 0;
}

static int load_owners(struct daemon *d, struct error *err)
{
	int r = owner_keys_new(&d->owners);

	for (size_t i = 0; r == 0 && i < d->config->owner_keys.count; i++)
		r = owner_keys_add_file(d->owners, d->config->owner_keys.items[i], err);
	return r;
}

static int make_start_event(struct daemon *d, struct error *err)
{
	const struct config *c = d->config;
	struct start_facts facts = {
		.measure = c->measure,
		.attest = config_word(c, "attest"),
		.owners = d->owners,
		.kms_keys = c->kms_keys.items,
		.kms_key_count = c->kms_keys.count,
	};

	int r = start_event_needed(c->measure) ? start_event_text(&facts, &d->start, err) : 0;

	if (r < 0 || c->measure_given || c->set == CONFIG_SET_OFF)
		return r;
	facts.measure = MEASURE_SET;
	return start_event_text(&facts, &d->set_start, err);
}

static bool needs_aws(const struct config *c)
{
	return source_spec_is_s3(c->source) || c->attest != CONFIG_ATTEST_NONE;
}

static void on_retry(void *arg, const char *what, const char *why, bool throttled)
{
	struct daemon *d = arg;

	if (throttled && d->engine)
		read_engine_throttled(d->engine);
	atomic_fetch_add(&d->life.events, 1);
	notify_trouble(d->notify, what, why);
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
		.allow_http = {(const char *const *)c->allow_http.items, c->allow_http.count},
		.path_style = c->path_style,
		.anonymous = c->anonymous,
		.request_payer = c->request_payer,
	};
	struct unlock_options unlock = {
		.keyfiles = (const char *const *)c->keyfiles.items,
		.keyfile_count = c->keyfiles.count,
		.kms_pins = (const char *const *)c->kms_keys.items,
		.kms_pin_count = c->kms_keys.count,
		.kms_policy = c->kms_policy,
	};
	int r = needs_aws(c) ? aws_new(&aws, &d->aws, err) : 0;

	if (r == 0 && attested)
		r = attest_provider_new(c->tcti, &d->provider, err);
	if (r < 0)
		return r;
	/* Never KMS without attestation: a daemon that did this would work as long as the key's
	 * policy is not strict, and nobody would notice that it is not. */
	if (attested) {
		unlock.aws = d->aws;
		unlock.provider = d->provider;
	}
	r = unlock_new(&unlock, &d->unlock, err);
	if (r == 0)
		r = source_open(c->source, d->aws, false, &d->source, err);
	return r;
}

int parts_open(struct daemon *d, struct error *err)
{
	int r = choose_crypto(d->config, err);

	if (r == 0)
		r = load_owners(d, err);
	if (r == 0 && needs_aws(d->config))
		r = trust_aws_files(d->config->profile, err);
	if (r == 0)
		r = make_start_event(d, err);
	if (r == 0)
		r = open_means(d, err);
	locked_reserve(d->budget.total);
	if (r == 0 && d->aws)
		aws_observe_retries(d->aws, on_retry, d);
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
		.memory_bytes = d->budget.stage,
		.notice = on_stage_notice,
	};

	r = options.dir && !d->unstaged ? source_stage(&d->source, &options, err) : 0;
	return r < 0 ? do_without_stage(d, r, err) : 0;
}

static void look_at_locks(const struct daemon *d)
{
	if (!read_engine_is_locked(d->engine))
		log_warning("plaintext may reach swap: memory=%zuM is more than this process may "
			    "lock (%zu KiB); raise LimitMEMLOCK= of the unit or ulimit -l, or turn "
			    "swap off",
			    d->budget.total >> 20, locked_limit() >> 10);
}

static void show_step(void *arg, unsigned step_ms, const char *text)
{
	struct daemon *d = arg;

	notify_status(d->notify, "%s", text);
	if (step_ms > 0)
		notify_extend(d->notify, step_ms);
}

static int make_catalog(struct daemon *d, struct error *err)
{
	const struct config *c = d->config;
	struct read_engine_options engine = {
		.budget = d->budget,
		.kept = &d->kept,
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
		.kernel = ops_kernel(&d->ops),
		.measure_options =
			{
				.pcr = c->pcr,
				.start = d->start,
				.log_path = c->event_log,
				.tcti = c->tcti,
				.allow_foreign = c->allow_foreign_extend,
			},
	};
	int r = read_engine_new(&engine, &d->engine);

	if (r < 0)
		return r;
	look_at_locks(d);
	models.engine = d->engine;
	r = catalog_new(&models, &d->catalog, err);
	if (r == 0)
		r = ollama_shelf_new(&d->shelf);
	d->listing = (struct listing){
		.config = c,
		.source = d->source,
		.allowance = &d->kept,
		.owners = d->owners,
		.set_start = d->set_start,
		.catalog = d->catalog,
		.shelf = d->shelf,
		.show = show_step,
		.show_arg = d,
	};
	return r;
}

int parts_finish(struct daemon *d, struct error *err)
{
	int r = open_stage(d, err);

	return r < 0 ? r : make_catalog(d, err);
}
