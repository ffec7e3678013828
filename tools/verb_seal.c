/*
 * sealctl seal: plaintext files, directories or a pipe become sealed objects in a directory or S3.
 * Job here: options, the plan, one file after the other, the report. The work is in seal_input.c.
 */
#include "crypto/base/log.h"
#include "crypto/name.h"
#include "fs/view/gguf_name.h"
#include "tools/describe.h"
#include "tools/interrupt.h"
#include "tools/output.h"
#include "tools/plan.h"
#include "tools/progress.h"
#include "tools/seal_ollama.h"
#include "tools/verbs.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
	OPTION_KMS_KEY = CLI_LONG,
	OPTION_KEY_FILE,
	OPTION_SIGN,
	OPTION_NAME,
	OPTION_LENGTH,
	OPTION_REMOVE_OLD,
	OPTION_FOLLOW,
	OPTION_OLLAMA_NAME,
	OPTION_OLLAMA_TEMPLATE,
	OPTION_OLLAMA_SYSTEM,
	OPTION_OLLAMA_PARAMS,
	OPTION_OLLAMA_LICENSE,
	OPTION_FROM_OLLAMA
};

static const struct cli_option options[] = {
	{OPTION_KMS_KEY, "kms-key", "KEY",
	 "recipient: a KMS key id, ARN or alias/NAME; repeatable"},
	{OPTION_KEY_FILE, "key-file", "FILE", "recipient: a key file of keygen; repeatable"},
	{OPTION_SIGN, "sign", "KEY.pem", "sign as owner with this private key"},
	{OPTION_NAME, "name", "NAME", "name of the model; needed for a pipe"},
	{OPTION_LENGTH, "length", "BYTES",
	 "length of a pipe (k, M, G, T: powers of 1024);\n"
	 "without it the pipe is spooled, encrypted"},
	{OPTION_REMOVE_OLD, "remove-old", NULL,
	 "after replacing a model, remove its old payload;\nmounts that still read it fail"},
	{OPTION_FOLLOW, "follow", NULL, "in directories, follow links that lead out of them"},
	{OPTION_OLLAMA_NAME, "ollama-name", "NAME",
	 "name in the mount's Ollama store, as in llama3:8b;\nwithout it the name comes from the path"},
	{OPTION_OLLAMA_TEMPLATE, "ollama-template", "FILE",
	 "template for Ollama (Go's text/template)"},
	{OPTION_OLLAMA_SYSTEM, "ollama-system", "FILE", "system text for Ollama"},
	{OPTION_OLLAMA_PARAMS, "ollama-params", "FILE|NAME=VALUE",
	 "parameters for Ollama: a JSON object, lines of\nNAME=VALUE, or one of them; repeatable"},
	{OPTION_OLLAMA_LICENSE, "ollama-license", "FILE", "license text; repeatable"},
	{OPTION_FROM_OLLAMA, "from-ollama", "NAME", "seal this model of an Ollama store"},
	{0},
};

struct settings {
	struct recipient_options recipients;
	const char *sign, *name, *length;
	uint64_t length_bytes;
	bool remove_old;
	struct plan plan;
	struct ollama_options ollama;
	const char *from_ollama;
	struct ollama_bundle bundle; /* of what ollama says */
	struct ollama_import import; /* of from_ollama */
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

static int take_ollama_option(struct settings *s, struct cli *cli, int id, struct error *err)
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

static int take_option(struct settings *s, struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case OPTION_KMS_KEY:
		return add(s->recipients.kms_keys, &s->recipients.kms_count, cli->value, cli, err);
	case OPTION_KEY_FILE:
		return add(s->recipients.keyfiles, &s->recipients.keyfile_count, cli->value, cli,
			   err);
	case OPTION_SIGN:
		s->sign = cli->value;
		return 0;
	case OPTION_NAME:
		s->name = cli->value;
		return 0;
	case OPTION_LENGTH:
		s->length = cli->value;
		if (cli_parse_size(cli->value, &s->length_bytes) < 0 ||
		    s->length_bytes > SEAL_LENGTH_MAX)
			return cli_usage_error(cli, err, "--length %s is no length up to 16T",
					       cli->value);
		return 0;
	case OPTION_REMOVE_OLD:
		s->remove_old = true;
		return 0;
	case OPTION_FOLLOW:
		s->plan.follow = true;
		return 0;
	default:
		return take_ollama_option(s, cli, id, err);
	}
}

