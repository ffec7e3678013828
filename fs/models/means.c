/*
 * What a configuration gives to open models with. Job: make it in order of dependence. Trusts the
 * configuration; what it names is checked by the parts themselves.
 */
#include "fs/models/means.h"

#include "attest/start_event.h"
#include "attest/tpm.h"
#include "crypto/backend.h"
#include "crypto/base/locked.h"
#include "crypto/base/log.h"
#include "fs/models/trust.h"

#include <errno.h>

/* No model can be opened without a TPM in these modes: reported now, not at each open. */
static void warn_without_tpm(const struct config *c)
{
	bool measures = c->measure != MEASURE_NONE;
	bool attests = c->attest != CONFIG_ATTEST_NONE && c->keyfiles.count == 0;
	const char *missing = tpm_missing(c->tcti);

	if ((measures || attests) && missing)
		log_warning("this machine has no TPM (no %s): no model can be opened; without one, "
			    "mount with %s",
			    missing,
			    attests ? "key-file=FILE,attest=none,measure=none" : "measure=none");
}

int means_plan(struct means *m, const struct config *c, struct error *err)
{
	int r;

	m->config = c;
	r = budget_divide(c->memory_bytes, c->stage != NULL, &m->budget, err);

	if (c->measure == MEASURE_DECLARED && c->owner_keys.count == 0)
		log_warning("measure=declared without owner-key: the measurement only repeats what "
			    "whoever sealed the model claims");
	if (c->oms && c->owner_keys.count == 0)
		log_warning("oms without owner-key: the bundle is compared with digests that "
			    "whoever sealed the set claims");
	m->kept = (struct allowance){
		.limit = m->budget.kept, .advise = budget_advise, .advise_arg = &m->budget};
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

static int load_owners(struct means *m, struct error *err)
{
	int r = owner_keys_new(&m->owners);

	for (size_t i = 0; r == 0 && i < m->config->owner_keys.count; i++)
		r = owner_keys_add_file(m->owners, m->config->owner_keys.items[i], err);
	return r;
}

static int load_oms_key(struct means *m, struct error *err)
{
	return m->config->oms_key ? oms_key_load_public(m->config->oms_key, &m->oms_key, err) : 0;
}

static int make_start_event(struct means *m, struct error *err)
{
	const struct config *c = m->config;
	struct start_facts facts = {
		.measure = c->measure,
		.attest = config_word(c, "attest"),
		.owners = m->owners,
		.kms_keys = c->kms_keys.items,
		.kms_key_count = c->kms_keys.count,
	};

	int r = start_event_needed(c->measure) ? start_event_text(&facts, &m->start, err) : 0;

	if (r < 0 || c->measure_given || c->set == CONFIG_SET_OFF)
		return r;
	facts.measure = MEASURE_SET;
	return start_event_text(&facts, &m->set_start, err);
}

static bool needs_aws(const struct config *c)
{
	return source_spec_is_s3(c->source) || c->attest != CONFIG_ATTEST_NONE;
}

static int open_means(struct means *m, struct error *err)
{
	const struct config *c = m->config;
	bool attested = c->attest != CONFIG_ATTEST_NONE;
	struct aws_options aws = {
		.region = c->region,
		.profile = c->profile,
		.s3_endpoint = c->s3_endpoint,
		.kms_endpoint = c->kms_endpoint,
		.net = {(const char *const *)c->net.items, c->net.count},
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
		.use_tpm = true,
		.tpm = {.tcti = c->tcti, .signatures = c->tpm_signatures},
	};
	int r = needs_aws(c) ? aws_new(&aws, &m->aws, err) : 0;

	if (r == 0 && attested)
		r = attest_provider_new(c->tcti, &m->provider, err);
	if (r < 0)
		return r;
	/* Never KMS without attestation: a daemon that did this would work as long as the key's
	 * policy is not strict, and nobody would notice that it is not. */
	if (attested) {
		unlock.aws = m->aws;
		unlock.provider = m->provider;
	}
	r = unlock_new(&unlock, &m->unlock, err);
	if (r == 0)
		r = source_open(c->source, m->aws, false, &m->source, err);
	return r;
}

int means_open(struct means *m, struct error *err)
{
	int r = choose_crypto(m->config, err);

	if (r == 0)
		r = load_owners(m, err);
	if (r == 0)
		r = load_oms_key(m, err);
	if (r == 0 && needs_aws(m->config))
		r = trust_aws_files(m->config->profile, err);
	if (r == 0)
		r = make_start_event(m, err);
	if (r == 0)
		r = open_means(m, err);
	locked_reserve(m->budget.total);
	return r;
}

static void look_at_locks(const struct means *m)
{
	if (!read_engine_is_locked(m->engine))
		log_warning("plaintext may reach swap: memory=%zuM is more than this process may "
			    "lock (%zu KiB); raise LimitMEMLOCK= of the unit or ulimit -l, or turn "
			    "swap off",
			    m->budget.total >> 20, locked_limit() >> 10);
}

int means_finish(struct means *m, const struct means_user *user, struct error *err)
{
	const struct config *c = m->config;
	struct read_engine_options engine = {
		.budget = m->budget,
		.kept = &m->kept,
		.ahead = true,
		.fill = user->kernel ? c->fill : READ_FILL_OFF,
		.store = user->kernel ? model_store : NULL,
		.introduce = user->kernel ? model_introduce : NULL,
	};
	struct models_options models = {
		.source = m->source,
		.owners = m->owners,
		.unlock = m->unlock,
		.residents = user->residents,
		.measure = c->measure,
		.read_whole = c->oms_read,
		.measure_options =
			{
				.pcr = c->pcr,
				.start = m->start,
				.log_path = c->event_log,
				.tcti = c->tcti,
				.allow_foreign = c->allow_foreign_extend,
			},
	};
	int r = read_engine_new(&engine, &m->engine);

	if (r < 0)
		return r;
	if (user->kernel)
		models.kernel = *user->kernel;
	look_at_locks(m);
	models.engine = m->engine;
	r = catalog_new(&models, &m->catalog, err);
	if (r == 0)
		r = ollama_shelf_new(&m->shelf);
	m->listing = (struct listing){
		.config = c,
		.source = m->source,
		.allowance = &m->kept,
		.owners = m->owners,
		.oms_key = m->oms_key,
		.set_start = m->set_start,
		.catalog = m->catalog,
		.shelf = m->shelf,
		.show = user->show,
		.show_arg = user->show_arg,
	};
	return r;
}

void means_clear(struct means *m)
{
	catalog_free(m->catalog);
	ollama_shelf_free(m->shelf);
	read_engine_free(m->engine);
	source_free(m->source);
	unlock_free(m->unlock);
	attest_provider_free(m->provider);
	aws_free(m->aws);
	owner_keys_free(m->owners);
	oms_key_free(m->oms_key);
	free(m->start);
	free(m->set_start);
	*m = (struct means){0};
}
