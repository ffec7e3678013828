/*
 * sealctl seal: plaintext files, directories or a pipe become sealed objects in a directory or S3.
 * Job here: options, one file after the other, the report. What is sealed is decided in
 * seal_plan.c; the work is in seal_input.c.
 */
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/common/progress.h"
#include "tools/inspect/describe_set.h"
#include "tools/seal_plan.h"
#include "tools/seal_result.h"
#include "tools/seal_unchanged.h"
#include "tools/set/set_values.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>

enum {
	OPTION_KMS_KEY = CLI_LONG,
	OPTION_KEY_FILE,
	OPTION_TPM,
	OPTION_SIGN,
	OPTION_NAME,
	OPTION_LENGTH,
	OPTION_REMOVE_OLD,
	OPTION_FOLLOW,
	OPTION_NO_FACTS,
	OPTION_SET,
	OPTION_ALONE,
	OPTION_AGAIN,
	OPTION_EXPIRES,
	OPTION_MIN_VERSION,
	OPTION_SET_ID,
	OPTION_SET_STATE,
	OPTION_OLLAMA_NAME,
	OPTION_OLLAMA_TEMPLATE,
	OPTION_OLLAMA_SYSTEM,
	OPTION_OLLAMA_PARAMS,
	OPTION_OLLAMA_LICENSE,
	OPTION_FROM_OLLAMA,
	OPTION_FROM_AWS_SAMPLE,
	OPTION_SAMPLE_KEY,
	OPTION_SSE
};

static const struct cli_option options[] = {
	{OPTION_KMS_KEY, "kms-key", "KEY",
	 "recipient: a KMS key id, ARN or alias/NAME; repeatable"},
	{OPTION_KEY_FILE, "key-file", "FILE", "recipient: a key file of keygen; repeatable"},
	{OPTION_TPM, "tpm", "PCRS", "recipient: a TPM 2.0, as in pcrs=4,7,12; repeatable"},
	{OPTION_SIGN, "sign", "KEY.pem", "sign as owner with this private key"},
	{OPTION_NAME, "name", "NAME", "name of the model; needed for a pipe"},
	{OPTION_LENGTH, "length", "BYTES",
	 "length of a pipe (k, M, G, T: powers of 1024);\n"
	 "without it the pipe is spooled, encrypted"},
	{OPTION_REMOVE_OLD, "remove-old", NULL,
	 "after replacing a model, remove its old payload;\nmounts that still read it fail"},
	{OPTION_FOLLOW, "follow", NULL, "in directories, follow links that lead out of them"},
	{OPTION_NO_FACTS, "no-facts", NULL, "do not state in the seal what kind of model it is"},
	{OPTION_SET, "set", "NAME",
	 "make what is sealed members of the set NAME at DEST;\nit is made if there is none"},
	{OPTION_ALONE, "alone", NULL,
	 "with --set: the recipients can open each member\nwithout the set, too"},
	{OPTION_AGAIN, "again", NULL, "with --set: also members whose plaintext is unchanged"},
	{OPTION_EXPIRES, "expires", "WHEN",
	 "with --set: mounts refuse the set from then on: a time\n(2027-01-31T00:00:00Z), 90d, "
	 "12h, or never"},
	{OPTION_MIN_VERSION, "min-version", "N", "with --set: refuse a set of a lower version"},
	{OPTION_SET_ID, "set-id", "ID", "with --set: refuse another set than this one, and none"},
	{OPTION_SET_STATE, "set-state", "FILE",
	 "with --set: keep the highest versions of sets here, and\nrefuse older or replaced "
	 "ones; mounts may share it"},
	{OPTION_SSE, "sse", "KIND",
	 "how S3 encrypts what it stores: AES256, aws:kms[:KEY],\naws:kms:dsse[:KEY]"},
	{OPTION_OLLAMA_NAME, "ollama-name", "NAME",
	 "name in the mount's Ollama store, e.g. llama3:8b;\ndefault: derived from the path"},
	{OPTION_OLLAMA_TEMPLATE, "ollama-template", "FILE",
	 "template for Ollama (Go's text/template)"},
	{OPTION_OLLAMA_SYSTEM, "ollama-system", "FILE", "system text for Ollama"},
	{OPTION_OLLAMA_PARAMS, "ollama-params", "FILE|NAME=VALUE",
	 "parameters for Ollama: a JSON object, lines of\nNAME=VALUE, or one of them; repeatable"},
	{OPTION_OLLAMA_LICENSE, "ollama-license", "FILE", "license text; repeatable"},
	{OPTION_FROM_OLLAMA, "from-ollama", "NAME", "seal this model of an Ollama store"},
	{OPTION_FROM_AWS_SAMPLE, "from-aws-sample", "OBJECT",
	 "seal a model that AWS's sample application published:\ns3://bucket/path/NAME.enc"},
	{OPTION_SAMPLE_KEY, "sample-key", "KEY",
	 "the KMS key that must have wrapped OBJECT's data key"},
	{0},
};