/* One GGUF, and what Ollama is to know of it. */
static int plan_description(struct settings *s, const struct cli *cli, struct error *err)
{
	const struct plan_entry *e = s->plan.entries;
	struct gguf_header header;
	struct gguf_shard shard;
	int r;

	if (s->plan.count != 1)
		return cli_usage_error(cli, err, "--ollama-… are for a single model");
	if (gguf_parse_shard(e->name, &shard))
		return cli_usage_error(
			cli, err, "\"%s\" is a part of a split GGUF: Ollama takes none", e->name);
	r = seal_check_gguf(e->path, &header, err);
	return r < 0 ? r
		     : ollama_bundle_from_options(&s->ollama, e->name, &header, &s->bundle, err);
}

/* The operands are [STORE] DEST. */
static int plan_import(struct settings *s, const struct cli *cli, struct error *err)
{
	_cleanup_free_ char *found = NULL;
	struct gguf_header header;
	int stores = cli_operands(cli) - 1, r = 0;

	if (stores > 1 || s->length || s->plan.follow || ollama_options_any(&s->ollama))
		return cli_usage_error(cli, err,
				       "--from-ollama takes [STORE] DEST, and of the options for "
				       "what is sealed only --name");
	if (stores == 0)
		r = ollama_store_path(&found, err);
	if (r == 0)
		r = ollama_import_read(found ? found : cli_operand(cli, 0), s->from_ollama, s->name,
				       &s->import, err);
	for (size_t i = 0; r == 0 && i < s->import.count; i++)
		r = plan_add(&s->plan, s->import.weights[i].path, s->import.weights[i].name, err);
	if (r == 0)
		r = seal_check_gguf(s->import.weights[s->import.count - 1].path, &header, err);
	return r;
}

static int plan_files(struct settings *s, const struct cli *cli, struct error *err)
{
	int sources = cli_operands(cli) - 1, r = 0;

	if ((s->name || s->length) && sources > 1)
		return cli_usage_error(cli, err, "--name and --length are for a single SRC");
	for (int i = 0; r == 0 && i < sources; i++)
		r = plan_add(&s->plan, cli_operand(cli, i), s->name, err);
	if (r == 0 && ollama_options_any(&s->ollama))
		r = plan_description(s, cli, err);
	return r;
}

static int make_plan(struct settings *s, const struct cli *cli, struct error *err)
{
	bool is_s3 = source_spec_is_s3(cli_operand(cli, cli_operands(cli) - 1));
	int r;

	/* The payload's name is the longer one; S3 has no limit on a part of a key. */
	s->plan.name_max =
		is_s3 ? SEAL_NAME_MAX
		      : NAME_MAX - strlen(SEAL_PAYLOAD_SUFFIX) - SEAL_PAYLOAD_ID_DIGITS - 1;
	if (s->from_ollama || ollama_options_any(&s->ollama))
		s->plan.name_max -= strlen(OLLAMA_SUFFIX);
	r = s->from_ollama ? plan_import(s, cli, err) : plan_files(s, cli, err);
	return r < 0 ? r : plan_finish(&s->plan, err);
}

static json_t *result_json(const struct seal_request *req, const struct seal_result *res,
			   const char *name)
{
	_cleanup_free_ char *seal = source_describe(req->dest, res->seal_name);
	_cleanup_free_ char *payload = source_describe(req->dest, res->payload_name);
	json_t *signer = json_null();

	if (req->signer)
		signer = output_hex_json(signing_key_id(req->signer), SIGNER_ID_SIZE);
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:b, s:f, s:f}",
		"name", output_text(name), "seal", output_text(seal ? seal : "?"), "payload",
		output_text(payload ? payload : "?"), "file_id",
		output_hex_json(res->file_id, sizeof(res->file_id)), "length",
		(json_int_t)res->length, "sha256",
		output_hex_json(res->digests.sha256, sizeof(res->digests.sha256)), "sha384",
		output_hex_json(res->digests.sha384, sizeof(res->digests.sha384)), "verity",
		output_hex_json(res->digests.verity, sizeof(res->digests.verity)), "signer", signer,
		"recipients", describe_slots_json(res->slots, res->slot_count), "replaced",
		res->replaced, "old_payload",
		res->old_payload ? output_text(res->old_payload) : json_null(),
		"old_payload_removed", res->old_payload_removed, "seconds", res->seconds,
		"bytes_per_second",
		res->seconds > 0 ? (double)res->length / res->seconds : (double)res->length);
}

