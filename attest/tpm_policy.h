/*
 * tpm_policy.h: what a slot of type 2 asks of a TPM, computed as the TPM does it (crypto/FORMAT.md
 * section 4.4; TCG TPM 2.0 Library, Part 3: PolicyPCR, PolicyAuthorize). Pure. -EIO: OpenSSL
 * failed.
 */
#ifndef SEALEDFS_TPM_POLICY_H
#define SEALEDFS_TPM_POLICY_H

#include "attest/tpm_secret.h"

#define TPM_OBJECT_PUBLIC_SIZE 78 /* TPMT_PUBLIC of the sealed object */
#define TPM_SELECTION_SIZE 10	  /* TPML_PCR_SELECTION of one bank */

void tpm_pcr_selection(unsigned bank, uint32_t selection, uint8_t out[TPM_SELECTION_SIZE]);
/* values: of the selected PCRs, ascending. in and out may be one array. */
int tpm_policy_pcr(const uint8_t in[SHA256_SIZE], unsigned bank, uint32_t selection,
		   struct kdf_bytes values, uint8_t out[SHA256_SIZE]);
/* The public area of a policy key as the TPM loads it; exponent 65537. */
int tpm_policy_key_name(const uint8_t *modulus, size_t size, uint8_t name[TPM_NAME_SIZE]);
int tpm_slot_policy(const struct tpm_slot *s, uint8_t out[SHA256_SIZE]);
/* The object that the slot holds: its public area and its name. */
int tpm_slot_object(const struct tpm_slot *s, uint8_t public[TPM_OBJECT_PUBLIC_SIZE],
		    uint8_t name[TPM_NAME_SIZE]);

#endif
