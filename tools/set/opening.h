/*
 * opening.h: the options that say what opens seals and sets, the same for every verb that has them,
 * and the unlocking that they ask for. One thread.
 */
#ifndef SEALEDFS_TOOLS_OPENING_H
#define SEALEDFS_TOOLS_OPENING_H

#include "fs/unlock/unlock.h"
#include "tools/common/cli.h"

enum {
	OPENING_FIRST = CLI_LONG + 500,
	OPENING_KEY_FILE = OPENING_FIRST,
	OPENING_KMS,
	OPENING_KMS_KEY,
	OPENING_KMS_POLICY,
	OPENING_ATTEST,
	OPENING_TPM,
	OPENING_TPM_SIGNATURES,
	OPENING_TCTI,
};

/* Rows of a verb's table. */
#define OPENING_OPTIONS                                                                             \
	{OPENING_KEY_FILE, "key-file", "FILE", "open with this key file; repeatable"},              \
		{OPENING_KMS, "kms", NULL, "open with KMS and the AWS credentials"},                \
		{OPENING_KMS_KEY, "kms-key", "ARN",                                                 \
		 "ask only this KMS key, or those of account/ACCOUNT;\nrepeatable; implies --kms"}, \
		{OPENING_KMS_POLICY, "kms-policy", "FILE",                                          \
		 "the key's policy: shows which PCR is another if KMS\nrefuses"},                   \
		{OPENING_ATTEST, "attest", NULL, "open with KMS and this machine's NitroTPM"},      \
		{OPENING_TPM, "tpm", NULL, "open with this machine's TPM, without KMS"},            \
		{OPENING_TPM_SIGNATURES, "tpm-policy-signature", "FILE",                            \
		 "signed policies for --tpm; default: where systemd puts\nthem"},                   \
	{                                                                                           \
		OPENING_TCTI, "tcti", "TCTI", "which TPM; default: /dev/tpmrm0, /dev/tpm0"          \
	}

#define OPENING_KEYFILES_MAX 16

struct opening {
	const char *keyfiles[OPENING_KEYFILES_MAX];
	size_t keyfile_count;
	const char *kms_keys[SEAL_SLOTS_MAX];
	size_t kms_key_count;
	bool kms, attest, tpm;
	const char *kms_policy, *tcti, *tpm_signatures;
	struct attest_provider *provider;
	struct unlock *unlock; /* NULL: no option was given */
};

/* An option of OPENING_OPTIONS with cli->value. */
int opening_take(struct opening *o, struct cli *cli, int id, struct error *err);
/* After the last option: loads key files, opens the TPM. */
int opening_make(struct opening *o, struct cli *cli, struct error *err);
void opening_clear(struct opening *o);

#endif
