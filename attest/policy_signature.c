/*
 * Signed policies. Job: those of one key from a file of systemd, each with a good signature. Trusts
 * the key only. Must never hand out a policy that the key did not sign.
 */
#include "attest/policy_signature.h"

#include "attest/tpm_secret.h"
#include "crypto/base/encode.h"
#include "crypto/base/fileio.h"
#include "crypto/base/json.h"
#include "crypto/base/trust_file.h"
#include "crypto/key_io.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#define FILE_NAME "tpm2-pcr-signature.json"

static const char *const places[] = {"/etc/systemd/" FILE_NAME, "/run/systemd/" FILE_NAME,
				     "/usr/lib/systemd/" FILE_NAME};
static const enum digest_alg banks[] = {DIGEST_SHA256, DIGEST_SHA384};

DEFINE_CLEANUP(BIO *, BIO_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

static inline void openssl_freep(uint8_t **p)
{
	OPENSSL_free(*p);
}

struct reader {
	EVP_PKEY *key;
	size_t key_size;
	char fingerprint[2 * SHA256_SIZE + 1];
	const char *name;
	struct policy_signatures *out;
	struct error *err;
};

int policy_key_fingerprint(const uint8_t *modulus, size_t size, uint8_t out[SHA256_SIZE])
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(openssl_freep) uint8_t *der = NULL;
	int n = tpm_rsa_public(modulus, size, &key) == 0 ? i2d_PublicKey(key, &der) : -1;

	ERR_clear_error();
	return n > 0 ? digest_buffer(DIGEST_SHA256, der, (size_t)n, out) : -EIO;
}

static int malformed(const struct reader *r, const char *what)
{
	return error_set(r->err, -EPROTO, "%s is no file of signed policies: %s", r->name, what);
}

static int take_pcrs(const struct reader *r, const json_t *list, uint32_t *ret)
{
	*ret = 0;
	for (size_t n = 0; n < json_array_size(list); n++) {
		const json_t *value = json_array_get(list, n);
		json_int_t pcr = json_is_integer(value) ? json_integer_value(value) : -1;

		if (pcr < 0 || pcr >= SLOT_TPM_PCRS || (*ret & UINT32_C(1) << pcr))
			return malformed(r, "pcrs is not a list of different PCRs");
		*ret |= UINT32_C(1) << pcr;
	}
	return *ret ? 0 : malformed(r, "pcrs is not a list of PCRs");
}

static bool verifies(const struct reader *r, const struct signed_policy *p)
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good =
		ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, r->key) == 1 &&
		EVP_DigestVerify(ctx, p->signature, r->key_size, p->policy, sizeof(p->policy)) == 1;

	ERR_clear_error();
	return good;
}

static int take_entry(struct reader *r, enum digest_alg bank, const json_t *entry)
{
	const char *key = json_text(entry, "pkfp"), *policy = json_text(entry, "pol");
	const char *text = json_text(entry, "sig");
	_cleanup_free_ uint8_t *signature = NULL;
	struct signed_policy p = {.bank = bank};
	size_t size = 0;
	int e;

	if (!key || !policy || !text)
		return malformed(r, "an entry without pkfp, pol or sig");
	if (strcasecmp(key, r->fingerprint) != 0)
		return 0;
	if (hex_decode(policy, p.policy, sizeof(p.policy)) < 0)
		return malformed(r, "pol is not the digest of a policy");
	e = take_pcrs(r, json_object_get(entry, "pcrs"), &p.selection);
	if (e < 0)
		return e;
	if (base64_decode(text, SLOT_TPM_RSA_MAX, &signature, &size) < 0 || size != r->key_size)
		return malformed(r, "sig is not as long as its key");
	memcpy(p.signature, signature, size);
	if (!verifies(r, &p)) {
		error_set(r->err, -EBADMSG,
			  "%s: a signature does not verify with the policy key %.16s…", r->name,
			  r->fingerprint);
		error_hint(r->err, "the file was altered: get it again from who builds the image");
		return -EBADMSG;
	}
	if (r->out->count == POLICY_SIGNATURES_MAX)
		return malformed(r, "it has too many entries");
	r->out->items[r->out->count++] = p;
	return 0;
}

