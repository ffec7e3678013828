/*
 * sealctl hash: the usual digests of a plaintext, and the PCR value that each measuring mode leads
 * to. Which bytes are measured: attest/PCRS.md.
 */
#include "fs/aws/kms_arn.h"
#include "fs/config/config.h"
#include "tools/common/output.h"
#include "tools/inspect/hash_input.h"
#include "tools/inspect/hash_set.h"
#include "tools/inspect/predict.h"
#include "tools/verbs.h"

#include "crypto/name.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
	OPTION_PCR = CLI_LONG,
	OPTION_AS_GIVEN,
	OPTION_SET,
	OPTION_CONFIG,
	OPTION_MEASURE,
	OPTION_ATTEST,
	OPTION_OWNER_KEY,
	OPTION_KMS_KEY,
};

static const struct cli_option options[] = {
	{OPTION_PCR, "pcr", NULL,
	 "the PCR value after all of them were measured,\nin the order of their names (ready=measured)"},
	{OPTION_SET, "set", NULL,
	 "the FILE is a directory of plaintexts: its content\ndigest as a set; with --pcr: what a mount of "
	 "that\nset measures"},
	{OPTION_AS_GIVEN, "as-given", NULL, "with --pcr: measured in the order given"},
	{OPTION_CONFIG, "config", "FILE",
	 "with --pcr: a mount's configuration; without FILE\noperands, its models"},
	{OPTION_MEASURE, "measure", "MODE", "with --pcr: only this mode"},
	{OPTION_ATTEST, "attest", "HOW", "with --pcr: the mount's attest= (nitrotpm)"},
	{OPTION_OWNER_KEY, "owner-key", "PUB",
	 "with --pcr: the mount's owner-key=; seals must be\nsigned by one of them; repeatable"},
	{OPTION_KMS_KEY, "kms-key", "KEY", "with --pcr: the mount's kms-key=; repeatable"},
	{0},
};

struct hasher {
	struct cli *cli;
	bool pcr, as_given, set;
	bool options_given;   /* that describe a mount */
	struct config config; /* --config; source: NULL without */
	struct owner_keys *owners;
	char **kms_keys; /* borrowed texts */
	struct prediction all;
	json_t *files;
};

static int print_text(const char *label, const struct input_digests *found,
		      const struct prediction *one, struct error *err)
{
	const struct model_digests *d = &found->digests;
	char name[NAME_PRINTABLE_SIZE];

	name_printable(label, name);
	print_safely(stdout, "%s  %llu bytes\n", name, (unsigned long long)found->length);
	print_safely(stdout, "  sha256     %s\n", OUTPUT_HEX(d->sha256, sizeof(d->sha256)));
	print_safely(stdout, "  sha384     %s\n", OUTPUT_HEX(d->sha384, sizeof(d->sha384)));
	print_safely(stdout, "  fs-verity  sha256:%s\n", OUTPUT_HEX(d->verity, sizeof(d->verity)));
	print_safely(
		stdout,
		"  PCR from zero after the first open, by measure= and bank, for a mount without\n");
	print_safely(stdout, "  owner-key and kms-key (with: sealctl hash --pcr):\n");
	return predict_print_values(one, err);
}

static int show(struct hasher *h, const char *path, const struct input_digests *found,
		struct error *err)
{
	_cleanup_prediction_ struct prediction one = {.facts = h->all.facts};
	const struct model_digests *d = &found->digests;
	json_t *values = NULL;
	int r = predict_add(&one, path, d, found->is_event_text);

	if (r < 0)
		return r;
	if (!h->cli->json)
		return print_text(path, found, &one, err);
	r = predict_values_json(&one, &values, err);
	output_append(&h->files,
		      json_pack("{s:o, s:I, s:o, s:o, s:o, s:o}", "file", output_text(path),
				"length", (json_int_t)found->length, "sha256",
				output_hex_json(d->sha256, sizeof(d->sha256)), "sha384",
				output_hex_json(d->sha384, sizeof(d->sha384)), "verity",
				output_hex_json(d->verity, sizeof(d->verity)), "pcr", values));
	return r;
}

