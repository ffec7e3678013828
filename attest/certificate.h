/*
 * certificate.h: the fields of an X.509 certificate (RFC 5280) for display, and its key. Verifies
 * nothing.
 */
#ifndef SEALEDFS_CERTIFICATE_H
#define SEALEDFS_CERTIFICATE_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATE_SIZE_MAX 4096 /* bytes of DER */
#define CERTIFICATE_NAME_MAX 512

struct certificate_info {
	/* As RFC 4514 writes names ("CN=…,OU=AWS,…"); cut when too long. */
	char subject[CERTIFICATE_NAME_MAX];
	char issuer[CERTIFICATE_NAME_MAX];
	char serial[2 * 20 + 1]; /* hex, lower case */
	int64_t not_before_s;	 /* since 1970, UTC */
	int64_t not_after_s;
	char key[32]; /* "EC P-384", "RSA 2048" */
	bool is_ca;
	uint8_t sha256[32]; /* of the DER: the fingerprint */
};

/* der: exactly one certificate. -EPROTO, -ENOMEM. */
int certificate_describe(const uint8_t *der, size_t size, struct certificate_info *ret,
			 struct error *err);
/* SHA-256 of the DER SubjectPublicKeyInfo of the first certificate in PEM text, which a TLS server
 * shows its peers. -EPROTO. */
#define CERTIFICATE_PEM_MAX 65536
int certificate_key_hash(const void *pem, size_t size, uint8_t out[32], struct error *err);
/* "RSA 2048" or "EC P-384" for a DER SubjectPublicKeyInfo. -EPROTO if it is not one. */
int public_key_describe(const uint8_t *der, size_t size, char *out, size_t out_size);

#endif