static int add(const char **list, unsigned *count, const char *value, const struct cli *cli,
	       struct error *err)
{
	if (*count == SEAL_SLOTS_MAX)
		return cli_usage_error(cli, err, "more than %d recipients", SEAL_SLOTS_MAX);
	if (value[0] == '\0')
		return cli_usage_error(cli, err, "a recipient's name is empty");
	list[(*count)++] = value;
	return 0;
}

static int take_ollama_option(struct seal_settings *s, struct cli *cli, int id, struct error *err)
{
	struct ollama_options *o = &s->ollama;

	switch (id) {
	case OPTION_OLLAMA_NAME:
		o->name = cli->value;
		return 0;
	case OPTION_OLLAMA_TEMPLATE:
		o->template = cli->value;
		return 0;
	case OPTION_OLLAMA_SYSTEM:
		o->system = cli->value;
		return 0;
	case OPTION_OLLAMA_PARAMS:
		return ollama_options_add_params(o, cli->value, err);
	case OPTION_OLLAMA_LICENSE:
		if (o->license_count == OLLAMA_LICENSES_MAX)
			return cli_usage_error(cli, err, "more than %d licenses",
					       OLLAMA_LICENSES_MAX);
		o->licenses[o->license_count++] = cli->value;
		return 0;
	default:
		s->from_ollama = cli->value;
		return 0;
	}
}

static int take_set_option(struct seal_settings *s, struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case OPTION_SET:
		s->set.name = cli->value;
		s->plan.checkout = true;
		return 0;
	case OPTION_ALONE:
		s->set.alone = true;
		return 0;
	case OPTION_AGAIN:
		s->again = true;
		return 0;
	case OPTION_EXPIRES:
		s->set.has_expires = true;
		return set_expiry_parse(cli->value, &s->set.expires, err);
	case OPTION_MIN_VERSION:
		return set_version_parse(cli->value, &s->set.pins.min_version, err);
	case OPTION_SET_ID:
		s->set.pins.id = s->set_id;
		return set_id_parse(cli->value, s->set_id, err);
	case OPTION_SET_STATE:
		s->set.pins.state = cli->value;
		return 0;
	default:
		return take_ollama_option(s, cli, id, err);
	}
}

static int take_option(struct seal_settings *s, struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case OPTION_SSE:
		cli->aws_options.sse = cli->value;
		return 0;
	case OPTION_KMS_KEY:
		return add(s->recipients.kms_keys, &s->recipients.kms_count, cli->value, cli, err);
	case OPTION_KEY_FILE:
		return add(s->recipients.keyfiles, &s->recipients.keyfile_count, cli->value, cli,
			   err);
	case OPTION_TPM:
		return add(s->recipients.tpms, &s->recipients.tpm_count, cli->value, cli, err);
	case OPTION_SIGN:
		s->sign = cli->value;
		return 0;
	case OPTION_NAME:
		s->name = cli->value;
		return 0;
	case OPTION_LENGTH:
		s->length = cli->value;
		if (size_parse(cli->value, "kMGT", SEAL_LENGTH_MAX, &s->length_bytes) < 0)
			return cli_usage_error(cli, err, "--length %s is not a length up to 16T",
					       cli->value);
		return 0;
	case OPTION_REMOVE_OLD:
		s->remove_old = true;
		return 0;
	case OPTION_NO_FACTS:
		s->no_facts = true;
		return 0;
	case OPTION_FROM_AWS_SAMPLE:
		s->from_sample = cli->value;
		return 0;
	case OPTION_SAMPLE_KEY:
		s->sample_key = cli->value;
		return 0;
	case OPTION_FOLLOW:
		s->plan.follow = true;
		return 0;
	default:
		return take_set_option(s, cli, id, err);
	}
}

static void report(const struct cli *cli, const struct seal_request *req,
		   const struct seal_result *res, const char *name, json_t **results)
{
	if (cli->json)
		output_append(results, seal_result_json(req, res, name));
	else if (!cli->quiet)
		seal_result_print(req, res, name);
	fflush(stdout);
}

