/*
 * sealctl recipients: who can open what, in a seal, a set or a whole place. Job here: options and
 * the output. The work is in tools/rewrap.
 */
#include "crypto/name.h"
#include "crypto/slot_text.h"
#include "tools/common/output.h"
#include "tools/inspect/describe.h"
#include "tools/rewrap/recipients_list.h"
#include "tools/rewrap/rewrap.h"
#include "tools/verbs.h"

#include <errno.h>

struct listing {
	struct cli *cli;
	struct recipients_list list;
	json_t *objects;
	int code; /* of the first object that could not be read */
	struct error error;
};

static void take_entry(void *arg, const struct recipients_entry *e)
{
	struct listing *s = arg;
	char name[NAME_PRINTABLE_SIZE], text[SLOT_TEXT_SIZE];

	if (e->code && !s->code) {
		s->code = e->code;
		s->error = *e->error;
	}
	if (s->cli->json) {
		output_append(
			&s->objects,
			json_pack("{s:o, s:s, s:o, s:o}", "object", output_text(e->label), "type",
				  e->is_set ? "set" : "seal", "recipients",
				  e->head ? describe_slots_json(e->head->slots, e->head->slot_count)
					  : json_array(),
				  "error",
				  e->code ? output_error_json(e->error, e->code) : json_null()));
		return;
	}
	name_printable(e->label, name);
	if (e->code)
		print_safely(stdout, "%s: FAILED: %s\n", name, error_text(e->error, e->code));
	if (e->code || s->cli->quiet)
		return;
	print_safely(stdout, "%s\n", name);
	for (unsigned i = 0; i < e->head->slot_count; i++)
		print_safely(stdout, "  %s\n", slot_text(&e->head->slots[i], text));
}

static int print_json(struct listing *s)
{
	json_t *all = json_array();

	for (size_t i = 0; i < s->list.count; i++) {
		const struct recipients_who *w = &s->list.all[i];
		json_t *one = describe_slot_json(&w->slot);

		if (one) {
			json_object_set_new(one, "objects", json_integer((json_int_t)w->objects));
			json_object_set_new(one, "through_set",
					    json_integer((json_int_t)w->through_set));
		}
		output_append(&all, one);
	}
	s->cli->failure_reported = true;
	return output_json(json_pack("{s:b, s:b, s:O, s:o}", "ok", s->code == 0, "verified", 0,
				     "objects", s->objects, "recipients", all));
}

static void print_text(const struct listing *s)
{
	char text[SLOT_TEXT_SIZE];

	print_safely(stdout, "%zu object%s (what they state; nothing is verified here):\n",
		     s->list.objects, s->list.objects == 1 ? "" : "s");
	for (size_t i = 0; i < s->list.count; i++) {
		const struct recipients_who *w = &s->list.all[i];

		print_safely(stdout, "  %s: %zu", slot_text(&w->slot, text), w->objects);
		if (w->through_set > 0)
			print_safely(stdout, ", and %zu through the set", w->through_set);
		print_safely(stdout, "\n");
	}
}

static int run(struct cli *cli, struct error *err)
{
	struct listing s = {.cli = cli, .objects = json_array()};
	int r = cli_next(cli, err);

	s.list = (struct recipients_list){.quiet = cli->quiet, .entry = take_entry, .arg = &s};
	if (r == 0 && cli_operands(cli) == 0)
		r = cli_usage_error(cli, err, "give a seal, a set, a directory or an S3 prefix");
	for (int i = 0; r == 0 && i < cli_operands(cli); i++) {
		_cleanup_target_ struct target t = {0};

		r = rewrap_open(cli, cli_operand(cli, i), &t, err);
		if (r == 0)
			r = recipients_list_add(&s.list, &t, err);
	}
	if (r == 0 && cli->json)
		r = print_json(&s);
	else if (r == 0)
		print_text(&s);
	if (r == 0 && s.code) {
		*err = s.error;
		r = s.code;
	}
	recipients_list_clear(&s.list);
	json_decref(s.objects);
	return r;
}

const struct verb verb_recipients = {
	.name = "recipients",
	.summary = "list who can open what",
	.usage = "[OPTIONS] PLACE…",
	.help = "PLACE is NAME.seal, a set (sealed.set), or a directory or s3://bucket/prefix/ for the\n"
		"set and all seals in it. Prints the recipients of each, and of how many objects each\n"
		"recipient is one. No key is needed. Nothing is verified: check does that, and whoever\n"
		"was a recipient once may have kept a key or an old seal.",
	.uses_aws = true,
	.run = run,
};
