/*
 * Storage keys and secrets for them. Job: read a public area that somebody gave us, and share a
 * secret with its TPM. Trusts OpenSSL. Must never take a key whose private half may be outside a
 * TPM, nor keep a secret in memory that it does not wipe.
 */
#include "attest/tpm_secret.h"

#include "crypto/base/cursor.h"
#include "crypto/base/fileio.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>
#include <tss2/tss2_tpm2_types.h>
#include <unistd.h>

#define COORDINATE 32
#define UNCOMPRESSED 4
#define RSA_EXPONENT 65537
#define NEEDED_ATTRIBUTES                                                                   \
	(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | \
	 TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)
#define AREA_MAX (STORAGE_PUBLIC_MAX + 2)

DEFINE_CLEANUP(EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)
DEFINE_CLEANUP(OSSL_PARAM *, OSSL_PARAM_free)
DEFINE_CLEANUP(OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free)

static const char *parse_ecc(struct cursor *c, struct storage_key *k)
{
	if (cursor_be16(c) != TPM2_ALG_NULL || cursor_be16(c) != TPM2_ECC_NIST_P256 ||
	    cursor_be16(c) != TPM2_ALG_NULL)
		return "its curve is not P-256";
	for (size_t at = 0; at < sizeof(k->point); at += COORDINATE) {
		if (cursor_be16(c) != COORDINATE)
			return "its point is not of P-256";
		cursor_copy(c, k->point + at, COORDINATE);
	}
	return NULL;
}

static const char *parse_rsa(struct cursor *c, struct storage_key *k)
{
	unsigned scheme = cursor_be16(c), bits = cursor_be16(c), exponent = cursor_be32(c);

	if (scheme != TPM2_ALG_NULL || (bits != 2048 && bits != 3072) ||
	    (exponent != 0 && exponent != RSA_EXPONENT))
		return "it is neither RSA-2048 nor RSA-3072";
	k->modulus_size = bits / 8;
	if (cursor_be16(c) != k->modulus_size)
		return "its modulus has another size than it states";
	cursor_copy(c, k->modulus, k->modulus_size);
	return NULL;
}

static const char *parse_area(struct cursor *c, struct storage_key *k)
{
	unsigned type = cursor_be16(c), name_alg = cursor_be16(c), policy;
	uint32_t attributes = cursor_be32(c);
	const char *problem;

	policy = cursor_be16(c);
	(void)cursor_take(c, policy);
	if (c->failed || (type != TPM2_ALG_ECC && type != TPM2_ALG_RSA))
		return "it is neither an ECC nor an RSA key";
	if (name_alg != TPM2_ALG_SHA256)
		return "its name is not a SHA-256";
	if ((attributes & NEEDED_ATTRIBUTES) != NEEDED_ATTRIBUTES ||
	    (attributes & TPMA_OBJECT_SIGN_ENCRYPT))
		return "it is not the storage key of one TPM, usable without a policy";
	if (cursor_be16(c) != TPM2_ALG_AES)
		return "it does not protect objects with AES";
	k->aes_bits = cursor_be16(c);
	if (cursor_be16(c) != TPM2_ALG_CFB || (k->aes_bits != 128 && k->aes_bits != 256))
		return "it does not protect objects with AES-128-CFB or AES-256-CFB";
	problem = type == TPM2_ALG_ECC ? parse_ecc(c, k) : parse_rsa(c, k);
	if (problem)
		return problem;
	return cursor_done(c) ? NULL : "it is cut short, or bytes follow it";
}

