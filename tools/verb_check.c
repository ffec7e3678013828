/*
 * sealctl check: fsck for sealed objects. Without a key: structure, names, sizes, signature. With
 * one: everything. Job here: options, the list of objects, the report.
 */
#include "crypto/base/log.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/common/target.h"
#include "tools/inspect/check_object.h"
#include "tools/set/opening.h"
#include "tools/set/set_check.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { OPTION_OWNER_KEY = CLI_LONG };

static const struct cli_option options[] = {
	{OPTION_OWNER_KEY, "owner-key", "PUB",
	 "the owner must be one of this file's public keys;\nrepeatable"},
	OPENING_OPTIONS,
	{0},
};

struct checker {
	struct cli *cli;
	struct owner_keys *owners;
	struct opening opening;
	json_t *objects, *unused;
	size_t count, failed;
	int code; /* of the worst failure so far */
	struct error error;
};

static int take_option(struct checker *c, int id, struct error *err)
{
	if (id == OPTION_OWNER_KEY)
		return owner_keys_add_file(c->owners, c->cli->value, err);
	return opening_take(&c->opening, c->cli, id, err);
}

/* The worst exit code counts: not authentic, refused, unreachable, failure. */
static int rank(int code)
{
	static const int ranks[] = {[EXIT_CODE_OK] = 0,	     [EXIT_CODE_FAILURE] = 1,
				    [EXIT_CODE_USAGE] = 1,   [EXIT_CODE_NOT_AUTHENTIC] = 4,
				    [EXIT_CODE_REFUSED] = 3, [EXIT_CODE_UNREACHABLE] = 2};

	return ranks[error_exit_code(code)];
}

static const char *result_word(enum check_result result)
{
	return result == CHECK_PASSED ? "ok" : result == CHECK_FAILED ? "FAILED" : "not checked";
}

static const char *result_id(enum check_result result)
{
	return result == CHECK_PASSED ? "passed" : result == CHECK_FAILED ? "failed" : "skipped";
}

static json_t *report_json(const char *label, const struct check_report *rep)
{
	json_t *steps = json_array(), *error = json_null();

	for (unsigned i = 0; i < rep->count; i++) {
		const struct check_step *s = &rep->steps[i];

		output_append(&steps, json_pack("{s:s, s:s, s:s, s:o}", "step", s->name, "result",
						result_id(s->result), "class", s->failure, "detail",
						output_text(s->detail)));
	}
	if (rep->code)
		error = output_error_json(&rep->error, rep->code);
	return json_pack("{s:o, s:b, s:o, s:o}", "object", output_text(label), "ok", rep->code == 0,
			 "steps", steps, "error", error);
}

static void print_report(const char *label, const struct check_report *rep)
{
	char name[NAME_PRINTABLE_SIZE];

	name_printable(label, name);
	print_safely(stdout, "%s: %s\n", name, rep->code ? "FAILED" : "ok");
	for (unsigned i = 0; i < rep->count; i++)
		print_safely(stdout, "  %-9s  %-11s  %s\n", rep->steps[i].name,
			     result_word(rep->steps[i].result), rep->steps[i].detail);
}

static void add_report(struct checker *c, const char *label, const struct check_report *rep)
{
	c->count++;
	c->failed += rep->code != 0;
	if (rep->code && rank(rep->code) > rank(c->code)) {
		c->code = rep->code;
		c->error = rep->error;
	}
	if (c->cli->json)
		output_append(&c->objects, report_json(label, rep));
	else if (!c->cli->quiet || rep->code)
		print_report(label, rep);
	fflush(stdout);
}

/* Seals with names that no mount shows are reported as failures. */
static void report_skipped(struct checker *c, struct source *source, const struct source_listing *l)
{
	size_t kept = source_listing_skipped_kept(l), more = l->skipped_count - kept;

	for (size_t i = 0; i < kept; i++) {
		_cleanup_free_ char *label = source_describe(source, l->skipped[i].name);
		struct check_report rep;

		check_report_refuse(&rep, label ? label : "?", l->skipped[i].why);
		add_report(c, label ? label : "?", &rep);
	}
	c->count += more;
	c->failed += more;
	if (more > 0)
		log_warning("check: %zu more seals have names that a mount does not show", more);
}

static void add_finding(void *arg, const char *label, int code, const struct error *err)
{
	struct check_report rep = {.count = 1, .code = code, .error = *err};

	rep.steps[0] = (struct check_step){.name = "set",
					   .result = code ? CHECK_FAILED : CHECK_PASSED,
					   .failure = seal_failure_id(seal_failure_of(err))};
	(void)snprintf(rep.steps[0].detail, sizeof(rep.steps[0].detail), "%s",
		       code ? error_text(err, code) : err->message);
	add_report(arg, label, &rep);
}

/* The set comes before its members: its key opens them. */
static int check_set(struct checker *c, struct source *source, const struct source_listing *l,
		     struct error *err)
{
	const struct set_access access = {.owners = c->owners, .unlock = c->opening.unlock};
	_cleanup_set_store_ struct set_store s = {0};
	struct error failure = {0};
	int r = set_store_load(&s, source, &access, &failure);

	if (r == 0 && !s.set)
		return 0;
	if (r == 0)
		r = set_check_version(s.set, 0, (uint64_t)time(NULL), &failure);
	if (r < 0) {
		add_finding(c, s.label ? s.label : SET_OBJECT_NAME, r, &failure);
		return interrupt_check(err);
	}
	(void)snprintf(failure.message, sizeof(failure.message), "version %llu, %u members%s",
		       (unsigned long long)set_header(s.set)->version,
		       set_header(s.set)->member_count, s.keys ? "" : "; not opened");
	add_finding(c, s.label, 0, &failure);
	r = set_check(&s, l, add_finding, c, err);
	if (r == 0 && s.keys) {
		r = unlock_add_set(c->opening.unlock, s.keys);
		s.keys = r == 0 ? NULL : s.keys;
	}
	return r;
}

