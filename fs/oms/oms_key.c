/*
 * Keys of model authors. Job: load, sign and verify with ECDSA on three curves and nothing else.
 * Trusts OpenSSL. Must never ask for a pass phrase, nor take a private key where a public one is
 * expected.
 */
#include "fs/oms/oms_key.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/base/printable.h"
#include "crypto/key_io.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

struct oms_key {
	EVP_PKEY *pkey;
	const char *digest;
	char hint[OMS_HINT_SIZE];
	char path[NAME_PRINTABLE_SIZE];
};

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

void oms_key_free(struct oms_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}

const char *oms_key_hint(const struct oms_key *k)
{
	return k->hint;
}

const char *oms_key_path(const struct oms_key *k)
{
	return k->path;
}

static const char *digest_of_curve(EVP_PKEY *pkey)
{
	static const char *const curves[][2] = {
		{"prime256v1", "SHA256"}, {"secp384r1", "SHA384"}, {"secp521r1", "SHA512"}};
	char name[64] = "";

	if (!EVP_PKEY_is_a(pkey, "EC") ||
	    EVP_PKEY_get_group_name(pkey, name, sizeof(name), NULL) != 1)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(curves); i++)
		if (strcmp(curves[i][0], name) == 0)
			return curves[i][1];
	return NULL;
}

/* Of the PEM text with the uncompressed point, as all writers of bundles print it. */
static int make_hint(struct oms_key *k)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	uint8_t digest[SHA256_SIZE];
	char *text = NULL;
	long size;
	int r;

	if (!bio ||
	    EVP_PKEY_set_utf8_string_param(k->pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
					   "uncompressed") != 1 ||
	    PEM_write_bio_PUBKEY(bio, k->pkey) != 1)
		return -EIO;
	size = BIO_get_mem_data(bio, &text);
	r = digest_buffer(DIGEST_SHA256, text, (size_t)size, digest);
	if (r == 0)
		hex_encode(digest, sizeof(digest), k->hint);
	return r;
}

/* No pass phrase is known. */
static int no_phrase(char *buf, int size, int rwflag, void *u)
{
	return -1;
}

static int load(const char *path, bool is_private, struct oms_key **ret, struct error *err)
{
	_cleanup_(oms_key_freep) struct oms_key *k = calloc(1, sizeof(*k));
	_cleanup_(BIO_free_allp) BIO *bio = NULL;
	_cleanup_secret_ struct secret *text = NULL;
	int r;

	if (!k)
		return -ENOMEM;
	name_printable(path, k->path);
	r = key_io_read(path, is_private ? TRUST_SECRET : TRUST_UNCHANGED, &text, err);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(secret_data(text), (int)secret_size(text));
	if (!bio)
		return -ENOMEM;
	k->pkey = is_private ? PEM_read_bio_PrivateKey(bio, NULL, no_phrase, NULL)
			     : PEM_read_bio_PUBKEY(bio, NULL, no_phrase, NULL);
	k->digest = k->pkey ? digest_of_curve(k->pkey) : NULL;
	r = k->digest ? make_hint(k) : -EINVAL;
	ERR_clear_error();
	if (r == 0) {
		*ret = steal_ptr(k);
		return 0;
	}
	error_hint(err,
		   is_private
			   ? "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes "
			     "one; decrypt an encrypted one"
			   : "openssl pkey -pubout takes it from a private key, and openssl x509 "
			     "-pubkey -noout from a certificate");
	return error_set(err, r, "\"%s\" holds no %s key on P-256, P-384 or P-521 (PEM)", k->path,
			 is_private ? "private" : "public");
}

int oms_key_load_public(const char *path, struct oms_key **ret, struct error *err)
{
	return load(path, false, ret, err);
}

int oms_key_load_private(const char *path, struct oms_key **ret, struct error *err)
{
	return load(path, true, ret, err);
}

int oms_key_verify(const struct oms_key *k, const void *data, size_t size, const uint8_t *signature,
		   size_t signature_size)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok;

	if (!ctx)
		return -ENOMEM;
	ok = EVP_DigestVerifyInit_ex(ctx, NULL, k->digest, NULL, NULL, k->pkey, NULL) == 1 &&
	     EVP_DigestVerify(ctx, signature, signature_size, data, size) == 1;
	ERR_clear_error();
	return ok ? 0 : -EBADMSG;
}

int oms_key_sign(const struct oms_key *k, const void *data, size_t size, uint8_t **ret,
		 size_t *ret_size)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	_cleanup_free_ uint8_t *signature = NULL;
	size_t n = 0;

	if (!ctx || EVP_DigestSignInit_ex(ctx, NULL, k->digest, NULL, NULL, k->pkey, NULL) != 1 ||
	    EVP_DigestSign(ctx, NULL, &n, data, size) != 1)
		return -EIO;
	signature = malloc(n);
	if (!signature)
		return -ENOMEM;
	if (EVP_DigestSign(ctx, signature, &n, data, size) != 1)
		return -EIO;
	*ret = steal_ptr(signature);
	*ret_size = n;
	return 0;
}