int storage_key_parse(const uint8_t *bytes, size_t size, struct storage_key *ret, struct error *err)
{
	struct cursor c = cursor_init(bytes, size);
	struct storage_key k = {.public_size = cursor_be16(&c)};
	const char *problem = "it is no TPM2B_PUBLIC";

	if (!c.failed && k.public_size == cursor_left(&c) && k.public_size <= sizeof(k.public))
		problem = parse_area(&c, &k);
	if (problem)
		return error_set(err, -EPROTO, "no storage key of a TPM: %s", problem);
	memcpy(k.public, bytes + 2, k.public_size);
	if (digest_buffer(DIGEST_SHA256, k.public, k.public_size, k.name) < 0)
		return error_set(err, -EIO, "cannot compute the name of a storage key");
	*ret = k;
	return 0;
}

int storage_key_read(const char *path, struct storage_key *ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	uint8_t bytes[AREA_MAX + 1];
	ssize_t n = fd < 0 ? -errno : file_read(fd, bytes, sizeof(bytes));
	int r;

	if (n < 0)
		return error_set(err, (int)n, "cannot read %s: %s", path, strerror((int)-n));
	r = storage_key_parse(bytes, (size_t)n, ret, err);
	if (r < 0) {
		error_hint(err, "sealctl tpm-key -o FILE writes one on the machine with the TPM");
		return error_prefix(err, r, "%s", path);
	}
	return 0;
}

const char *storage_key_kind(const struct storage_key *k)
{
	return k->modulus_size == 0	? "ECC P-256"
	       : k->modulus_size == 256 ? "RSA 2048"
					: "RSA 3072";
}

static int public_key(const char *type, OSSL_PARAM *params, EVP_PKEY **ret)
{
	_cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *ctx =
		EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

	return ctx && params && EVP_PKEY_fromdata_init(ctx) == 1 &&
			       EVP_PKEY_fromdata(ctx, ret, EVP_PKEY_PUBLIC_KEY, params) == 1
		       ? 0
		       : -EPROTO;
}

static int ecc_public(const struct storage_key *k, EVP_PKEY **ret)
{
	uint8_t point[1 + SLOT_TPM_POINT_SIZE] = {UNCOMPRESSED};
	char group[] = "P-256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
		OSSL_PARAM_construct_end(),
	};

	memcpy(point + 1, k->point, sizeof(k->point));
	return public_key("EC", params, ret);
}

int tpm_rsa_public(const uint8_t *modulus, size_t size, EVP_PKEY **ret)
{
	_cleanup_(OSSL_PARAM_BLD_freep) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	_cleanup_(BN_freep) BIGNUM *n = BN_bin2bn(modulus, (int)size, NULL);
	_cleanup_(OSSL_PARAM_freep) OSSL_PARAM *params = NULL;

	if (!build || !n || OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
	    OSSL_PARAM_BLD_push_uint(build, OSSL_PKEY_PARAM_RSA_E, RSA_EXPONENT) != 1)
		return -ENOMEM;
	params = OSSL_PARAM_BLD_to_param(build);
	return public_key("RSA", params, ret);
}

/* The x coordinate of what both sides can compute. */
static int agree(EVP_PKEY *ours, EVP_PKEY *theirs, uint8_t out[COORDINATE])
{
	_cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(ours, NULL);
	size_t size = COORDINATE;

	return ctx && EVP_PKEY_derive_init(ctx) == 1 &&
			       EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
			       EVP_PKEY_derive(ctx, out, &size) == 1 && size == COORDINATE
		       ? 0
		       : -EIO;
}

/* KDFe: one block of SHA-256. */
static int kdfe(const uint8_t z[COORDINATE], const char *label, const uint8_t *u, const uint8_t *v,
		uint8_t out[TPM_SEED_SIZE])
{
	_cleanup_digest_ struct digest *d = NULL;
	uint8_t counter[4];
	int r = digest_new(DIGEST_SHA256, &d);

	put_be32(counter, 1);
	if (r == 0)
		r = digest_update(d, counter, sizeof(counter));
	if (r == 0)
		r = digest_update(d, z, COORDINATE);
	if (r == 0)
		r = digest_update(d, label, strlen(label) + 1);
	if (r == 0)
		r = digest_update(d, u, COORDINATE);
	if (r == 0)
		r = digest_update(d, v, COORDINATE);
	return r < 0 ? r : digest_final(d, out);
}