static int check_one(struct checker *c, const struct target *t, const char *name,
		     char **ret_payload, struct error *err)
{
	const struct check_options o = {.owners = c->owners,
					.unlock = c->opening.unlock,
					.quiet = c->cli->quiet,
					.found_name = target_found_name(t, name)};
	_cleanup_free_ char *label = source_describe(t->source, name);
	struct check_report rep;
	int r = check_object(t->source, name, &o, &rep, err);

	if (r == 0) {
		add_report(c, label ? label : "?", &rep);
		if (ret_payload)
			*ret_payload = steal_ptr(rep.payload_name);
	}
	check_report_clear(&rep);
	return r;
}

/* Payloads that no seal names: left by a replacement or an interrupted run. */
static void report_unused(struct checker *c, struct source *source, const struct source_listing *l,
			  struct used_payloads *used)
{
	for (size_t i = 0; i < l->count; i++) {
		const char *name = l->objects[i].name;
		_cleanup_free_ char *label = NULL;
		char safe[NAME_PRINTABLE_SIZE], amount[OUTPUT_AMOUNT_SIZE];

		if (!name_is_payload(name) || used_payloads_has(used, name))
			continue;
		label = source_describe(source, name);
		if (c->cli->json) {
			output_append(&c->unused, output_text(label ? label : name));
			continue;
		}
		name_printable(label ? label : name, safe);
		if (!c->cli->quiet)
			print_safely(stdout, "%s: no seal refers to this payload (%s)\n", safe,
				     output_amount((double)l->objects[i].size, amount));
	}
}

static int check_all(struct checker *c, const struct target *t, struct error *err)
{
	struct source *source = t->source;
	struct source_listing l = {0};
	_cleanup_(used_payloads_clear) struct used_payloads used = {0};
	size_t before = c->count;
	int r = source_list(source, NULL, &l, err);

	if (r < 0)
		return r;
	report_skipped(c, source, &l);
	r = check_set(c, source, &l, err);
	for (size_t i = 0; r == 0 && i < l.count; i++) {
		const char *name = l.objects[i].name;
		char *payload = NULL;

		if (set_name_is_pending(name))
			r = set_pending_payload(name, &payload);
		if (payload && used_payloads_add(&used, payload) < 0)
			r = -ENOMEM;
		payload = NULL;
		if (r < 0 || !name_is_seal(name))
			continue;
		r = check_one(c, t, name, &payload, err);
		if (payload && used_payloads_add(&used, payload) < 0)
			r = -ENOMEM;
	}
	if (r == 0)
		report_unused(c, source, &l, &used);
	if (r == 0 && c->count == before) {
		_cleanup_free_ char *label = source_describe(source, "");

		r = error_set(err, -ENOENT, "there is no sealed object in %s", label ? label : "?");
	}
	source_listing_clear(&l);
	return r;
}

static int check_operands(struct checker *c, struct error *err)
{
	int r = 0;

	for (int i = 0; r == 0 && i < cli_operands(c->cli); i++) {
		_cleanup_target_ struct target t = {0};

		r = target_open(c->cli, cli_operand(c->cli, i), &t, err);
		if (r == 0)
			r = t.name ? check_one(c, &t, t.name, NULL, err) : check_all(c, &t, err);
	}
	return r;
}

static int finish(struct checker *c, struct error *err)
{
	if (c->cli->json) {
		int r = output_json(json_pack("{s:b, s:O, s:O}", "ok", c->code == 0, "objects",
					      c->objects, "unused_payloads", c->unused));

		c->cli->failure_reported = true;
		if (r < 0)
			return r;
	} else if (!c->cli->quiet && c->count > 1) {
		print_safely(stdout, "%zu objects, %zu failed\n", c->count, c->failed);
	}
	if (c->code == 0)
		return 0;
	*err = c->error;
	return c->code;
}

static int run(struct cli *cli, struct error *err)
{
	struct checker c = {.cli = cli, .objects = json_array(), .unused = json_array()};
	int r = owner_keys_new(&c.owners), id;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&c, id, err);
	if (r == 0 && cli_operands(cli) == 0)
		r = cli_usage_error(cli, err, "give a seal, a directory or an S3 prefix");
	if (r == 0)
		r = opening_make(&c.opening, cli, err);
	if (r == 0)
		r = check_operands(&c, err);
	if (r == 0)
		r = finish(&c, err);
	opening_clear(&c.opening);
	owner_keys_free(c.owners);
	json_decref(c.objects);
	json_decref(c.unused);
	return r;
}

const struct verb verb_check = {
	.name = "check",
	.summary = "fsck for sealed objects",
	.usage = "[OPTIONS] TARGET…",
	.help = "TARGET is NAME.seal, or a directory or s3://bucket/prefix/ for all objects in it.\n"
		"Without a key: structure, path, payload size and, with --owner-key, the signature.\n"
		"With a key (--key-file, --kms or --attest): also every chunk and the digests of the\n"
		"whole plaintext. No plaintext is written anywhere. Payloads that no seal refers to\n"
		"are listed; they are harmless. A set is checked with its members.\n"
		"\n"
		"The exit code is that of the worst failure: 3, then 4, 5, 1.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
