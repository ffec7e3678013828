/*
 * tpm_policy_session.h: a policy session with a TPM whose key is salted to one storage key, and the
 * one answer that holds a data key. For tpm_unseal.c.
 *
 * Written out command by command, without ESYS, so that the data key is decrypted into a struct
 * secret and is nowhere else in memory; and so that the session is protected by the storage key
 * which the seal names, whatever the connection's own session trusts. Sources: TPM 2.0 Part 1
 * ("Session-based authorizations", "Parameter encryption"), Part 3.
 */
#ifndef SEALEDFS_TPM_POLICY_SESSION_H
#define SEALEDFS_TPM_POLICY_SESSION_H

#include "attest/tpm_internal.h"
#include "attest/tpm_policy.h"

#define POLICY_NONCE_SIZE 32

struct policy_session {
	struct tpm *t;
	TPM2_HANDLE handle; /* 0: none */
	uint8_t key[SHA256_SIZE];
	uint8_t nonce_tpm[POLICY_NONCE_SIZE];
};

/* key: of the storage key, which is loaded as handle. *s is for policy_session_end(), also after an
 * error. All: the TPM's response code, in err's message; -EBADMSG an answer that is not the TPM's.
 */
int policy_session_start(struct tpm *t, ESYS_TR loaded, const struct storage_key *key,
			 struct policy_session *s, struct error *err);
void policy_session_end(struct policy_session *s);
/* digest: SHA-256 of the values that the PCRs must have. *ret_rc: the TPM's answer. */
int policy_session_pcr(struct policy_session *s, unsigned bank, uint32_t selection,
		       const uint8_t digest[SHA256_SIZE], TSS2_RC *ret_rc, struct error *err);
int policy_session_authorize(struct policy_session *s, const uint8_t policy[SHA256_SIZE],
			     const uint8_t key_name[TPM_NAME_SIZE], const TPMT_TK_VERIFIED *ticket,
			     TSS2_RC *ret_rc, struct error *err);
/* name: of the loaded object, as we computed it. The session is over after that. */
int policy_session_unseal(struct policy_session *s, TPM2_HANDLE object,
			  const uint8_t name[TPM_NAME_SIZE], struct secret **ret, TSS2_RC *ret_rc,
			  struct error *err);

#endif