static int seal_entry(struct seal_settings *s, struct cli *cli, const struct seal_request *req,
		      const struct plan_entry *entry, json_t **results, struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	struct seal_result res = {0};
	int r = seal_plan_open(s, cli, entry, &in, err);

	if (r == 0)
		r = seal_input(req, in, entry->name, &res, err);
	if (r < 0)
		return r;
	report(cli, req, &res, entry->name, results);
	if (s->set.name)
		r = set_sealing_add(&s->sealing, entry->name, &res);
	seal_warn_stale_description(req, &res, entry->name);
	seal_result_clear(&res);
	return r;
}

/* Files that belong together: all or none. */
static int seal_together(struct seal_settings *s, struct cli *cli, const struct seal_request *req,
			 json_t **results, struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(batch_freep) struct batch *batch = NULL;
	const struct plan_entry *e = s->plan.entries;
	int r = batch_new(req, &batch);

	if (r == 0 && s->from_ollama) {
		r = seal_import(req, &s->import, batch, err);
	} else if (r == 0 && s->plan.count > 0) {
		r = seal_plan_open(s, cli, e, &in, err);
		if (r == 0)
			r = seal_described(req, &s->bundle, in, e->name, batch, err);
	}
	for (size_t i = 0; r == 0 && i < batch_count(batch); i++) {
		const char *name;
		const struct seal_result *res = batch_result(batch, i, &name);

		report(cli, req, res, name, results);
		if (s->set.name)
			r = set_sealing_add(&s->sealing, name, res);
	}
	return r;
}

static int seal_each(struct seal_settings *s, struct cli *cli, const struct seal_request *req,
		     json_t **results, struct error *err)
{
	struct seal_request one = *req;
	int r = 0;

	one.total = s->plan.count;
	for (size_t i = 0; r == 0 && i < s->plan.count; i++) {
		one.number = i + 1;
		r = interrupt_check(err);
		if (r == 0 && s->set.name)
			r = seal_is_unchanged(s, cli, &s->plan.entries[i], err);
		s->unchanged += r == 1;
		if (r == 0)
			r = seal_entry(s, cli, &one, &s->plan.entries[i], results, err);
		r = MIN(r, 0);
		if (r < 0 && i > 0 && !s->set.name)
			log_notice("%zu of %zu files were sealed before the failure", i,
				   s->plan.count);
	}
	return r;
}

/* Stops at the first failure; files sealed before it stay, and are reported. */
static int seal_all(struct seal_settings *s, struct cli *cli, const struct seal_request *req,
		    struct error *err)
{
	json_t *results = json_array(), *value;
	bool together = s->from_ollama || ollama_options_any(&s->ollama);
	int r = together ? seal_together(s, cli, req, &results, err)
			 : seal_each(s, cli, req, &results, err);

	if (r == 0 && s->set.name)
		r = set_sealing_commit(&s->sealing, err);
	r = interrupt_translate(r, err);
	if (r == 0)
		seal_print_set(s, cli);
	if (!cli->json) {
		json_decref(results);
		return r;
	}
	value = json_pack("{s:o}", "sealed", results);
	if (r == 0 && s->set.name)
		json_object_set_new(value, "set", describe_set_json(s->sealing.store.set, NULL));
	if (r == 0 && s->set.name)
		json_object_set_new(value, "unchanged", json_integer((json_int_t)s->unchanged));
	if (r < 0) {
		json_object_set_new(value, "error", output_error_json(err, r));
		cli->failure_reported = true;
	}
	if (output_json(value) < 0 && r == 0)
		r = -EIO;
	return r;
}

static int open_and_seal(struct seal_settings *s, struct cli *cli, struct error *err)
{
	const char *dest = cli_operand(cli, cli_operands(cli) - 1);
	_cleanup_(recipients_freep) struct recipients *recipients = NULL;
	_cleanup_(signing_key_freep) struct signing_key *signer = NULL;
	_cleanup_(source_freep) struct source *source = NULL;
	struct seal_request req = {.dest_is_s3 = source_spec_is_s3(dest),
				   .remove_old = s->remove_old,
				   .no_facts = s->no_facts,
				   .quiet = cli->quiet};
	int r = seal_time(&req.sealed_at, err);

	if (r == 0 && (req.dest_is_s3 || s->recipients.kms_count > 0))
		r = cli_aws(cli, &req.aws, err);
	if (r == 0)
		r = recipients_new(&s->recipients, req.aws, &recipients, err);
	if (r == 0 && s->sign)
		r = signing_key_load(s->sign, &signer, err);
	if (r == 0)
		r = seal_plan_make(s, cli, err);
	if (r == 0)
		r = plan_check_destination(dest, err);
	if (r == 0)
		r = source_open(dest, req.aws, true, &source, err);
	if (r < 0)
		return r;
	if (!signer)
		log_warning("sealing without --sign: nobody can verify who the owner is");
	req.dest = source;
	req.recipients = recipients;
	req.signer = signer;
	req.for_set = s->set.name;
	if (!s->set.name)
		return seal_all(s, cli, &req, err);
	s->set.recipients = &s->recipients;
	s->set.remove_old = s->remove_old;
	req.remove_old = false;
	r = seal_plan_origin(s, cli, err);
	if (r == 0)
		r = set_sealing_begin(&s->sealing, &s->set, &req, recipients, &s->plan, err);
	if (r == 0)
		r = seal_all(s, cli, &req, err);
	set_sealing_end(&s->sealing, r < 0);
	return r;
}