static int take_all(struct reader *r, const json_t *root)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < ARRAY_LEN(banks); i++) {
		const json_t *list = json_object_get(root, digest_name(banks[i]));

		if (list && !json_is_array(list))
			return malformed(r, "a bank is not a list");
		for (size_t n = 0; e == 0 && n < json_array_size(list); n++)
			e = take_entry(r, banks[i], json_array_get(list, n));
	}
	if (e < 0 || r->out->count > 0)
		return e;
	error_set(r->err, -EKEYREJECTED, "%s has no policy that is signed with the key %.16s…",
		  r->name, r->fingerprint);
	error_hint(r->err,
		   "this image was not signed with the policy key that the model was sealed "
		   "for: boot one that was, or reseal with its key");
	return -EKEYREJECTED;
}

void policy_signatures_clear(struct policy_signatures *p)
{
	free(p->items);
	free(p->path);
	*p = (struct policy_signatures){0};
}

int policy_signatures_parse(const void *json, size_t json_size, const char *name,
			    const uint8_t *modulus, size_t size, struct policy_signatures *ret,
			    struct error *err)
{
	_cleanup_(policy_signatures_clear) struct policy_signatures found = {0};
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_json_ json_t *root = json_object_parse(json, json_size);
	struct reader r = {.key_size = size, .name = name, .out = &found, .err = err};
	uint8_t fingerprint[SHA256_SIZE];
	int e;

	if (!root)
		return malformed(&r, "it is no JSON object");
	found.items = calloc(POLICY_SIGNATURES_MAX, sizeof(*found.items));
	found.path = strdup(name);
	if (!found.items || !found.path)
		return error_set(err, -ENOMEM, "out of memory");
	e = tpm_rsa_public(modulus, size, &key);
	r.key = key;
	if (e == 0)
		e = policy_key_fingerprint(modulus, size, fingerprint);
	if (e < 0)
		return error_set(err, -EIO, "the policy key of the seal cannot be used");
	hex_encode(fingerprint, sizeof(fingerprint), r.fingerprint);
	e = take_all(&r, root);
	if (e < 0)
		return e;
	*ret = found;
	found = (struct policy_signatures){0};
	return 0;
}

static int no_file(const char *path, int code, struct error *err)
{
	if (path)
		error_set(err, code, "cannot read the signed policies %s: %s", path,
			  strerror(-code));
	else
		error_set(err, code,
			  "the model is sealed for signed policies, and there is no " FILE_NAME
			  " in /etc/systemd, /run/systemd or /usr/lib/systemd");
	error_hint(err,
		   "systemd-measure sign makes it for an image, and systemd-stub puts it there; "
		   "name another file with tpm-policy-signature=FILE");
	return code;
}

int policy_signatures_load(const char *path, const uint8_t *modulus, size_t size,
			   struct policy_signatures *ret, struct error *err)
{
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
	_cleanup_free_ uint8_t *data = NULL;
	const char *name = path;
	size_t data_size = 0;
	int r;

	for (size_t i = 0; !path && fd < 0 && i < ARRAY_LEN(places); i++) {
		name = places[i];
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	}
	if (fd < 0)
		return no_file(path, -errno, err);
	r = file_load(fd, POLICY_SIGNATURE_FILE_MAX, &data, &data_size);
	if (r < 0)
		return no_file(name, r, err);
	return policy_signatures_parse(data, data_size, name, modulus, size, ret, err);
}

int policy_key_read(const char *path, uint8_t modulus[SLOT_TPM_RSA_MAX], size_t *ret_size,
		    struct error *err)
{
	_cleanup_secret_ struct secret *text = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(BN_freep) BIGNUM *n = NULL, *e = NULL;
	_cleanup_(BIO_freep) BIO *bio = NULL;
	int r = key_io_read(path, TRUST_UNCHANGED, &text, err);

	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(secret_data(text), (int)secret_size(text));
	key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	if (!key || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1 || !BN_is_word(e, 65537) ||
	    (BN_num_bits(n) != 2048 && BN_num_bits(n) != 3072)) {
		ERR_clear_error();
		error_set(err, -EINVAL,
			  "%s holds no RSA public key of 2048 or 3072 bits (PEM, exponent 65537)",
			  path);
		error_hint(err, "it is the public half of the key that systemd-measure sign uses");
		return -EINVAL;
	}
	*ret_size = (size_t)BN_num_bytes(n);
	return BN_bn2bin(n, modulus) > 0 ? 0 : error_set(err, -EIO, "cannot read %s", path);
}
