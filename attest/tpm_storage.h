/*
 * tpm_storage.h: the storage key of a TPM: the persistent one at 0x81000001 if it is there and can
 * be a recipient's (tpm_secret.h), else the ECC P-256 primary key of the owner hierarchy.
 */
#ifndef SEALEDFS_TPM_STORAGE_H
#define SEALEDFS_TPM_STORAGE_H

#include "attest/tpm.h"
#include "attest/tpm_secret.h"

#define STORAGE_KEY_HANDLE 0x81000001u

/* *ret_persistent (may be NULL): which of the two it is. */
int storage_key_of_tpm(struct tpm *t, struct storage_key *ret, bool *ret_persistent,
		       struct error *err);

#endif