static int share_ecc(const struct storage_key *k, const char *label, uint8_t seed[TPM_SEED_SIZE],
		     uint8_t *encrypted)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *theirs = NULL, *ours = EVP_EC_gen("P-256");
	uint8_t point[1 + SLOT_TPM_POINT_SIZE], z[COORDINATE];
	size_t size = 0;
	int r = ours ? ecc_public(k, &theirs) : -EIO;

	if (r == 0 && (EVP_PKEY_get_octet_string_param(ours, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
						       point, sizeof(point), &size) != 1 ||
		       size != sizeof(point) || point[0] != UNCOMPRESSED))
		r = -EIO;
	if (r == 0)
		r = agree(ours, theirs, z);
	if (r == 0)
		r = kdfe(z, label, point + 1, k->point, seed);
	wipe(z, sizeof(z));
	if (r == 0)
		memcpy(encrypted, point + 1, SLOT_TPM_POINT_SIZE);
	return r;
}

static int oaep(EVP_PKEY *key, const char *label, const uint8_t seed[TPM_SEED_SIZE],
		uint8_t *encrypted, size_t size)
{
	_cleanup_(EVP_PKEY_CTX_freep) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	char *copy = OPENSSL_strdup(label);
	size_t got = size;

	if (!ctx || !copy || EVP_PKEY_encrypt_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) != 1 ||
	    EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) != 1 ||
	    EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, copy, (int)strlen(label) + 1) != 1) {
		OPENSSL_free(copy);
		return -EIO;
	}
	return EVP_PKEY_encrypt(ctx, encrypted, &got, seed, TPM_SEED_SIZE) == 1 && got == size
		       ? 0
		       : -EIO;
}

int storage_key_share(const struct storage_key *k, const char *label, uint8_t seed[TPM_SEED_SIZE],
		      uint8_t *encrypted, size_t *ret_size)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	int r;

	if (k->modulus_size == 0) {
		*ret_size = SLOT_TPM_POINT_SIZE;
		r = share_ecc(k, label, seed, encrypted);
	} else {
		*ret_size = k->modulus_size;
		r = RAND_bytes(seed, TPM_SEED_SIZE) == 1
			    ? tpm_rsa_public(k->modulus, k->modulus_size, &key)
			    : -EIO;
		if (r == 0)
			r = oaep(key, label, seed, encrypted, k->modulus_size);
	}
	ERR_clear_error();
	return r;
}

int tpm_kdfa(struct kdf_bytes key, const char *label, struct kdf_bytes context, uint8_t *out,
	     size_t size)
{
	uint8_t counter[4], bits[4], block[SHA256_SIZE];
	const struct kdf_bytes parts[] = {{counter, sizeof(counter)},
					  {label, strlen(label) + 1},
					  context,
					  {bits, sizeof(bits)}};
	int r;

	if (size > sizeof(block))
		return -EINVAL;
	put_be32(counter, 1);
	put_be32(bits, (uint32_t)(8 * size));
	r = kdf_hmac_sha256(key, parts, ARRAY_LEN(parts), block);
	if (r == 0)
		memcpy(out, block, size);
	wipe(block, sizeof(block));
	return r;
}

int tpm_cfb(const uint8_t *key, size_t key_size, const uint8_t iv[16], bool encrypt,
	    const uint8_t *in, size_t size, uint8_t *out)
{
	_cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *aes = key_size == 32 ? EVP_aes_256_cfb128() : EVP_aes_128_cfb128();
	int done = 0;

	return ctx && EVP_CipherInit_ex(ctx, aes, NULL, key, iv, encrypt) == 1 &&
			       EVP_CipherUpdate(ctx, out, &done, in, (int)size) == 1 &&
			       done == (int)size
		       ? 0
		       : -EIO;
}