static int hash_plaintext(struct hasher *h, const char *path, struct error *err)
{
	struct input_digests found = {0};
	int r = hash_path(path, path, h->cli->quiet, &found, err);

	if (r < 0)
		return r;
	return h->pcr ? predict_add(&h->all, path, &found.digests, found.is_event_text)
		      : show(h, path, &found, err);
}

/* With --pcr: NAME.seal, a directory or an S3 prefix; all else is a plaintext. */
static bool is_sealed(const char *operand)
{
	struct stat st;

	if (source_spec_is_s3(operand))
		return true;
	if (stat(operand, &st) < 0)
		return false;
	return S_ISDIR(st.st_mode) || name_is_seal(operand);
}

static int take_operand(struct hasher *h, const char *operand, struct error *err)
{
	_cleanup_target_ struct target t = {0};
	int r;

	if (h->all.set)
		return error_set(err, -EINVAL, "%s: a mount shows one set and nothing else",
				 operand);
	if (h->set)
		return hash_set_directory(operand, h->cli->quiet, &h->all, err);
	if (!h->pcr || !is_sealed(operand))
		return hash_plaintext(h, operand, err);
	r = target_open(h->cli, operand, &t, err);
	return r < 0 ? r : predict_add_target(&h->all, operand, &t, err);
}

static int show_set(const struct hasher *h)
{
	const struct prediction *p = &h->all;

	if (h->cli->json)
		return output_json(json_pack("{s:o, s:I}", "set",
					     output_hex_json(p->content, sizeof(p->content)),
					     "members", (json_int_t)p->count));
	print_safely(stdout, "set  sha256:%s  %zu files\n",
		     OUTPUT_HEX(p->content, sizeof(p->content)), p->count);
	return 0;
}

static int finish(struct hasher *h, struct error *err)
{
	json_t *found = NULL;
	int r;

	/* As a mount would, unless a mode was given. */
	if (h->all.set && h->config.source && !h->config.measure_given)
		h->all.mode = MEASURE_SET;
	if (h->pcr && !h->as_given)
		predict_sort(&h->all);
	if (!h->pcr && h->set)
		return show_set(h);
	if (!h->pcr)
		return h->cli->json ? output_json(json_pack("{s:O}", "files", h->files)) : 0;
	if (!h->cli->json)
		return predict_print(&h->all, err);
	r = predict_json(&h->all, &found, err);
	if (r == 0)
		return output_json(found);
	json_decref(found);
	return r;
}

static int take_measure(struct hasher *h, const char *value, struct error *err)
{
	if (measure_mode_parse(value, &h->all.mode) < 0 || h->all.mode == MEASURE_NONE)
		return cli_usage_error(h->cli, err,
				       "--measure must be verity, set, declared, sha384 or sha256");
	h->all.only_mode = true;
	return 0;
}

static int take_attest(struct hasher *h, const char *value, struct error *err)
{
	if (strcmp(value, "nitrotpm") != 0 && strcmp(value, "nsm") != 0 &&
	    strcmp(value, "none") != 0)
		return cli_usage_error(h->cli, err, "--attest must be nitrotpm, nsm or none");
	h->all.facts.attest = value;
	return 0;
}

