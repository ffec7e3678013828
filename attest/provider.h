/*
 * provider.h: who can vouch for this machine. A provider turns (user data, nonce, public key) into
 * an attestation document signed by the hardware's owner, here AWS.
 */
#ifndef SEALEDFS_PROVIDER_H
#define SEALEDFS_PROVIDER_H

#include "crypto/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define ATTEST_FIELD_MAX 1024 /* bytes of each optional field */

struct attest_request {
	const uint8_t *user_data; /* each may be NULL with size 0: absent */
	size_t user_data_size;
	const uint8_t *nonce;
	size_t nonce_size;
	const uint8_t *public_key; /* DER SubjectPublicKeyInfo for KMS */
	size_t public_key_size;
};

struct attest_provider;

/*
 * "nitrotpm" with a TCTI string or NULL (see tpm_open). -EINVAL for an unknown name.
 * Nothing is opened until attest_document().
 */
int attest_provider_new(const char *name, const char *tcti, struct attest_provider **ret,
			struct error *err);
void attest_provider_free(struct attest_provider *p);
/*
 * A fresh document in new memory (caller frees). The document was parsed, and its nonce, user data
 * and public key were compared with the request: a difference is -EBADMSG. Its signature is not
 * verified here. Thread-safe; calls are serialised.
 */
int attest_document(struct attest_provider *p, const struct attest_request *req, uint8_t **ret,
		    size_t *ret_size, struct error *err);

DEFINE_CLEANUP(struct attest_provider *, attest_provider_free)

#endif
