/*
 * Which files are sealed under which names. Job: check operands and options against each other, and
 * make the plan; open what is in it. Reads headers of files, and no more of them.
 */
#include "tools/seal_plan.h"

#include "crypto/name.h"
#include "fs/formats/gguf_name.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/seal/aws_sample.h"
#include "tools/seal/checkout.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* One GGUF with an Ollama description. */
static int plan_description(struct seal_settings *s, const struct cli *cli, struct error *err)
{
	const struct plan_entry *e = s->plan.entries;
	struct gguf_shard shard;
	int r;

	if (s->plan.count != 1)
		return cli_usage_error(cli, err, "the --ollama-* options are for a single model");
	if (gguf_parse_shard(e->name, &shard))
		return cli_usage_error(cli, err,
				       "\"%s\" is a part of a split GGUF, which Ollama cannot load",
				       e->name);
	r = s->from_sample ? 0 : seal_check_gguf(e->path, err);
	return r < 0 ? r : ollama_bundle_from_options(&s->ollama, e->name, &s->bundle, err);
}

/* The operands are [STORE] DEST. */
static int plan_import(struct seal_settings *s, const struct cli *cli, struct error *err)
{
	_cleanup_free_ char *found = NULL;
	int stores = cli_operands(cli) - 1, r = 0;

	if (stores > 1 || s->length || s->plan.follow || ollama_options_any(&s->ollama))
		return cli_usage_error(
			cli, err,
			"--from-ollama takes [STORE] DEST and, of the options that choose "
			"or describe files, only --name");
	if (stores == 0)
		r = ollama_store_path(&found, err);
	if (r == 0)
		r = ollama_import_read(found ? found : cli_operand(cli, 0), s->from_ollama, s->name,
				       &s->import, err);
	for (size_t i = 0; r == 0 && i < s->import.count; i++)
		r = plan_add(&s->plan, s->import.weights[i].path, s->import.weights[i].name, err);
	if (r == 0)
		r = seal_check_gguf(s->import.weights[s->import.count - 1].path, err);
	return r;
}

/* The operand is DEST. */
static int plan_sample(struct seal_settings *s, const struct cli *cli, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	int r;

	if (cli_operands(cli) > 1 || s->length || s->plan.follow || s->from_ollama)
		return cli_usage_error(cli, err,
				       "--from-aws-sample takes DEST and, of the options that "
				       "choose files, only --name");
	r = aws_sample_name(s->from_sample, &name, err);
	if (r == 0)
		r = plan_add_entry(&s->plan, s->from_sample, s->name ? s->name : name, err);
	if (r == 0 && ollama_options_any(&s->ollama))
		r = plan_description(s, cli, err);
	return r;
}

static int plan_files(struct seal_settings *s, const struct cli *cli, struct error *err)
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

int seal_plan_make(struct seal_settings *s, const struct cli *cli, struct error *err)
{
	bool is_s3 = source_spec_is_s3(cli_operand(cli, cli_operands(cli) - 1));
	bool for_ollama = s->from_ollama || ollama_options_any(&s->ollama);
	int r;

	if (for_ollama && s->no_facts)
		return cli_usage_error(cli, err,
				       "--no-facts keeps a model out of the Ollama store");

	/* The payload's name is the longer one; S3 has no limit on a part of a key. */
	s->plan.name_max =
		is_s3 ? SEAL_NAME_MAX
		      : NAME_MAX - strlen(SEAL_PAYLOAD_SUFFIX) - SEAL_PAYLOAD_ID_DIGITS - 1;
	if (for_ollama)
		s->plan.name_max -= strlen(OLLAMA_SUFFIX);
	if (s->from_sample)
		r = plan_sample(s, cli, err);
	else
		r = s->from_ollama ? plan_import(s, cli, err) : plan_files(s, cli, err);
	return r < 0 ? r : plan_finish(&s->plan, err);
}

int seal_plan_origin(struct seal_settings *s, const struct cli *cli, struct error *err)
{
	int r = 0;

	if (cli_operands(cli) == 2 && !s->no_facts && !s->from_ollama)
		r = checkout_facts(cli_operand(cli, 0), &s->origin);
	if (r == 0 && s->origin.size > 0)
		s->set.facts = &s->origin;
	return r < 0 ? error_set(err, r, "out of memory") : 0;
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

int seal_plan_open(const struct seal_settings *s, struct cli *cli, const struct plan_entry *entry,
		   struct input **ret, struct error *err)
{
	int r = s->from_sample ? aws_sample_open(cli, entry->path, s->sample_key, ret, err)
			       : input_open(entry->path, ret, err);

	if (r == 0 && s->length)
		r = input_promise_length(*ret, s->length_bytes, err);
	if (r == 0 && input_length(*ret) == INPUT_LENGTH_UNKNOWN)
		r = spool(cli, *ret, err);
	if (r == 0 && input_length(*ret) > SEAL_LENGTH_MAX)
		r = error_set(err, -EFBIG, "%s is longer than 16 TiB", entry->path);
	return r;
}
