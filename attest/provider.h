/*
 * provider.h: attestation documents from EC2's virtual TPM (NitroTPM), or from the Nitro Secure
 * Module of an enclave (nsm.h). A provider turns user data, nonce and public key into a document
 * about this machine that AWS has signed.
 */
#ifndef SEALEDFS_PROVIDER_H
#define SEALEDFS_PROVIDER_H

#include "attest/document.h"

struct attest_provider;

/* tcti: see tpm_open(); may be NULL. Nothing is opened until attest_document(). */
int attest_provider_new(const char *tcti, struct attest_provider **ret, struct error *err);
void attest_provider_free(struct attest_provider *p);
/*
 * A fresh document in new memory (caller frees). The document was parsed, and its nonce, user data
 * and public key were compared with the request: a difference is -EBADMSG. Its signature is not
 * verified here. Thread-safe; calls are serialised.
 */
int attest_document(struct attest_provider *p, const struct attest_request *req, uint8_t **ret,
		    size_t *ret_size, struct error *err);

/* Before keys are made: in an enclave, random numbers of its module are added to OpenSSL's. Does
 * nothing with a TPM. */
int attest_seed(struct attest_provider *p, struct error *err);

DEFINE_CLEANUP(struct attest_provider *, attest_provider_free)

#endif