static int add_kms_key(struct hasher *h, char *value, struct error *err)
{
	struct start_facts *facts = &h->all.facts;
	char **more;
	int r = kms_pin_check(value, err);

	if (r < 0)
		return r;
	more = reallocarray(h->kms_keys, facts->kms_key_count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[facts->kms_key_count++] = value;
	facts->kms_keys = h->kms_keys = more;
	return 0;
}

/* Reads the file as the daemon does. */
static int take_config(struct hasher *h, const char *path, struct error *err)
{
	struct config *c = &h->config;
	int r;

	if (c->source)
		return cli_usage_error(h->cli, err, "--config was given twice");
	r = config_read(c, path, err);
	if (r == 0 && c->measure == MEASURE_NONE)
		r = error_set(err, -EINVAL, "%s: measure = none: nothing is measured", path);
	for (size_t i = 0; r == 0 && i < c->owner_keys.count; i++)
		r = owner_keys_add_file(h->owners, c->owner_keys.items[i], err);
	for (size_t i = 0; r == 0 && i < c->kms_keys.count; i++)
		r = add_kms_key(h, c->kms_keys.items[i], err);
	if (r < 0)
		return r;
	h->all.facts.attest = config_word(c, "attest");
	h->all.mode = c->measure;
	h->all.without_set = c->set == CONFIG_SET_OFF;
	h->all.only_mode = true;
	h->all.names = (const char *const *)c->models.items;
	h->all.name_count = c->models.count;
	return 0;
}

static int take_option(struct hasher *h, int id, struct error *err)
{
	const char *value = h->cli->value;

	h->options_given |= id != OPTION_PCR && id != OPTION_SET;
	switch (id) {
	case OPTION_PCR:
		h->pcr = true;
		return 0;
	case OPTION_SET:
		h->set = true;
		return 0;
	case OPTION_AS_GIVEN:
		h->as_given = true;
		return 0;
	case OPTION_CONFIG:
		return take_config(h, value, err);
	case OPTION_MEASURE:
		return take_measure(h, value, err);
	case OPTION_ATTEST:
		return take_attest(h, value, err);
	case OPTION_KMS_KEY:
		return add_kms_key(h, (char *)(uintptr_t)value, err);
	default:
		return owner_keys_add_file(h->owners, value, err);
	}
}

static int take_operands(struct hasher *h, struct error *err)
{
	int r = 0;

	if (h->config.source && cli_operands(h->cli) == 0)
		return take_operand(h, h->config.source, err);
	for (int i = 0; r == 0 && i < cli_operands(h->cli); i++)
		r = take_operand(h, cli_operand(h->cli, i), err);
	return r;
}

static int run(struct cli *cli, struct error *err)
{
	struct hasher h = {.cli = cli, .files = json_array(), .all.facts.attest = "nitrotpm"};
	int r = owner_keys_new(&h.owners), id;

	h.all.facts.owners = h.owners;
	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&h, id, err);
	if (r == 0 && cli_operands(cli) == 0 && !h.config.source)
		r = cli_usage_error(cli, err, "no FILE was given");
	if (r == 0 && h.set && (cli_operands(cli) != 1 || h.config.source))
		r = cli_usage_error(cli, err, "--set takes one directory, and no --config");
	if (r == 0 && !h.pcr && h.options_given)
		r = cli_usage_error(cli, err, "options that describe a mount go with --pcr");
	if (r == 0)
		r = take_operands(&h, err);
	if (r == 0)
		r = finish(&h, err);
	json_decref(h.files);
	predict_clear(&h.all);
	owner_keys_free(h.owners);
	free(h.kms_keys);
	config_clear(&h.config);
	return r;
}

const struct verb verb_hash = {
	.name = "hash",
	.summary = "digests of a plaintext, and the PCR values it leads to",
	.usage = "[OPTIONS] FILE…\n"
		 "--pcr [OPTIONS] FILE|DIRECTORY|s3://bucket/prefix/…\n"
		 "--pcr --config FILE\n"
		 "--set [--pcr] DIRECTORY",
	.help = "Reads each FILE (- for standard input) once and prints its SHA-256, SHA-384 and\n"
		"fs-verity digest (as fsverity digest does), and for each measuring mode the value\n"
		"that a PCR of zeros has after the model was opened.\n"
		"\n"
		"With --pcr, prints the value that the PCR has after a mount has measured all of the\n"
		"models one after the other. In the modes verity and declared that begins with a\n"
		"start event, which names the mount's mode, attest=, owner-key= and kms-key=: give\n"
		"them here, too, or the mount's configuration file. Seals are taken at their word,\n"
		"which needs no key; a directory or prefix stands for every seal in it, or for the\n"
		"members of its set, which the mode set measures as one. The order is\n"
		"that of paths, bytewise: what sealedfs -o ready=measured does.\n"
		"\n"
		"With --set, prints the content digest that the files of a DIRECTORY have as a set,\n"
		"whoever seals them: sealctl seal DIRECTORY DEST --set NAME takes the same files.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