static void print_result(const struct seal_request *req, const struct seal_result *res,
			 const char *name)
{
	_cleanup_free_ char *seal = source_describe(req->dest, res->seal_name);
	char amount[OUTPUT_AMOUNT_SIZE], rate[OUTPUT_AMOUNT_SIZE], safe[NAME_PRINTABLE_SIZE];

	output_amount((double)res->length, amount);
	output_amount(res->seconds > 0 ? (double)res->length / res->seconds : 0, rate);
	name_printable(name, safe);
	printf("%s  %s in %.1f s (%s/s)%s\n", safe, amount, res->seconds, rate,
	       res->replaced ? ", replaced" : "");
	name_printable(seal ? seal : "?", safe);
	printf("  seal       %s\n", safe);
	printf("  sha256     %s\n", OUTPUT_HEX(res->digests.sha256, sizeof(res->digests.sha256)));
	printf("  fs-verity  sha256:%s\n",
	       OUTPUT_HEX(res->digests.verity, sizeof(res->digests.verity)));
	if (res->old_payload) {
		name_printable(res->old_payload, safe);
		printf("  the old payload %s %s\n", safe,
		       res->old_payload_removed ? "is removed"
						: "is kept for those who still read it");
	}
}

static void cancel_input(void *ctx)
{
	input_cancel(ctx);
}

static int spool(const struct cli *cli, struct input *in, struct error *err)
{
	_cleanup_(progress_freep) struct progress *progress =
		progress_new("spooling", PROGRESS_TOTAL_UNKNOWN, cli->quiet);
	int r = interrupt_hook(cancel_input, in);

	if (r < 0)
		return r;
	r = input_spool(in, progress, err);
	interrupt_unhook(cancel_input, in);
	return r;
}

static void report(const struct cli *cli, const struct seal_request *req,
		   const struct seal_result *res, const char *name, json_t **results)
{
	if (cli->json)
		output_append(results, result_json(req, res, name));
	else if (!cli->quiet)
		print_result(req, res, name);
	fflush(stdout);
}

static int open_entry(const struct settings *s, const struct cli *cli,
		      const struct plan_entry *entry, struct input **ret, struct error *err)
{
	int r = input_open(entry->path, ret, err);

	if (r == 0 && s->length)
		r = input_promise_length(*ret, s->length_bytes, err);
	if (r == 0 && input_length(*ret) == INPUT_LENGTH_UNKNOWN)
		r = spool(cli, *ret, err);
	if (r == 0 && input_length(*ret) > SEAL_LENGTH_MAX)
		r = error_set(err, -EFBIG, "%s is longer than 16 TiB", entry->path);
	return r;
}

static int seal_entry(const struct settings *s, const struct cli *cli,
		      const struct seal_request *req, const struct plan_entry *entry,
		      json_t **results, struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	struct seal_result res = {0};
	int r = open_entry(s, cli, entry, &in, err);

	if (r == 0)
		r = seal_input(req, in, entry->name, &res, err);
	if (r < 0)
		return r;
	report(cli, req, &res, entry->name, results);
	seal_warn_stale_description(req, &res, entry->name);
	seal_result_clear(&res);
	return 0;
}

/* What belongs together, all or nothing. */
static int seal_together(const struct settings *s, const struct cli *cli,
			 const struct seal_request *req, json_t **results, struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(batch_freep) struct batch *batch = NULL;
	const struct plan_entry *e = s->plan.entries;
	int r = batch_new(req, &batch);

	if (r == 0 && s->from_ollama) {
		r = seal_import(req, &s->import, batch, err);
	} else if (r == 0 && s->plan.count > 0) {
		r = open_entry(s, cli, e, &in, err);
		if (r == 0)
			r = seal_described(req, &s->bundle, in, e->name, batch, err);
	}
	for (size_t i = 0; r == 0 && i < batch_count(batch); i++) {
		const char *name;
		const struct seal_result *res = batch_result(batch, i, &name);

		report(cli, req, res, name, results);
	}
	return r;
}

