/*
 * sealctl tpm-key: the storage key of this machine's TPM, for those who seal for it elsewhere.
 * Public; but who takes another's key for it seals for another machine, so the name is shown.
 */
#include "attest/pcr.h"
#include "attest/tpm_storage.h"
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/base/printable.h"
#include "crypto/key_io.h"
#include "tools/common/output.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>

enum { OPTION_TCTI = CLI_LONG, OPTION_PCRS, OPTION_BANK };

static const struct cli_option options[] = {
	{'o', "out", "FILE", "write the key as TPM2B_PUBLIC, for --tpm key=FILE"},
	{OPTION_PCRS, "pcrs", "LIST", "also the values of these PCRs, as in 4,7,12"},
	{OPTION_BANK, "bank", "BANK", "of this bank: sha256 (default) or sha384"},
	{OPTION_TCTI, "tcti", "TCTI", "which TPM; default: /dev/tpmrm0, /dev/tpm0"},
	{0},
};

struct settings {
	const char *out, *tcti;
	uint32_t selection;
	enum digest_alg bank;
};

struct found {
	struct storage_key key;
	bool persistent;
	uint8_t values[TPM_PCR_COUNT][SHA384_SIZE];
};

static int take_pcrs(struct settings *s, const struct cli *cli, struct error *err)
{
	_cleanup_free_ char *copy = strdup(cli->value);
	char *rest = NULL;
	uint64_t pcr;

	if (!copy)
		return -ENOMEM;
	for (char *item = strtok_r(copy, ",", &rest); item; item = strtok_r(NULL, ",", &rest)) {
		if (number_parse(item, 10, TPM_PCR_COUNT - 1, &pcr) < 0)
			return cli_usage_error(cli, err, "--pcrs %s: not a list of PCRs",
					       cli->value);
		s->selection |= UINT32_C(1) << pcr;
	}
	return 0;
}

static int take_option(struct settings *s, const struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case 'o':
		s->out = cli->value;
		return 0;
	case OPTION_PCRS:
		return take_pcrs(s, cli, err);
	case OPTION_BANK:
		s->bank = strcmp(cli->value, "sha384") == 0 ? DIGEST_SHA384 : DIGEST_SHA256;
		return s->bank == DIGEST_SHA384 || strcmp(cli->value, "sha256") == 0
			       ? 0
			       : cli_usage_error(cli, err, "--bank must be sha256 or sha384");
	default:
		s->tcti = cli->value;
		return 0;
	}
}

static int ask_tpm(const struct settings *s, struct found *f, struct error *err)
{
	_cleanup_tpm_ struct tpm *t = NULL;
	int r = tpm_open(s->tcti, &t, err);

	if (r == 0)
		r = storage_key_of_tpm(t, &f->key, &f->persistent, err);
	for (unsigned pcr = 0; r == 0 && pcr < TPM_PCR_COUNT; pcr++)
		if (s->selection & UINT32_C(1) << pcr)
			r = pcr_read_selected(t, s->bank, UINT32_C(1) << pcr, f->values[pcr], err);
	return r;
}

static void area_of(const struct storage_key *k, uint8_t out[STORAGE_PUBLIC_MAX + 2])
{
	put_be16(out, (uint16_t)k->public_size);
	memcpy(out + 2, k->public, k->public_size);
}

static int write_key(const struct settings *s, const struct found *f, struct error *err)
{
	uint8_t area[STORAGE_PUBLIC_MAX + 2];

	if (!s->out)
		return 0;
	area_of(&f->key, area);
	return key_io_create(s->out, area, f->key.public_size + 2, 0644, err);
}

static int show_json(const struct settings *s, const struct found *f)
{
	uint8_t area[STORAGE_PUBLIC_MAX + 2];
	json_t *pcrs = json_object();
	char number[8];

	area_of(&f->key, area);
	for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++) {
		(void)snprintf(number, sizeof(number), "%u", pcr);
		if (s->selection & UINT32_C(1) << pcr)
			json_object_set_new(
				pcrs, number,
				output_hex_json(f->values[pcr], (unsigned)digest_size(s->bank)));
	}
	return output_json(json_pack(
		"{s:o, s:s, s:b, s:o, s:s, s:o}", "name", output_hex_json(f->key.name, SHA256_SIZE),
		"kind", storage_key_kind(&f->key), "persistent", f->persistent, "public",
		output_hex_json(area, (unsigned)f->key.public_size + 2), "bank",
		digest_name(s->bank), "pcrs", pcrs));
}

static void show(const struct settings *s, const struct found *f)
{
	print_safely(stdout, "name        %s\n", OUTPUT_HEX(f->key.name, SHA256_SIZE));
	print_safely(stdout, "kind        %s, AES-%u, %s\n", storage_key_kind(&f->key),
		     f->key.aes_bits,
		     f->persistent ? "at 0x81000001" : "primary key of the owner hierarchy");
	if (s->out)
		print_safely(stdout, "file        %s\n", s->out);
	if (!s->selection)
		return;
	print_safely(stdout, "recipient   key=%s,bank=%s", s->out ? s->out : "FILE",
		     digest_name(s->bank));
	for (unsigned pcr = 0; pcr < TPM_PCR_COUNT; pcr++)
		if (s->selection & UINT32_C(1) << pcr)
			print_safely(stdout, ",pcr=%u:%s", pcr,
				     OUTPUT_HEX(f->values[pcr], digest_size(s->bank)));
	print_safely(stdout, "\n");
}

static int run(struct cli *cli, struct error *err)
{
	struct settings s = {.bank = DIGEST_SHA256};
	struct found f = {0};
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, cli, id, err);
	if (r == 0 && cli_operands(cli) > 0)
		r = cli_usage_error(cli, err, "tpm-key takes no operand");
	if (r == 0)
		r = ask_tpm(&s, &f, err);
	if (r == 0)
		r = write_key(&s, &f, err);
	if (r < 0)
		return r;
	if (cli->json)
		return show_json(&s, &f);
	if (!cli->quiet)
		show(&s, &f);
	return 0;
}

const struct verb verb_tpm_key = {
	.name = "tpm-key",
	.summary = "show this machine's TPM as a recipient",
	.usage = "[OPTIONS]",
	.help = "Prints the name of the storage key of this machine's TPM. With -o the public key is\n"
		"written to FILE (TPM2B_PUBLIC, as systemd's tpm2-srk-public-key.tpm2b_public). Whoever\n"
		"has FILE can seal for this machine with seal --tpm key=FILE, without a TPM and without\n"
		"logging in here. FILE is not secret, but compare the name: a file of somebody else\n"
		"would make that machine the recipient.\n"
		"\n"
		"The key is the one at 0x81000001 if it is there and fits, else the ECC P-256 primary key\n"
		"of the owner hierarchy. Clearing the TPM replaces both.",
	.options = options,
	.run = run,
};
