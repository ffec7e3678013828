/*
 * policy_signature.h: policies that the builder of an image has signed: tpm2-pcr-signature.json, as
 * `systemd-measure sign` and ukify write it:
 *
 *   {"sha256": [{"pcrs": [11], "pkfp": HEX, "pol": HEX, "sig": BASE64}, …], …}
 *
 * pol is the digest of a PolicyPCR for these PCRs in that bank; sig an RSASSA-PKCS1-v1_5 signature
 * with SHA-256 of its bytes; pkfp the SHA-256 of the key as PKCS #1. Entries of other keys and
 * banks are passed over.
 */
#ifndef SEALEDFS_POLICY_SIGNATURE_H
#define SEALEDFS_POLICY_SIGNATURE_H

#include "crypto/base/error.h"
#include "crypto/slots.h"

#define POLICY_SIGNATURES_MAX 256
#define POLICY_SIGNATURE_FILE_MAX ((size_t)1 << 20)

struct signed_policy {
	unsigned bank;
	uint32_t selection;
	uint8_t policy[SHA256_SIZE];
	uint8_t signature[SLOT_TPM_RSA_MAX]; /* as long as the key; verified */
};

struct policy_signatures {
	struct signed_policy *items;
	size_t count;
	char *path; /* where they come from */
};

/*
 * Those by this key (modulus; exponent 65537). path: NULL for the first of /etc/systemd,
 * /run/systemd and /usr/lib/systemd that has the file. -ENOENT: no file; -EPROTO; -EKEYREJECTED:
 * nothing by this key; -EBADMSG: a signature of this key does not verify.
 */
int policy_signatures_load(const char *path, const uint8_t *modulus, size_t size,
			   struct policy_signatures *ret, struct error *err);
/* The same from memory; name: for messages. */
int policy_signatures_parse(const void *json, size_t json_size, const char *name,
			    const uint8_t *modulus, size_t size, struct policy_signatures *ret,
			    struct error *err);
void policy_signatures_clear(struct policy_signatures *p);

/* pkfp of this key. */
int policy_key_fingerprint(const uint8_t *modulus, size_t size, uint8_t out[SHA256_SIZE]);

/* The modulus of a PEM file with an RSA public key of 2048 or 3072 bits. -EINVAL: another key. */
int policy_key_read(const char *path, uint8_t modulus[SLOT_TPM_RSA_MAX], size_t *ret_size,
		    struct error *err);

#endif
