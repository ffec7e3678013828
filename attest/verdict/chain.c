/*
 * The certificate chain of a document. Job: leaf, then cabundle from its end, to the one root that
 * the caller trusts. Trusts OpenSSL's path validation, after the limits of document.c. Must never
 * trust a certificate because the document carries it, nor ask the network (revocation lists are
 * off, as AWS demands), nor use today's date.
 */
#include "attest/verdict/verdict_internal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define CURVE "secp384r1"

DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(X509_STORE *, X509_STORE_free)
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free)

static void free_stack(STACK_OF(X509) * *stack)
{
	sk_X509_pop_free(*stack, X509_free);
}

X509 *certificate_parse(struct bytes_view der)
{
	const unsigned char *p = der.data;
	X509 *cert = d2i_X509(NULL, &p, (long)der.size);

	if (cert && p == der.data + der.size)
		return cert;
	X509_free(cert);
	return NULL;
}

int verdict_root_parse(const void *bytes, size_t size, uint8_t **ret, size_t *ret_size)
{
	_cleanup_(BIO_freep) BIO *bio = BIO_new_mem_buf(bytes, (int)MIN(size, (size_t)INT_MAX));
	_cleanup_(X509_freep) X509 *cert = certificate_parse((struct bytes_view){bytes, size});
	unsigned char *der = NULL;
	int n;

	if (!bio)
		return -ENOMEM;
	if (!cert)
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	ERR_clear_error();
	n = cert ? i2d_X509(cert, &der) : 0;
	if (n <= 0)
		return -EPROTO;
	*ret = malloc((size_t)n);
	if (*ret)
		memcpy(*ret, der, (size_t)n);
	OPENSSL_free(der);
	*ret_size = (size_t)n;
	return *ret ? 0 : -ENOMEM;
}

/* Leaf, then the bundle from its end without its first entry, then the root. False: one of them is
 * no certificate. */
static bool load(const struct attest_doc *d, struct bytes_view root, STACK_OF(X509) * stack)
{
	for (size_t i = 0; i <= d->cabundle_count; i++) {
		struct bytes_view der = i == 0 ? d->certificate
					: i == d->cabundle_count
						? root
						: d->cabundle[d->cabundle_count - i];
		X509 *cert = certificate_parse(der);

		if (!cert || sk_X509_push(stack, cert) <= 0) {
			X509_free(cert);
			return false;
		}
	}
	return true;
}

static bool key_is_p384(X509 *cert)
{
	EVP_PKEY *key = X509_get0_pubkey(cert);
	char curve[16] = "";

	return key && EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve),
					      NULL) == 1 &&
	       strcmp(curve, CURVE) == 0;
}

static bool uses_key_for(X509 *cert, uint32_t use)
{
	return (X509_get_extension_flags(cert) & EXFLAG_KUSAGE) &&
	       (X509_get_key_usage(cert) & use) == use;
}

/* Of a leaf X509_check_ca() also looks at what its key may do, and calls a CA that may not sign
 * certificates none. */
static bool is_ca(X509 *cert, bool is_leaf)
{
	return is_leaf ? X509_get_extension_flags(cert) & EXFLAG_CA : X509_check_ca(cert) == 1;
}

/* OpenSSL accepts as critical whatever it knows, though it does not judge all of that here. */
static bool has_other_critical(X509 *cert)
{
	for (int i = 0; i < X509_get_ext_count(cert); i++) {
		X509_EXTENSION *ext = X509_get_ext(cert, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(ext));

		if (X509_EXTENSION_get_critical(ext) && nid != NID_basic_constraints &&
		    nid != NID_key_usage)
			return true;
	}
	return false;
}

/* What OpenSSL leaves to the caller. */
static bool roles_fit(STACK_OF(X509) * stack)
{
	int last = sk_X509_num(stack) - 1;

	for (int i = 0; i <= last; i++) {
		X509 *cert = sk_X509_value(stack, i);

		if (!key_is_p384(cert) || is_ca(cert, i == 0) != (i > 0) ||
		    has_other_critical(cert))
			return false;
		if (i < last &&
		    ((X509_get_extension_flags(cert) & EXFLAG_SI) ||
		     X509_get_signature_nid(cert) != NID_ecdsa_with_SHA384 ||
		     !uses_key_for(cert, i > 0 ? KU_KEY_CERT_SIGN : KU_DIGITAL_SIGNATURE)))
			return false;
	}
	return true;
}

static bool same_chain(STACK_OF(X509) * wanted, STACK_OF(X509) * found)
{
	if (!found || sk_X509_num(wanted) != sk_X509_num(found))
		return false;
	for (int i = 0; i < sk_X509_num(wanted); i++)
		if (X509_cmp(sk_X509_value(wanted, i), sk_X509_value(found, i)) != 0)
			return false;
	return true;
}

static bool path_is_valid(STACK_OF(X509) * stack)
{
	int last = sk_X509_num(stack) - 1;
	_cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
	_cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();

	if (!store || !ctx || X509_STORE_add_cert(store, sk_X509_value(stack, last)) != 1 ||
	    X509_STORE_CTX_init(ctx, store, sk_X509_value(stack, 0), stack) != 1)
		return false;
	/* Time is compared apart, so that a broken chain is never reported as an old one. */
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_NO_CHECK_TIME);
	return X509_verify_cert(ctx) == 1 && same_chain(stack, X509_STORE_CTX_get0_chain(ctx));
}

static bool seconds_of(const ASN1_TIME *t, int64_t *ret)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*ret = (int64_t)timegm(&tm);
	return true;
}

static bool all_valid_at(STACK_OF(X509) * stack, int64_t time_s)
{
	for (int i = 0; i < sk_X509_num(stack); i++) {
		X509 *cert = sk_X509_value(stack, i);
		int64_t from, to;

		if (!seconds_of(X509_get0_notBefore(cert), &from) ||
		    !seconds_of(X509_get0_notAfter(cert), &to) || time_s < from || time_s > to)
			return false;
	}
	return true;
}

static const char *find_fault(const struct attest_doc *d, struct bytes_view root)
{
	_cleanup_(free_stack) STACK_OF(X509) *stack = sk_X509_new_null();

	if (d->cabundle[0].size != root.size ||
	    memcmp(d->cabundle[0].data, root.data, root.size) != 0)
		return "the certificate chain does not end in the expected root";
	if (!stack || !load(d, root, stack) || !path_is_valid(stack) || !roles_fit(stack))
		return "the certificate chain is broken";
	if (!all_valid_at(stack, (int64_t)(d->timestamp_ms / 1000)))
		return "a certificate of the chain was not valid at the document's time";
	return NULL;
}

int step_chain(struct judging *j)
{
	const char *fault = find_fault(j->v->document, j->root);

	ERR_clear_error();
	return fault ? step_fail(j->v, STEP_CHAIN, "%s", fault) : step_pass(j->v, STEP_CHAIN);
}