static int seal_each(const struct settings *s, const struct cli *cli,
		     const struct seal_request *req, json_t **results, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->plan.count; i++) {
		r = interrupt_check(err);
		if (r == 0)
			r = seal_entry(s, cli, req, &s->plan.entries[i], results, err);
		if (r < 0 && i > 0)
			log_notice("%zu of %zu files were sealed before the failure", i,
				   s->plan.count);
	}
	return r;
}

/* Stops at the first failure; what was sealed before it stays, and is said. */
static int seal_all(const struct settings *s, struct cli *cli, const struct seal_request *req,
		    struct error *err)
{
	json_t *results = json_array(), *value;
	bool together = s->from_ollama || ollama_options_any(&s->ollama);
	int r = together ? seal_together(s, cli, req, &results, err)
			 : seal_each(s, cli, req, &results, err);

	r = interrupt_translate(r, err);
	if (!cli->json) {
		json_decref(results);
		return r;
	}
	value = json_pack("{s:o}", "sealed", results);
	if (r < 0) {
		json_object_set_new(value, "error", output_error_json(err, r));
		cli->failure_reported = true;
	}
	if (output_json(value) < 0 && r == 0)
		r = -EIO;
	return r;
}

static int open_and_seal(struct settings *s, struct cli *cli, struct error *err)
{
	const char *dest = cli_operand(cli, cli_operands(cli) - 1);
	_cleanup_(recipients_freep) struct recipients *recipients = NULL;
	_cleanup_(signing_key_freep) struct signing_key *signer = NULL;
	_cleanup_(source_freep) struct source *source = NULL;
	struct seal_request req = {.dest_is_s3 = source_spec_is_s3(dest),
				   .remove_old = s->remove_old,
				   .quiet = cli->quiet};
	int r = 0;

	if (req.dest_is_s3 || s->recipients.kms_count > 0)
		r = cli_aws(cli, &req.aws, err);
	if (r == 0)
		r = recipients_new(&s->recipients, req.aws, &recipients, err);
	if (r == 0 && s->sign) {
		r = signing_key_load(s->sign, &signer, err);
		r = r == -EPROTO ? -EINVAL : r;
	}
	if (r == 0)
		r = make_plan(s, cli, err);
	if (r == 0)
		r = source_open(dest, req.aws, true, &source, err);
	if (r < 0)
		return r;
	if (!signer)
		log_warning("sealing without --sign: nobody can tell who the owner is");
	req.dest = source;
	req.recipients = recipients;
	req.signer = signer;
	return seal_all(s, cli, &req, err);
}

static int run(struct cli *cli, struct error *err)
{
	struct settings s = {0};
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, cli, id, err);
	if (r == 0 && cli_operands(cli) < (s.from_ollama ? 1 : 2))
		r = cli_usage_error(cli, err, "give what to seal and where to");
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
	.usage = "[OPTIONS] SRC… DEST\n--from-ollama NAME [OPTIONS] [STORE] DEST",
	.help = "SRC is a file, a directory (its files keep their paths relative to it) or - for\n"
		"standard input. DEST is a directory, made if missing, or s3://bucket/prefix/. Each\n"
		"file becomes NAME.<id>.sealed and, written last, NAME.seal: a model appears whole\n"
		"or not at all, and replaces one of the same name in one step. The replaced payload\n"
		"stays for those who still read it, unless --remove-old.\n"
		"\n"
		"In a directory, hidden files count. A link to a file is followed when that file is\n"
		"in the directory (or with --follow), else refused; links to directories, devices,\n"
		"sockets and pipes are left out with a warning. Sealed objects are not sealed again.\n"
		"\n"
		"Memory stays under 64 MiB: up to 78 GiB a file in S3 and 128 GiB in a directory.\n"
		"Beyond, S3's limit of 10,000 parts needs larger parts (two of them are held, each\n"
		"1/10,000 of the file), and the seal itself about 200 bytes for each MiB.\n"
		"\n"
		"With --ollama-… a small sealed file NAME.ollama goes beside the model; mounts show what\n"
		"it says to Ollama. --from-ollama seals a model of the Ollama store STORE (default:\n"
		"$OLLAMA_MODELS, ~/.ollama/models, or that of Ollama's service) as MODEL/TAG.gguf, with\n"
		"its manifest byte for byte; each blob's digest is checked.\n"
		"\n"
		"A pipe without --length is first written to a nameless temporary file ($TMPDIR, else\n"
		"/var/tmp), encrypted under a key that exists only in this process's memory.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
