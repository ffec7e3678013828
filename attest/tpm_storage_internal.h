/* tpm_storage_internal.h: the storage key, ready for commands. */
#ifndef SEALEDFS_TPM_STORAGE_INTERNAL_H
#define SEALEDFS_TPM_STORAGE_INTERNAL_H

#include "attest/tpm_internal.h"
#include "attest/tpm_storage.h"

struct loaded_key {
	ESYS_TR handle;
	bool persistent;
	struct storage_key key;
};

/*
 * The storage key with this name; *ret is for tpm_storage_release(), also after an error. -ENOKEY:
 * this TPM has none; the message names one that it has.
 */
int tpm_storage_load(struct tpm *t, const uint8_t name[SHA256_SIZE], struct loaded_key *ret,
		     struct error *err);
void tpm_storage_release(struct tpm *t, struct loaded_key *k);

#endif
