/*
 * sealctl check: fsck for sealed objects. Without a key: structure, names, sizes, signature. With
 * one: everything. Job here: options, the list of objects, the report.
 */
#include "crypto/base/log.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "tools/check_object.h"
#include "tools/output.h"
#include "tools/target.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>

enum { OPTION_OWNER_KEY = CLI_LONG, OPTION_KEY_FILE, OPTION_KMS, OPTION_ATTEST, OPTION_TCTI };

static const struct cli_option options[] = {
	{OPTION_OWNER_KEY, "owner-key", "PUB",
	 "the owner must be one of this file's public keys;\nrepeatable"},
	{OPTION_KEY_FILE, "key-file", "FILE", "open with this key file; repeatable"},
	{OPTION_KMS, "kms", NULL, "open with KMS, as far as these credentials may"},
	{OPTION_ATTEST, "attest", NULL, "open with KMS and this machine's NitroTPM"},
	{OPTION_TCTI, "tcti", "TCTI", "which TPM; default: /dev/tpmrm0, /dev/tpm0"},
	{0},
};

#define KEYFILES_MAX 16

struct checker {
	struct cli *cli;
	struct owner_keys *owners;
	const char *keyfiles[KEYFILES_MAX];
	size_t keyfile_count;
	bool kms, attest;
	const char *tcti;
	struct attest_provider *provider;
	struct unlock *unlock;
	json_t *objects, *unused;
	size_t count, failed;
	int code; /* of the worst failure so far */
	struct error error;
};

static int take_option(struct checker *c, int id, struct error *err)
{
	switch (id) {
	case OPTION_OWNER_KEY:
		return owner_keys_add_file(c->owners, c->cli->value, err);
	case OPTION_KEY_FILE:
		if (c->keyfile_count == KEYFILES_MAX)
			return cli_usage_error(c->cli, err, "more than %d key files", KEYFILES_MAX);
		c->keyfiles[c->keyfile_count++] = c->cli->value;
		return 0;
	case OPTION_KMS:
		c->kms = true;
		return 0;
	case OPTION_ATTEST:
		c->attest = true;
		return 0;
	default:
		c->tcti = c->cli->value;
		return 0;
	}
}

static int prepare_unlock(struct checker *c, struct error *err)
{
	struct unlock_options o = {.keyfiles = c->keyfiles, .keyfile_count = c->keyfile_count};
	int r = 0;

	if (!c->kms && !c->attest && c->keyfile_count == 0)
		return 0;
	if (c->kms || c->attest)
		r = cli_aws(c->cli, &o.aws, err);
	if (r == 0 && c->attest)
		r = attest_provider_new("nitrotpm", c->tcti, &c->provider, err);
	o.provider = c->provider;
	return r < 0 ? r : unlock_new(&o, &c->unlock, err);
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
	printf("%s: %s\n", name, rep->code ? "FAILED" : "ok");
	for (unsigned i = 0; i < rep->count; i++)
		printf("  %-9s  %-11s  %s\n", rep->steps[i].name, result_word(rep->steps[i].result),
		       rep->steps[i].detail);
}

static int check_one(struct checker *c, struct source *source, const char *name, char **ret_payload,
		     struct error *err)
{
	const struct check_options o = {
		.owners = c->owners, .unlock = c->unlock, .quiet = c->cli->quiet};
	_cleanup_free_ char *label = source_describe(source, name);
	struct check_report rep;
	int r = check_object(source, name, &o, &rep, err);

	if (r == 0) {
		c->count++;
		c->failed += rep.code != 0;
		if (rep.code && rank(rep.code) > rank(c->code)) {
			c->code = rep.code;
			c->error = rep.error;
		}
		if (c->cli->json)
			output_append(&c->objects, report_json(label ? label : "?", &rep));
		else if (!c->cli->quiet || rep.code)
			print_report(label ? label : "?", &rep);
		fflush(stdout);
		if (ret_payload)
			*ret_payload = steal_ptr(rep.payload_name);
	}
	check_report_clear(&rep);
	return r;
}

static bool is_payload_name(const char *name)
{
	size_t n = strlen(name), tail = 1 + SEAL_PAYLOAD_ID_DIGITS + strlen(SEAL_PAYLOAD_SUFFIX);
	const char *at = name + n - tail;

	return n > tail && at[0] == '.' &&
	       strspn(at + 1, "0123456789abcdef") == SEAL_PAYLOAD_ID_DIGITS &&
	       strcmp(at + 1 + SEAL_PAYLOAD_ID_DIGITS, SEAL_PAYLOAD_SUFFIX) == 0;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Payloads that no seal names: left from replacing, or from an interrupted run. */
static void report_unused(struct checker *c, struct source *source, const struct source_listing *l,
			  char **used, size_t used_count)
{
	if (used_count > 1)
		qsort(used, used_count, sizeof(*used), compare_strings);
	for (size_t i = 0; i < l->count; i++) {
		const char *name = l->objects[i].name;
		_cleanup_free_ char *label = NULL;
		char safe[NAME_PRINTABLE_SIZE], amount[OUTPUT_AMOUNT_SIZE];

		if (!is_payload_name(name) ||
		    (used_count > 0 &&
		     bsearch(&name, used, used_count, sizeof(*used), compare_strings)))
			continue;
		label = source_describe(source, name);
		if (c->cli->json) {
			output_append(&c->unused, output_text(label ? label : name));
			continue;
		}
		name_printable(label ? label : name, safe);
		if (!c->cli->quiet)
			printf("%s: no seal refers to this payload (%s)\n", safe,
			       output_amount((double)l->objects[i].size, amount));
	}
}

static int check_all(struct checker *c, struct source *source, struct error *err)
{
	struct source_listing l = {0};
	char **used = NULL;
	size_t used_count = 0, before = c->count;
	int r = source_list(source, &l, err);

	if (r < 0)
		return r;
	used = calloc(l.count + 1, sizeof(*used));
	r = used ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < l.count; i++) {
		const char *name = l.objects[i].name;
		size_t n = strlen(name), suffix = strlen(SEAL_SUFFIX);

		if (n <= suffix || strcmp(name + n - suffix, SEAL_SUFFIX) != 0)
			continue;
		r = check_one(c, source, name, &used[used_count], err);
		used_count += used[used_count] != NULL;
	}
	if (r == 0)
		report_unused(c, source, &l, used, used_count);
	if (r == 0 && c->count == before) {
		_cleanup_free_ char *label = source_describe(source, "");

		r = error_set(err, -ENOENT, "there is no sealed object in %s", label ? label : "?");
	}
	for (size_t i = 0; used && i < used_count; i++)
		free(used[i]);
	free(used);
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
			r = t.name ? check_one(c, t.source, t.name, NULL, err)
				   : check_all(c, t.source, err);
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
		printf("%zu objects, %zu failed\n", c->count, c->failed);
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
		r = prepare_unlock(&c, err);
	if (r == 0)
		r = check_operands(&c, err);
	if (r == 0)
		r = finish(&c, err);
	unlock_free(c.unlock);
	attest_provider_free(c.provider);
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
		"Without a key: structure, name, payload size and, with --owner-key, the signature.\n"
		"With one (--key-file, --kms, --attest): everything, every chunk included, and the\n"
		"digests of the whole plaintext, none of which is written anywhere. Payloads that no\n"
		"seal refers to are listed; they do no harm.\n"
		"\n"
		"The exit code is that of the worst failure: 3, then 4, 5, 1.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
