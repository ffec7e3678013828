/*
 * sealctl hash: what a plaintext is called by everyone who names files by digest, and the PCR value
 * that each measuring mode leads to. Which bytes are measured: attest/PCRS.md.
 */
#include "tools/hash_input.h"
#include "tools/output.h"
#include "tools/predict.h"
#include "tools/verbs.h"

#include "crypto/name.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { OPTION_PCR = CLI_LONG, OPTION_AS_GIVEN, OPTION_OWNER_KEY };

static const struct cli_option options[] = {
	{OPTION_PCR, "pcr", NULL,
	 "the PCR after all of them were measured, in the\norder of their names (measure-when=mount)"},
	{OPTION_AS_GIVEN, "as-given", NULL, "with --pcr: in the order in which they are given"},
	{OPTION_OWNER_KEY, "owner-key", "PUB",
	 "with --pcr: seals must be signed by one of this\nfile's public keys; repeatable"},
	{0},
};

struct hasher {
	struct cli *cli;
	bool pcr, as_given;
	struct owner_keys *owners;
	struct prediction all;
	json_t *files;
};

static void print_text(const char *label, uint64_t length, const struct prediction *one)
{
	const struct model_digests *d = &one->models[0].digests;
	char name[NAME_PRINTABLE_SIZE];

	name_printable(label, name);
	printf("%s  %llu bytes\n", name, (unsigned long long)length);
	printf("  sha256     %s\n", OUTPUT_HEX(d->sha256, sizeof(d->sha256)));
	printf("  sha384     %s\n", OUTPUT_HEX(d->sha384, sizeof(d->sha384)));
	printf("  fs-verity  sha256:%s\n", OUTPUT_HEX(d->verity, sizeof(d->verity)));
	printf("  PCR from zero after the first open, by measure= and bank (declared: as sha384):\n");
	predict_print_values(one);
}

static int show(struct hasher *h, const char *path, uint64_t length, const struct model_digests *d)
{
	_cleanup_prediction_ struct prediction one = {0};
	int r = predict_add(&one, path, d);

	if (r < 0)
		return r;
	if (!h->cli->json) {
		print_text(path, length, &one);
		return 0;
	}
	output_append(&h->files, json_pack("{s:o, s:I, s:o, s:o, s:o, s:o}", "file",
					   output_text(path), "length", (json_int_t)length,
					   "sha256", output_hex_json(d->sha256, sizeof(d->sha256)),
					   "sha384", output_hex_json(d->sha384, sizeof(d->sha384)),
					   "verity", output_hex_json(d->verity, sizeof(d->verity)),
					   "pcr", predict_values_json(&one)));
	return 0;
}

static int hash_plaintext(struct hasher *h, const char *path, struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(progress_freep) struct progress *progress = NULL;
	struct model_digests d;
	uint64_t length = 0;
	int r = input_open(path, &in, err);

	if (r < 0)
		return r;
	progress = progress_new(path, input_length(in), h->cli->quiet);
	r = hash_input(in, progress, &d, &length, err);
	if (r < 0)
		return r;
	progress_free(progress);
	progress = NULL;
	return h->pcr ? predict_add(&h->all, path, &d) : show(h, path, length, &d);
}

/* With --pcr: NAME.seal, a directory or an S3 prefix; all else is a plaintext. */
static bool is_sealed(const char *operand)
{
	size_t n = strlen(operand), suffix = strlen(SEAL_SUFFIX);
	struct stat st;

	if (source_spec_is_s3(operand))
		return true;
	if (stat(operand, &st) < 0)
		return false;
	return S_ISDIR(st.st_mode) ||
	       (n > suffix && strcmp(operand + n - suffix, SEAL_SUFFIX) == 0);
}

static int take_operand(struct hasher *h, const char *operand, struct error *err)
{
	_cleanup_target_ struct target t = {0};
	int r;

	if (!h->pcr || !is_sealed(operand))
		return hash_plaintext(h, operand, err);
	r = target_open(h->cli, operand, &t, err);
	return r < 0 ? r : predict_add_target(&h->all, operand, &t, err);
}

static int finish(struct hasher *h)
{
	if (h->pcr && !h->as_given)
		predict_sort(&h->all);
	if (h->pcr && h->cli->json)
		return output_json(predict_json(&h->all));
	if (h->pcr)
		predict_print(&h->all);
	else if (h->cli->json)
		return output_json(json_pack("{s:O}", "files", h->files));
	return 0;
}

static int take_option(struct hasher *h, int id, struct error *err)
{
	switch (id) {
	case OPTION_PCR:
		h->pcr = true;
		return 0;
	case OPTION_AS_GIVEN:
		h->as_given = true;
		return 0;
	default:
		return owner_keys_add_file(h->owners, h->cli->value, err);
	}
}

static int run(struct cli *cli, struct error *err)
{
	struct hasher h = {.cli = cli, .files = json_array()};
	int r = owner_keys_new(&h.owners), id;

	h.all.owners = h.owners;
	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&h, id, err);
	if (r == 0 && cli_operands(cli) == 0)
		r = cli_usage_error(cli, err, "no FILE was given");
	if (r == 0 && !h.pcr && (h.as_given || owner_keys_count(h.owners) > 0))
		r = cli_usage_error(cli, err, "--as-given and --owner-key go with --pcr");
	for (int i = 0; r == 0 && i < cli_operands(cli); i++)
		r = take_operand(&h, cli_operand(cli, i), err);
	if (r == 0)
		r = finish(&h);
	json_decref(h.files);
	predict_clear(&h.all);
	owner_keys_free(h.owners);
	return r;
}

const struct verb verb_hash = {
	.name = "hash",
	.summary = "digests of a plaintext, and the PCR values it leads to",
	.usage = "[OPTIONS] FILE…\n"
		 "--pcr [OPTIONS] FILE|NAME.seal|DIRECTORY|s3://bucket/prefix/…",
	.help = "Reads each FILE (- for standard input) once and prints its SHA-256, SHA-384 and\n"
		"fs-verity digest (as fsverity digest does), and for each measuring mode the value\n"
		"that a PCR of zeros has after the model was opened.\n"
		"\n"
		"With --pcr, prints the value that the PCR has after all models were measured one\n"
		"after the other. Seals are taken at their word, which needs no key; a directory or\n"
		"prefix stands for every seal in it. The order is that of paths, bytewise: what\n"
		"sealedfs -o measure-when=mount does.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
