/*
 * sealctl rewrap: other recipients for what is sealed already. Job here: options and the report.
 * The work is in tools/rewrap.
 */
#include "crypto/base/log.h"
#include "crypto/name.h"
#include "crypto/slot_text.h"
#include "tools/common/output.h"
#include "tools/inspect/describe.h"
#include "tools/rewrap/rewrap.h"
#include "tools/set/opening.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>

enum {
	OPTION_ADD_KEY_FILE = CLI_LONG,
	OPTION_ADD_KMS_KEY,
	OPTION_ADD_TPM,
	OPTION_DROP,
	OPTION_OWNER_KEY,
	OPTION_SSE,
};

static const struct cli_option options[] = {
	{OPTION_ADD_KEY_FILE, "add-key-file", "FILE", "a new recipient; repeatable"},
	{OPTION_ADD_KMS_KEY, "add-kms-key", "KEY",
	 "a new recipient: a KMS key id, ARN or alias/NAME;\nrepeatable"},
	{OPTION_ADD_TPM, "add-tpm", "PCRS",
	 "a new recipient: a TPM 2.0, as for seal --tpm;\nrepeatable"},
	{OPTION_DROP, "drop", "RECIPIENT",
	 "one that goes: a key ARN, or the id of a key file or TPM\n"
	 "or its first 8 digits, as recipients shows them;\nrepeatable"},
	OPENING_OPTIONS,
	{OPTION_OWNER_KEY, "owner-key", "PUB",
	 "the owner must be one of this file's public keys;\nrepeatable"},
	{OPTION_SSE, "sse", "KIND",
	 "how S3 encrypts what it stores: AES256, aws:kms[:KEY],\naws:kms:dsse[:KEY]"},
	{0},
};

struct settings {
	struct cli *cli;
	struct recipient_options added;
	struct opening opening;
	struct owner_keys *owners;
	struct rewrap rewrap;
	json_t *objects;
	size_t counts[REWRAP_RESULTS];
	bool dropped; /* somebody, somewhere */
	int code;     /* of the first failure */
	struct error error;
};

static int add(const char **list, unsigned *count, const struct cli *cli, struct error *err)
{
	if (*count == SEAL_SLOTS_MAX)
		return cli_usage_error(cli, err, "more than %d recipients", SEAL_SLOTS_MAX);
	list[(*count)++] = cli->value;
	return 0;
}

static int take_option(struct settings *s, int id, struct error *err)
{
	struct recipient_options *a = &s->added;

	switch (id) {
	case OPTION_ADD_KEY_FILE:
		return add(a->keyfiles, &a->keyfile_count, s->cli, err);
	case OPTION_ADD_KMS_KEY:
		return add(a->kms_keys, &a->kms_count, s->cli, err);
	case OPTION_ADD_TPM:
		return add(a->tpms, &a->tpm_count, s->cli, err);
	case OPTION_DROP:
		return wish_drop(&s->rewrap.wish, s->cli->value, err);
	case OPTION_OWNER_KEY:
		return owner_keys_add_file(s->owners, s->cli->value, err);
	case OPTION_SSE:
		s->cli->aws_options.sse = s->cli->value;
		return 0;
	default:
		return opening_take(&s->opening, s->cli, id, err);
	}
}

static const char *result_id(enum rewrap_result result)
{
	static const char *const ids[REWRAP_RESULTS] = {"rewrapped", "already", "failed"};

	return ids[result];
}

static void add_json(struct settings *s, const struct rewrap_report *r)
{
	const struct plan_slots *p = r->result == REWRAP_DONE ? r->plan : NULL;

	output_append(
		&s->objects,
		json_pack("{s:o, s:s, s:o, s:o, s:o}", "object", output_text(r->label), "result",
			  result_id(r->result), "added",
			  p ? describe_slots_json(p->slots + p->new_at, p->count - p->new_at)
			    : json_array(),
			  "dropped", p ? describe_slots_json(p->gone, p->gone_count) : json_array(),
			  "error", r->code ? output_error_json(r->error, r->code) : json_null()));
}

static void print_slots(const struct seal_slot *slots, unsigned count, char sign)
{
	char text[SLOT_TEXT_SIZE];

	for (unsigned i = 0; i < count; i++)
		print_safely(stdout, "  %c %s\n", sign, slot_text(&slots[i], text));
}

static void print_report(const struct settings *s, const struct rewrap_report *r)
{
	char name[NAME_PRINTABLE_SIZE];

	name_printable(r->label, name);
	if (r->result == REWRAP_FAILED)
		print_safely(stdout, "%s: FAILED: %s\n", name, error_text(r->error, r->code));
	if (r->result != REWRAP_DONE || s->cli->quiet)
		return;
	print_safely(stdout, "%s: rewrapped\n", name);
	print_slots(r->plan->gone, r->plan->gone_count, '-');
	print_slots(r->plan->slots + r->plan->new_at, r->plan->count - r->plan->new_at, '+');
}

