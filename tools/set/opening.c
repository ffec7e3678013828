/*
 * What opens seals. Job: options into a struct unlock. Trusts the command line. Must never take a
 * key itself as a value.
 */
#include "tools/set/opening.h"

#include "fs/aws/kms_arn.h"

#include <errno.h>

int opening_take(struct opening *o, struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case OPENING_KEY_FILE:
		if (o->keyfile_count == OPENING_KEYFILES_MAX)
			return cli_usage_error(cli, err, "more than %d key files",
					       OPENING_KEYFILES_MAX);
		o->keyfiles[o->keyfile_count++] = cli->value;
		return 0;
	case OPENING_KMS:
		o->kms = true;
		return 0;
	case OPENING_KMS_KEY:
		if (o->kms_key_count == ARRAY_LEN(o->kms_keys))
			return cli_usage_error(cli, err, "more than %d KMS keys", SEAL_SLOTS_MAX);
		o->kms = true;
		o->kms_keys[o->kms_key_count++] = cli->value;
		return kms_pin_check(cli->value, err);
	case OPENING_KMS_POLICY:
		o->kms_policy = cli->value;
		return 0;
	case OPENING_ATTEST:
		o->attest = true;
		return 0;
	case OPENING_TPM:
		o->tpm = true;
		return 0;
	case OPENING_TPM_SIGNATURES:
		o->tpm = true;
		o->tpm_signatures = cli->value;
		return 0;
	default:
		o->tcti = cli->value;
		return 0;
	}
}

int opening_make(struct opening *o, struct cli *cli, struct error *err)
{
	struct unlock_options u = {.keyfiles = o->keyfiles,
				   .keyfile_count = o->keyfile_count,
				   .kms_pins = o->kms_keys,
				   .kms_pin_count = o->kms_key_count,
				   .kms_policy = o->kms_policy,
				   .use_tpm = o->tpm,
				   .tpm = {.tcti = o->tcti, .signatures = o->tpm_signatures}};
	int r = 0;

	if (!o->kms && !o->attest && !o->tpm && o->keyfile_count == 0)
		return 0;
	if (o->kms || o->attest)
		r = cli_aws(cli, &u.aws, err);
	if (r == 0 && o->attest)
		r = attest_provider_new(o->tcti, &o->provider, err);
	u.provider = o->provider;
	return r < 0 ? r : unlock_new(&u, &o->unlock, err);
}

void opening_clear(struct opening *o)
{
	unlock_free(o->unlock);
	attest_provider_free(o->provider);
	*o = (struct opening){0};
}
