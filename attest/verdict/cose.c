/*
 * The signature of a document (RFC 9052, section 4.4). Job: ECDSA P-384 with SHA-384 by the leaf
 * over the Sig_structure. Must never take the algorithm or the key from anywhere but the leaf and
 * the specification.
 */
#include "attest/verdict/verdict_internal.h"

#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#define CONTEXT "Signature1"
#define HEAD_MAX 5 /* bytes of the head of a string below 2^32 */
#define ARRAY_OF_FOUR 0x84
#define MAJOR_BYTES 0x40
#define MAJOR_TEXT 0x60

DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

/* The shortest head for a string of less than 2^16 bytes. */
static uint8_t *add_head(uint8_t *out, uint8_t major, size_t size)
{
	if (size < 24) {
		*out++ = (uint8_t)(major | size);
	} else if (size < 256) {
		*out++ = major | 24;
		*out++ = (uint8_t)size;
	} else {
		*out++ = major | 25;
		*out++ = (uint8_t)(size >> 8);
		*out++ = (uint8_t)size;
	}
	return out;
}

static uint8_t *add_string(uint8_t *out, uint8_t major, const void *data, size_t size)
{
	out = add_head(out, major, size);
	if (size > 0)
		memcpy(out, data, size);
	return out + size;
}

/* What is signed, in fresh memory. */
static uint8_t *sig_structure(const struct attest_doc *d, size_t *ret_size)
{
	uint8_t *bytes = malloc(1 + 4 * HEAD_MAX + sizeof(CONTEXT) + d->protected_header.size +
				d->payload.size);
	uint8_t *at = bytes;

	if (!bytes)
		return NULL;
	*at++ = ARRAY_OF_FOUR;
	at = add_string(at, MAJOR_TEXT, CONTEXT, strlen(CONTEXT));
	at = add_string(at, MAJOR_BYTES, d->protected_header.data, d->protected_header.size);
	at = add_string(at, MAJOR_BYTES, NULL, 0);
	at = add_string(at, MAJOR_BYTES, d->payload.data, d->payload.size);
	*ret_size = (size_t)(at - bytes);
	return bytes;
}

/* r and s beside each other, as OpenSSL wants them; OPENSSL_free(). */
static unsigned char *signature_der(struct bytes_view raw, int *ret_size)
{
	_cleanup_(ECDSA_SIG_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw.data, (int)raw.size / 2, NULL);
	BIGNUM *s = BN_bin2bn(raw.data + raw.size / 2, (int)raw.size / 2, NULL);
	unsigned char *der = NULL;

	if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
		BN_free(r);
		BN_free(s);
		return NULL;
	}
	*ret_size = i2d_ECDSA_SIG(sig, &der);
	return *ret_size > 0 ? der : NULL;
}

static bool is_signed_by(X509 *leaf, const unsigned char *der, int der_size, const uint8_t *bytes,
			 size_t size)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY *key = leaf ? X509_get0_pubkey(leaf) : NULL;

	return ctx && der && key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) == 384 &&
	       EVP_DigestVerifyInit(ctx, NULL, EVP_sha384(), NULL, key) == 1 &&
	       EVP_DigestVerify(ctx, der, (size_t)der_size, bytes, size) == 1;
}

int step_signature(struct judging *j)
{
	const struct attest_doc *d = j->v->document;
	_cleanup_(X509_freep) X509 *leaf = certificate_parse(d->certificate);
	size_t size = 0;
	_cleanup_free_ uint8_t *bytes = sig_structure(d, &size);
	int der_size = 0;
	unsigned char *der = signature_der(d->signature, &der_size);
	bool good = bytes && is_signed_by(leaf, der, der_size, bytes, size);

	OPENSSL_free(der);
	ERR_clear_error();
	if (!bytes)
		return -ENOMEM;
	return good ? step_pass(j->v, STEP_SIGNATURE)
		    : step_fail(j->v, STEP_SIGNATURE, "the document's signature is wrong");
}
