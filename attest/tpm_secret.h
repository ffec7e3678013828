/*
 * tpm_secret.h: a TPM's storage key as others see it, and secrets for it. Without a TPM. Sources:
 * TCG TPM 2.0 Library, Part 1 ("Names", "KDFa", "KDFe", "Secret sharing"), Part 2 (TPMT_PUBLIC).
 *
 * Functions are pure, but for random numbers. Threads: any.
 */
#ifndef SEALEDFS_TPM_SECRET_H
#define SEALEDFS_TPM_SECRET_H

#include "crypto/kdf.h"
#include "crypto/slots.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <stdbool.h>

#define STORAGE_PUBLIC_MAX 512 /* bytes of a TPMT_PUBLIC that is read here */
#define TPM_NAME_SIZE 34       /* of an object: 0x000B and a SHA-256 */

/* An ECC P-256 or an RSA-2048 or -3072 storage key. */
struct storage_key {
	uint8_t public[STORAGE_PUBLIC_MAX]; /* TPMT_PUBLIC */
	size_t public_size;
	uint8_t name[SHA256_SIZE];	    /* without the algorithm */
	unsigned aes_bits;		    /* 128 or 256 */
	uint8_t point[SLOT_TPM_POINT_SIZE]; /* P-256; or: */
	uint8_t modulus[SLOT_TPM_RSA_MAX];
	size_t modulus_size; /* 0: P-256 */
};

/* From a TPM2B_PUBLIC. -EPROTO: none, or a key that cannot be a recipient, and why. */
int storage_key_parse(const uint8_t *bytes, size_t size, struct storage_key *ret,
		      struct error *err);
/* The same from a file. Errors of open(), too. */
int storage_key_read(const char *path, struct storage_key *ret, struct error *err);
/* "ECC P-256", "RSA 2048", … */
const char *storage_key_kind(const struct storage_key *k);

#define TPM_SEED_SIZE 32
/*
 * A fresh secret that only the TPM with this key can know, and its encrypted form: a point x ‖ y,
 * or RSAES-OAEP. label: "DUPLICATE", "SECRET". encrypted: room for SLOT_TPM_RSA_MAX bytes.
 */
int storage_key_share(const struct storage_key *k, const char *label, uint8_t seed[TPM_SEED_SIZE],
		      uint8_t *encrypted, size_t *ret_size);

/* The public key with this modulus and the exponent 65537. */
int tpm_rsa_public(const uint8_t *modulus, size_t size, EVP_PKEY **ret);

/* KDFa with SHA-256, at most 32 bytes. context: contextU ‖ contextV. */
int tpm_kdfa(struct kdf_bytes key, const char *label, struct kdf_bytes context, uint8_t *out,
	     size_t size);
/* AES-CFB with a key of 16 or 32 bytes. */
int tpm_cfb(const uint8_t *key, size_t key_size, const uint8_t iv[16], bool encrypt,
	    const uint8_t *in, size_t size, uint8_t *out);

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(BIGNUM *, BN_free)

#endif
