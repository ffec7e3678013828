/*
 * Key derivation over OpenSSL's EVP_KDF and EVP_MAC. Job: from a data key to the keys of one
 * seal. Trusts OpenSSL. Must never leave derived bytes outside secret memory.
 */
#include "crypto/kdf.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#define INFO_LABEL_MAX 16
#define BOUND_AT 0x08
#define BOUND_MAX 0x38
#define ID_AT 0x10

DEFINE_CLEANUP(EVP_KDF *, EVP_KDF_free)
DEFINE_CLEANUP(EVP_KDF_CTX *, EVP_KDF_CTX_free)
DEFINE_CLEANUP(EVP_MAC *, EVP_MAC_free)
DEFINE_CLEANUP(EVP_MAC_CTX *, EVP_MAC_CTX_free)

/* OSSL_PARAM wants mutable pointers although a KDF only reads through these. */
static OSSL_PARAM octets(const char *key, struct kdf_bytes b)
{
	void *data;

	memcpy(&data, &b.data, sizeof(data));
	return OSSL_PARAM_construct_octet_string(key, data, b.size);
}

int kdf_hkdf_sha256(struct kdf_bytes ikm, struct kdf_bytes salt, struct kdf_bytes info,
		    uint8_t *out, size_t out_size)
{
	_cleanup_(EVP_KDF_freep) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	_cleanup_(EVP_KDF_CTX_freep) EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	char md[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md, 0),
		octets(OSSL_KDF_PARAM_KEY, ikm),
		octets(OSSL_KDF_PARAM_SALT, salt),
		octets(OSSL_KDF_PARAM_INFO, info),
		OSSL_PARAM_construct_end(),
	};

	if (out_size == 0 || out_size > KDF_HKDF_MAX)
		return -EINVAL;
	if (!ctx)
		return -EIO;
	return EVP_KDF_derive(ctx, out, out_size, params) == 1 ? 0 : -EIO;
}

int kdf_hmac_sha256(struct kdf_bytes key, const struct kdf_bytes *parts, size_t part_count,
		    uint8_t out[SHA256_SIZE])
{
	_cleanup_(EVP_MAC_freep) EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	_cleanup_(EVP_MAC_CTX_freep) EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char md[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, md, 0),
		OSSL_PARAM_construct_end(),
	};
	size_t written = 0;

	if (!ctx || EVP_MAC_init(ctx, key.data, key.size, params) != 1)
		return -EIO;
	for (size_t i = 0; i < part_count; i++)
		if (EVP_MAC_update(ctx, parts[i].data, parts[i].size) != 1)
			return -EIO;
	if (EVP_MAC_final(ctx, out, &written, SHA256_SIZE) != 1 || written != SHA256_SIZE)
		return -EIO;
	return 0;
}

/* Binds the header's bytes from the version to `bound_end`. */
static int derive(const struct secret *key, const uint8_t *header, size_t bound_end,
		  const char *label, size_t out_size, struct secret **ret)
{
	uint8_t info[INFO_LABEL_MAX + BOUND_MAX];
	size_t label_size = strlen(label), bound = bound_end - BOUND_AT;
	_cleanup_secret_ struct secret *out = NULL;
	int r;

	if (secret_size(key) != SEAL_DATA_KEY_SIZE)
		return -EINVAL;
	memcpy(info, label, label_size); /* NOLINT(bugprone-not-null-terminated-result): bytes */
	memcpy(info + label_size, header + BOUND_AT, bound);
	r = secret_new(out_size, &out);
	if (r < 0)
		return r;
	r = kdf_hkdf_sha256((struct kdf_bytes){secret_data(key), SEAL_DATA_KEY_SIZE},
			    (struct kdf_bytes){header + ID_AT, SEAL_FILE_ID_SIZE},
			    (struct kdf_bytes){info, label_size + bound}, secret_bytes(out),
			    out_size);
	if (r < 0)
		return r;
	*ret = steal_ptr(out);
	return 0;
}

int kdf_seal_keys(const struct secret *data_key, const uint8_t core_start[0x40],
		  struct secret **ret)
{
	return derive(data_key, core_start, 0x40, "sealedfs v2", KDF_OUTPUT_SIZE, ret);
}

int kdf_set_keys(const struct secret *set_key, const uint8_t header_start[0x30],
		 struct secret **ret)
{
	return derive(set_key, header_start, 0x30, "sealedfs set v1", KDF_SET_OUTPUT_SIZE, ret);
}