static int run(struct cli *cli, struct error *err)
{
	struct seal_settings s = {0};
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, cli, id, err);
	if (r == 0 && cli_operands(cli) < (s.from_ollama || s.from_sample ? 1 : 2))
		r = cli_usage_error(cli, err, "give what to seal and where to");
	if (r == 0 && s.sample_key && !s.from_sample)
		r = cli_usage_error(cli, err, "--sample-key goes with --from-aws-sample");
	if (r == 0 && !s.set.name &&
	    (s.set.alone || s.again || s.set.has_expires || s.set.pins.min_version ||
	     s.set.pins.id || s.set.pins.state))
		r = cli_usage_error(cli, err,
				    "--alone, --again, --expires, --min-version, --set-id and "
				    "--set-state go with --set");
	if (r == 0)
		r = open_and_seal(&s, cli, err);
	plan_clear(&s.plan);
	ollama_options_clear(&s.ollama);
	ollama_bundle_clear(&s.bundle);
	ollama_import_clear(&s.import);
	return r;
}

const struct verb verb_seal = {
	.name = "seal",
	.summary = "encrypt models into a directory or S3",
	.usage = "[OPTIONS] SRC… DEST\n--from-ollama NAME [OPTIONS] [STORE] DEST\n"
		 "--from-aws-sample OBJECT [OPTIONS] DEST",
	.help = "SRC is a file, a directory (its files keep their paths relative to it) or - for\n"
		"standard input. DEST is a directory, made if missing, or s3://bucket/prefix/. Each\n"
		"file becomes NAME.<id>.sealed and, written last, NAME.seal: a model appears whole\n"
		"or not at all, and replaces one of the same name in one step. The replaced payload\n"
		"stays for mounts that still read it, unless --remove-old is given.\n"
		"\n"
		"The seal states the path of each model below DEST. A mount refuses the model under another\n"
		"path. The seal also states when it was made ($SOURCE_DATE_EPOCH in place of the clock) and,\n"
		"unless --no-facts, what kind of file it is and what a GGUF header says: architecture, name,\n"
		"size, quantization, and whether it has a chat template. All of this can be read without a key.\n"
		"\n"
		"In a directory, hidden files are sealed, too. A link to a file is followed if that\n"
		"file is in the directory (or with --follow), and refused otherwise; links to\n"
		"directories, devices, sockets and pipes are skipped with a warning. Sealed objects\n"
		"are not sealed again.\n"
		"\n"
		"Memory stays under 64 MiB for files up to 78 GiB in S3 and 128 GiB in a directory.\n"
		"Above that, S3's limit of 10,000 parts requires larger parts (two are held in memory,\n"
		"each 1/10,000 of the file), and the seal takes about 200 bytes for each MiB.\n"
		"\n"
		"With an --ollama-* option, a small sealed file NAME.ollama is written beside the model;\n"
		"mounts show its content to Ollama. Without any, the Ollama name is derived from the\n"
		"file's path. --from-ollama seals a model of the Ollama store STORE (default:\n"
		"$OLLAMA_MODELS, ~/.ollama/models, or that of Ollama's service) as MODEL/TAG.gguf, with\n"
		"its manifest byte for byte; each blob's digest is checked.\n"
		"\n"
		"--from-aws-sample decrypts OBJECT (NAME.enc beside NAME.datakey.enc, or NAME.encrypted\n"
		"beside NAME.datakey) as it is downloaded, and seals it as NAME. Nothing is published\n"
		"unless its tag is right. Nothing in these objects says who wrote them.\n"
		"\n"
		"With --set, all files become members of one set (sealctl help set), when the last of\n"
		"them is sealed: before, mounts show the set as it was. The recipients are those of the set.\n"
		"Of a checkout, .git and .cache are left out, links into Hugging Face's cache are\n"
		"followed, and the revision is noted. A split GGUF must be complete.\n"
		"\n"
		"A pipe without --length is first written to a nameless temporary file ($TMPDIR, else\n"
		"/var/tmp), encrypted under a key that exists only in this process's memory.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