static void take_report(void *arg, const struct rewrap_report *r)
{
	struct settings *s = arg;

	s->counts[r->result]++;
	s->dropped = s->dropped || (r->result == REWRAP_DONE && r->plan->gone_count > 0);
	if (r->code && !s->code) {
		s->code = r->code;
		s->error = *r->error;
	}
	if (s->cli->json)
		add_json(s, r);
	else
		print_report(s, r);
	fflush(stdout);
}

/* What rewrapping cannot undo, and what was asked for in vain. */
static void warn(const struct settings *s)
{
	const struct wish *w = &s->rewrap.wish;

	for (unsigned i = 0; i < w->dropped_count; i++)
		if (!w->drop_found[i])
			log_warning("no object there has the recipient %s, or not any more",
				    w->dropped[i]);
	if (s->dropped)
		log_notice("who was dropped may have kept the keys, or an old copy of a seal (a "
			   "bucket with versions keeps them, too): only sealing again excludes "
			   "them");
}

static int finish(struct settings *s, struct error *err)
{
	const size_t *n = s->counts;

	warn(s);
	if (s->cli->json) {
		int r = output_json(json_pack(
			"{s:b, s:O, s:I, s:I, s:I}", "ok", s->code == 0, "objects", s->objects,
			"rewrapped", (json_int_t)n[REWRAP_DONE], "already",
			(json_int_t)n[REWRAP_ALREADY], "failed", (json_int_t)n[REWRAP_FAILED]));

		s->cli->failure_reported = true;
		if (r < 0)
			return r;
	} else if (!s->cli->quiet) {
		print_safely(stdout,
			     "%zu rewrapped, %zu had these recipients already, %zu failed\n",
			     n[REWRAP_DONE], n[REWRAP_ALREADY], n[REWRAP_FAILED]);
	}
	if (s->code == 0)
		return 0;
	*err = s->error;
	return s->code;
}

static int run_targets(struct settings *s, struct error *err)
{
	int r = 0;

	for (int i = 0; r == 0 && i < cli_operands(s->cli); i++) {
		_cleanup_target_ struct target t = {0};

		r = rewrap_open(s->cli, cli_operand(s->cli, i), &t, err);
		if (r == 0)
			r = rewrap_target(&s->rewrap, &t, err);
	}
	return r;
}

static int prepare(struct settings *s, struct error *err)
{
	struct aws *aws = NULL;
	int r = opening_make(&s->opening, s->cli, err);

	if (r == 0 && !s->opening.unlock)
		return cli_usage_error(s->cli, err,
				       "a key that opens them is needed: give --key-file, --kms, "
				       "--attest or --tpm");
	if (r == 0 && s->added.kms_count > 0)
		r = cli_aws(s->cli, &aws, err);
	if (r == 0)
		r = wish_make(&s->rewrap.wish, &s->added, aws, err);
	s->rewrap.access = (struct set_access){.owners = s->owners, .unlock = s->opening.unlock};
	s->rewrap.quiet = s->cli->quiet;
	s->rewrap.report = take_report;
	s->rewrap.arg = s;
	return r;
}

static int run(struct cli *cli, struct error *err)
{
	struct settings s = {.cli = cli, .objects = json_array()};
	int r = owner_keys_new(&s.owners), id;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, id, err);
	if (r == 0 && cli_operands(cli) == 0)
		r = cli_usage_error(cli, err, "give a seal, a set, a directory or an S3 prefix");
	if (r == 0)
		r = prepare(&s, err);
	if (r == 0) {
		r = run_targets(&s, err);
		/* What was done before it stopped is reported, too. */
		if (r < 0 && s.code == 0) {
			s.code = r;
			s.error = *err;
			error_clear(err);
		}
		r = finish(&s, err);
	}
	wish_clear(&s.rewrap.wish);
	opening_clear(&s.opening);
	owner_keys_free(s.owners);
	json_decref(s.objects);
	return r;
}

const struct verb verb_rewrap = {
	.name = "rewrap",
	.summary = "add and drop recipients of what is sealed, without its payload",
	.usage = "[OPTIONS] PLACE…",
	.help = "PLACE is NAME.seal, a set (sealed.set), or a directory or s3://bucket/prefix/ for the\n"
		"set and all seals in it. Only seals and sets are rewritten, each in one step; mounts\n"
		"that have a model open go on, and read the new recipients at their next reload. The\n"
		"owner's signature stays valid. A recipient of a set opens its members; so who comes is\n"
		"not added to members of the set in PLACE, and who goes is dropped from all.\n"
		"\n"
		"What has the wanted recipients already is left alone: after an interruption, run it\n"
		"again. If another writer changes an object at the same time, nothing of it is written,\n"
		"and the exit code is 5.\n"
		"\n"
		"Rewrapping cannot take back what a dropped recipient has kept, a key or an old seal:\n"
		"only sealing again excludes it.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
