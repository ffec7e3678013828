/*
 * sealctl keygen: an owner's Ed25519 key pair, or a key file. Must never overwrite a key: a model
 * sealed for it would be lost.
 */
#include "crypto/base/printable.h"
#include "crypto/sign.h"
#include "crypto/slots.h"
#include "tools/common/output.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>

static const struct cli_option options[] = {
	{'o', "out", "PREFIX|FILE", "instead of the second operand"},
	{0},
};

static void print_pair(const char *private_path, const char *public_path,
		       const uint8_t id[SIGNER_ID_SIZE])
{
	print_safely(stdout, "%s  private: signs what you seal; keep it\n", private_path);
	print_safely(stdout, "%s  public: give it to those who mount\n", public_path);
	print_safely(stdout, "signer id %s\n", OUTPUT_HEX(id, SIGNER_ID_SIZE));
}

static int make_owner(const struct cli *cli, const char *prefix, struct error *err)
{
	_cleanup_free_ char *private_path = NULL, *public_path = NULL;
	_cleanup_(signing_key_freep) struct signing_key *key = NULL;
	int r;

	if (asprintf(&private_path, "%s.pem", prefix) < 0) {
		private_path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&public_path, "%s.pub", prefix) < 0) {
		public_path = NULL;
		return -ENOMEM;
	}
	r = signing_key_generate(private_path, public_path, err);
	if (r == 0)
		r = signing_key_load(private_path, &key, err);
	if (r < 0)
		return r;
	if (cli->json)
		return output_json(json_pack("{s:o, s:o, s:o}", "private",
					     output_text(private_path), "public",
					     output_text(public_path), "signer_id",
					     output_hex_json(signing_key_id(key), SIGNER_ID_SIZE)));
	if (!cli->quiet)
		print_pair(private_path, public_path, signing_key_id(key));
	return 0;
}

static int make_keyfile(const struct cli *cli, const char *path, struct error *err)
{
	_cleanup_(keyfile_freep) struct keyfile *key = NULL;
	int r = keyfile_generate(path, err);

	if (r == 0)
		r = keyfile_load(path, &key, err);
	if (r < 0)
		return r;
	if (cli->json)
		return output_json(
			json_pack("{s:o, s:o}", "file", output_text(path), "key_id",
				  output_hex_json(keyfile_id(key), SLOT_KEYFILE_ID_SIZE)));
	if (cli->quiet)
		return 0;
	print_safely(stdout, "%s  opens what is sealed with --key-file; keep it, and keep a copy\n",
		     path);
	print_safely(stdout, "key id %s\n", OUTPUT_HEX(keyfile_id(key), SLOT_KEYFILE_ID_SIZE));
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	const char *what, *where = NULL;
	int id;

	while ((id = cli_next(cli, err)) > 0)
		where = cli->value;
	if (id < 0)
		return id;
	what = cli_operand(cli, 0);
	if (!what)
		return cli_usage_error(cli, err, "give what to make: owner or key-file");
	if (cli_operands(cli) != (where ? 1 : 2))
		return cli_usage_error(cli, err, "give one place to write it to");
	if (!where)
		where = cli_operand(cli, 1);
	if (where[0] == '\0')
		return cli_usage_error(cli, err, "the name is empty");
	if (strcmp(what, "owner") == 0)
		return make_owner(cli, where, err);
	if (strcmp(what, "key-file") == 0)
		return make_keyfile(cli, where, err);
	return cli_usage_error(cli, err, "\"%s\" is neither owner nor key-file", what);
}

const struct verb verb_keygen = {
	.name = "keygen",
	.summary = "make an owner's key pair, or a key file",
	.usage = "owner PREFIX\nkey-file FILE",
	.help = "owner: makes an Ed25519 key pair, PREFIX.pem (private, mode 0600, for seal --sign)\n"
		"and PREFIX.pub (public, for mounts and check --owner-key).\n\n"
		"key-file: makes a 32-byte random key (mode 0600) that opens what is sealed with\n"
		"--key-file. Nothing is ever overwritten.",
	.options = options,
	.run = run,
};
