/*
 * tpm_unseal.h: a slot of type 2 opened by this machine's TPM (crypto/FORMAT.md section 4.4):
 * import, load, policy, unseal.
 *
 * Errors, each with its own hint: -ENOKEY the slot is for another TPM; -EKEYREJECTED a PCR has
 * another value (which, is in the message), or no signed policy fits this machine; -ENOENT no file
 * of signed policies; -EBADMSG the slot was altered, or something on the bus changes answers;
 * -ENODEV, -EBUSY, -EIO as tpm_open(), also when the TPM is locked out. Threads: calls are
 * serialised.
 */
#ifndef SEALEDFS_TPM_UNSEAL_H
#define SEALEDFS_TPM_UNSEAL_H

#include "crypto/slots.h"

struct tpm_unseal_options {
	const char *tcti;	/* see tpm_open() */
	const char *signatures; /* file: policy_signature.h; NULL: where systemd puts it */
};

/* The caller frees *ret, and checks that it is the seal's. Signals that would end the process wait.
 */
int tpm_unseal(const struct tpm_unseal_options *options, const struct tpm_slot *slot,
	       struct secret **ret, struct error *err);

#endif
