/*
 * JSON Web Tokens, signed only. Job: header, claims and an ECDSA signature over both. Trusts the
 * caller's key. Must never sign with an algorithm that does not fit the key's curve, and never
 * leave the key in ordinary memory of ours.
 */
#include "attest/verdict/ear.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#define COORDINATE_MAX 48

static const struct curve {
	const char *name, *alg, *digest;
	int coordinate; /* bytes */
} curves[] = {{"prime256v1", "ES256", "SHA256", 32}, {"secp384r1", "ES384", "SHA384", 48}};

DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free)

/* No question at the terminal: an encrypted key is refused. */
static int no_pass_phrase(char *buf, int size, int rwflag, void *u)
{
	return -1;
}

static const struct curve *curve_of(EVP_PKEY *key)
{
	char name[32] = "";

	if (!key || !EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof(name),
					   NULL) != 1)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(curves); i++)
		if (strcmp(curves[i].name, name) == 0)
			return &curves[i];
	return NULL;
}

/* RFC 4648, section 5, without padding. */
static char *base64url(const void *data, size_t size)
{
	char *text = base64_encode(data, size);

	for (char *p = text; p && *p; p++) {
		if (*p == '+')
			*p = '-';
		else if (*p == '/')
			*p = '_';
	}
	if (text)
		text[strcspn(text, "=")] = '\0';
	return text;
}

/* r and s beside each other: RFC 7518, section 3.4. */
static int sign(EVP_PKEY *key, const struct curve *curve, const char *text,
		uint8_t out[2 * COORDINATE_MAX])
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_(ECDSA_SIG_freep) ECDSA_SIG *sig = NULL;
	unsigned char der[160];
	const unsigned char *p = der;
	size_t size = sizeof(der);

	if (!ctx || EVP_DigestSignInit_ex(ctx, NULL, curve->digest, NULL, NULL, key, NULL) != 1 ||
	    EVP_DigestSign(ctx, der, &size, (const uint8_t *)text, strlen(text)) != 1)
		return -EIO;
	sig = d2i_ECDSA_SIG(NULL, &p, (long)size);
	if (!sig ||
	    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, curve->coordinate) != curve->coordinate ||
	    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + curve->coordinate, curve->coordinate) !=
		    curve->coordinate)
		return -EIO;
	return 0;
}

/* "HEADER.CLAIMS" */
static char *signing_input(const json_t *claims, const struct curve *curve)
{
	char header[64], *input = NULL;
	_cleanup_free_ char *text = json_dumps(claims, JSON_COMPACT);
	_cleanup_free_ char *first = NULL, *second = NULL;

	(void)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}", curve->alg);
	first = base64url(header, strlen(header));
	second = text ? base64url(text, strlen(text)) : NULL;
	if (!first || !second || asprintf(&input, "%s.%s", first, second) < 0)
		return NULL;
	return input;
}

int jwt_sign(const json_t *claims, const void *pem, size_t pem_size, char **ret, struct error *err)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(pem, (int)pem_size);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key =
		bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
	const struct curve *curve = curve_of(key);
	_cleanup_free_ char *input = curve ? signing_input(claims, curve) : NULL;
	_cleanup_free_ char *signature = NULL;
	uint8_t raw[2 * COORDINATE_MAX];
	int r;

	ERR_clear_error();
	if (!curve) {
		error_hint(err, "openssl ecparam -name prime256v1 -genkey -noout makes one");
		return error_set(err, -EINVAL,
				 "the key is not a private EC key, P-256 or P-384, in PEM");
	}
	r = input ? sign(key, curve, input, raw) : -ENOMEM;
	if (r == 0)
		signature = base64url(raw, 2 * (size_t)curve->coordinate);
	if (r == 0 && (!signature || asprintf(ret, "%s.%s", input, signature) < 0))
		r = -ENOMEM;
	return r < 0 ? error_set(err, r, "cannot sign the token: %s", strerror(-r)) : 0;
}
