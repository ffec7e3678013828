/*
 * sealctl hash: what a plaintext is called by everyone who names files by digest, and the PCR value
 * that each measuring mode leads to. Which bytes are measured: attest/PCRS.md.
 */
#include "attest/pcr.h"
#include "tools/hash_input.h"
#include "tools/output.h"
#include "tools/verbs.h"

#include "crypto/name.h"

#include <errno.h>
#include <string.h>

static const enum measure_mode modes[] = {MEASURE_VERITY, MEASURE_SHA384, MEASURE_SHA256,
					  MEASURE_DECLARED};
static const enum digest_alg banks[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512};

/* A PCR of zeros after one event of this mode. False where the mode does not measure the bank. */
static bool pcr_after(enum measure_mode mode, enum digest_alg bank, const struct model_digests *d,
		      uint8_t value[DIGEST_SIZE_MAX])
{
	uint8_t digest[DIGEST_SIZE_MAX];

	memset(value, 0, DIGEST_SIZE_MAX);
	return measure_bank_digest(mode, d, bank, digest) == 0 &&
	       pcr_extend_value(bank, value, digest) == 0;
}

static json_t *pcr_json(const struct model_digests *d)
{
	uint8_t value[DIGEST_SIZE_MAX];
	json_t *all = json_object();

	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		json_t *mode = json_object();

		for (size_t b = 0; b < ARRAY_LEN(banks); b++)
			if (pcr_after(modes[m], banks[b], d, value))
				json_object_set_new(mode, digest_name(banks[b]),
						    output_hex_json(value, digest_size(banks[b])));
		json_object_set_new(all, measure_mode_name(modes[m]), mode);
	}
	return all;
}

static void print_text(const char *label, uint64_t length, const struct model_digests *d)
{
	uint8_t value[DIGEST_SIZE_MAX];
	char name[NAME_PRINTABLE_SIZE];

	name_printable(label, name);
	printf("%s  %llu bytes\n", name, (unsigned long long)length);
	printf("  sha256     %s\n", OUTPUT_HEX(d->sha256, sizeof(d->sha256)));
	printf("  sha384     %s\n", OUTPUT_HEX(d->sha384, sizeof(d->sha384)));
	printf("  fs-verity  sha256:%s\n", OUTPUT_HEX(d->verity, sizeof(d->verity)));
	printf("  PCR from zero after the first open, by measure= and bank (declared: as sha384):\n");
	for (size_t m = 0; modes[m] != MEASURE_DECLARED; m++)
		for (size_t b = 0; b < ARRAY_LEN(banks); b++)
			if (pcr_after(modes[m], banks[b], d, value))
				printf("    %-8s  %-6s  %s\n", measure_mode_name(modes[m]),
				       digest_name(banks[b]),
				       OUTPUT_HEX(value, digest_size(banks[b])));
}

static int hash_one(const struct cli *cli, const char *path, json_t **files, struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(progress_freep) struct progress *progress = NULL;
	struct model_digests d;
	uint64_t length = 0;
	int r = input_open(path, &in, err);

	if (r < 0)
		return r;
	progress = progress_new(path, input_length(in), cli->quiet);
	r = hash_input(in, progress, &d, &length, err);
	if (r < 0)
		return r;
	progress_free(progress);
	progress = NULL;
	if (!cli->json) {
		print_text(path, length, &d);
		return 0;
	}
	output_append(files,
		      json_pack("{s:o, s:I, s:o, s:o, s:o, s:o}", "file", output_text(path),
				"length", (json_int_t)length, "sha256",
				output_hex_json(d.sha256, sizeof(d.sha256)), "sha384",
				output_hex_json(d.sha384, sizeof(d.sha384)), "verity",
				output_hex_json(d.verity, sizeof(d.verity)), "pcr", pcr_json(&d)));
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	json_t *files = NULL;
	int r = cli_next(cli, err);

	if (r < 0)
		return r;
	if (cli_operands(cli) == 0)
		return cli_usage_error(cli, err, "no FILE was given");
	files = json_array();
	for (int i = 0; r == 0 && i < cli_operands(cli); i++)
		r = hash_one(cli, cli_operand(cli, i), &files, err);
	if (r == 0 && cli->json)
		return output_json(json_pack("{s:o}", "files", files));
	json_decref(files);
	return r;
}

const struct verb verb_hash = {
	.name = "hash",
	.summary = "digests of a plaintext, and the PCR values it leads to",
	.usage = "[OPTIONS] FILE…",
	.help = "Reads each FILE (- for standard input) once and prints its SHA-256, SHA-384 and\n"
		"fs-verity digest (as fsverity digest does), and for each measuring mode the value\n"
		"that a PCR of zeros has after the model was opened.",
	.run = run,
};
