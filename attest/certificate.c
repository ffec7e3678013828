/*
 * Description of certificates. Job: extract the fields of a DER certificate for display. Trusts
 * OpenSSL's parser, after a limit on the size. This is no verification: anyone can make a
 * certificate with any content.
 */
#include "attest/certificate.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

static int print_name(const X509_NAME *name, char out[CERTIFICATE_NAME_MAX])
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new(BIO_s_mem());
	int n;

	if (!bio)
		return -ENOMEM;
	/* RFC 2253 escapes control characters and what is not ASCII. */
	if (X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) < 0)
		return -EPROTO;
	n = BIO_read(bio, out, CERTIFICATE_NAME_MAX - 1);
	out[MAX(n, 0)] = '\0';
	return 0;
}

static int read_time(const ASN1_TIME *t, int64_t *ret)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return -EPROTO;
	*ret = (int64_t)timegm(&tm);
	return 0;
}

static int read_serial(const ASN1_INTEGER *serial, char out[2 * 20 + 1])
{
	int size = ASN1_STRING_length(serial);

	if (size < 0 || size > 20)
		return -EPROTO;
	hex_encode(ASN1_STRING_get0_data(serial), (size_t)size, out);
	return 0;
}

static void describe_key(EVP_PKEY *key, char *out, size_t size)
{
	char curve[16] = "";

	if (EVP_PKEY_is_a(key, "RSA")) {
		(void)snprintf(out, size, "RSA %d", EVP_PKEY_get_bits(key));
		return;
	}
	if (!EVP_PKEY_is_a(key, "EC") ||
	    EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve),
					   NULL) != 1) {
		(void)snprintf(out, size, "%s", EVP_PKEY_get0_type_name(key));
		return;
	}
	/* OpenSSL's names of NIST's curves. */
	(void)snprintf(out, size, "EC %s",
		       strcmp(curve, "secp384r1") == 0	  ? "P-384"
		       : strcmp(curve, "prime256v1") == 0 ? "P-256"
		       : strcmp(curve, "secp521r1") == 0  ? "P-521"
							  : curve);
}

int certificate_describe(const uint8_t *der, size_t size, struct certificate_info *ret,
			 struct error *err)
{
	const unsigned char *p = der;
	_cleanup_(X509_freep) X509 *cert = NULL;
	struct certificate_info info = {0};
	EVP_PKEY *key;
	int r = -EPROTO;

	if (size > 0 && size <= CERTIFICATE_SIZE_MAX)
		cert = d2i_X509(NULL, &p, (long)size);
	if (cert && p == der + size)
		r = print_name(X509_get_subject_name(cert), info.subject);
	if (r == 0)
		r = print_name(X509_get_issuer_name(cert), info.issuer);
	if (r == 0)
		r = read_serial(X509_get0_serialNumber(cert), info.serial);
	if (r == 0)
		r = read_time(X509_get0_notBefore(cert), &info.not_before_s);
	if (r == 0)
		r = read_time(X509_get0_notAfter(cert), &info.not_after_s);
	if (r == 0)
		r = digest_buffer(DIGEST_SHA256, der, size, info.sha256);
	if (r < 0)
		return error_set(err, r, "not an X.509 certificate");
	key = X509_get0_pubkey(cert);
	if (key)
		describe_key(key, info.key, sizeof(info.key));
	info.is_ca = X509_check_ca(cert) == 1;
	*ret = info;
	return 0;
}

/* Never asks anybody. */
static int no_password(char *buf, int size, int writing, void *arg)
{
	return -1;
}

int certificate_key_hash(const void *pem, size_t size, uint8_t out[32], struct error *err)
{
	_cleanup_(BIO_freep) BIO *bio =
		size > 0 && size <= CERTIFICATE_PEM_MAX ? BIO_new_mem_buf(pem, (int)size) : NULL;
	_cleanup_(X509_freep) X509 *cert =
		bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
	unsigned char *der = NULL;
	int n = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1;
	int r = n > 0 ? digest_buffer(DIGEST_SHA256, der, (size_t)n, out) : -EPROTO;

	OPENSSL_free(der);
	return r < 0 ? error_set(err, r, "not an X.509 certificate in PEM") : 0;
}

int public_key_describe(const uint8_t *der, size_t size, char *out, size_t out_size)
{
	const unsigned char *p = der;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;

	if (size == 0 || size > CERTIFICATE_SIZE_MAX)
		return -EPROTO;
	key = d2i_PUBKEY(NULL, &p, (long)size);
	if (!key || p != der + size)
		return -EPROTO;
	describe_key(key, out, out_size);
	return 0;
}
