/*
 * Owner's keys. Job: load, generate, sign and verify with Ed25519 and nothing else. Trusts
 * OpenSSL's DER and curve code. Must never ask for a pass phrase, nor take a key of another type,
 * nor accept a private key where a public one is expected.
 */
#include "crypto/sign.h"

#include "crypto/base/digest.h"
#include "crypto/key_io.h"
#include "crypto/name.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#define OWNER_KEYS_MAX 64

struct signing_key {
	EVP_PKEY *pkey;
	uint8_t id[SIGNER_ID_SIZE];
};

struct owner_keys {
	size_t count;
	struct owner_key {
		EVP_PKEY *pkey;
		uint8_t id[SIGNER_ID_SIZE];
		int owner;
	} keys[OWNER_KEYS_MAX];
	int owner_count; /* files */
};

/* One block of a PEM file; the payload may be a private key. */
struct pem_block {
	char *label;
	char *header;
	unsigned char *der;
	long der_size;
};

static void pem_block_done(struct pem_block *b)
{
	OPENSSL_free(b->label);
	OPENSSL_free(b->header);
	if (b->der)
		OPENSSL_clear_free(b->der, (size_t)b->der_size);
	*b = (struct pem_block){0};
}

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
#define _cleanup_bio_ _cleanup_(BIO_free_allp)
#define _cleanup_pkey_ _cleanup_(EVP_PKEY_freep)
#define _cleanup_pem_ _cleanup_(pem_block_done)

/* The next block; 0, -ENOENT at the end of the file, -EINVAL. */
static int pem_next(BIO *bio, struct pem_block *b)
{
	unsigned long e;

	ERR_clear_error();
	if (PEM_read_bio(bio, &b->label, &b->header, &b->der, &b->der_size) == 1)
		return 0;
	*b = (struct pem_block){0};
	e = ERR_peek_last_error();
	ERR_clear_error();
	return ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE ? -ENOENT
											 : -EINVAL;
}

static int signer_id(EVP_PKEY *pkey, uint8_t id[SIGNER_ID_SIZE])
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(pkey, &der), r;

	if (n <= 0)
		return -EIO;
	r = digest_buffer(DIGEST_SHA256, der, (size_t)n, id);
	OPENSSL_free(der);
	return r;
}

static int open_pem(const char *path, enum trust_file what, struct secret **ret_text, BIO **ret_bio,
		    struct error *err)
{
	int r = key_io_read(path, what, ret_text, err);

	if (r < 0)
		return r;
	*ret_bio = BIO_new_mem_buf(secret_data(*ret_text), (int)secret_size(*ret_text));
	return *ret_bio ? 0 : error_set(err, -ENOMEM, "no memory for a key");
}

static bool is_encrypted(const struct pem_block *b)
{
	return strcmp(b->label, "ENCRYPTED PRIVATE KEY") == 0 || strstr(b->header, "ENCRYPTED");
}

/* The Ed25519 private key of a PKCS #8 block, or NULL. */
static EVP_PKEY *parse_private(const struct pem_block *b)
{
	const unsigned char *p = b->der;
	_cleanup_pkey_ EVP_PKEY *pkey = NULL;

	if (strcmp(b->label, PEM_STRING_PKCS8INF) != 0)
		return NULL;
	pkey = d2i_AutoPrivateKey(NULL, &p, b->der_size);
	ERR_clear_error();
	if (!pkey || p != b->der + b->der_size || !EVP_PKEY_is_a(pkey, "ED25519"))
		return NULL;
	return steal_ptr(pkey);
}

int signing_key_load(const char *path, struct signing_key **ret, struct error *err)
{
	_cleanup_(signing_key_freep) struct signing_key *k = calloc(1, sizeof(*k));
	_cleanup_secret_ struct secret *text = NULL;
	_cleanup_bio_ BIO *bio = NULL;
	_cleanup_pem_ struct pem_block block = {0};
	char printable[NAME_PRINTABLE_SIZE];
	int r;

	if (!k)
		return error_set(err, -ENOMEM, "no memory for a key");
	r = open_pem(path, TRUST_SECRET, &text, &bio, err);
	if (r < 0)
		return r;
	name_printable(path, printable);
	r = pem_next(bio, &block);
	if (r == 0 && is_encrypted(&block)) {
		error_set(err, -EINVAL, "the private key in \"%s\" is encrypted", printable);
		error_hint(err, "decrypt it with openssl pkey -in OLD -out NEW on a safe machine");
		return -EINVAL;
	}
	if (r == 0)
		k->pkey = parse_private(&block);
	if (!k->pkey) {
		error_set(err, -EINVAL, "\"%s\" holds no Ed25519 private key (PEM, PKCS #8)",
			  printable);
		error_hint(err, "sealctl keygen makes one");
		return -EINVAL;
	}
	r = signer_id(k->pkey, k->id);
	if (r < 0)
		return error_set(err, r, "cannot use the private key in \"%s\"", printable);
	*ret = steal_ptr(k);
	return 0;
}

void signing_key_free(struct signing_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->pkey);
	free(k);
}

const uint8_t *signing_key_id(const struct signing_key *k)
{
	return k->id;
}

int signing_key_sign(const struct signing_key *k, const void *data, size_t size,
		     uint8_t sig[SIGNATURE_SIZE])
{
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t sig_size = SIGNATURE_SIZE;

	if (!ctx)
		return -ENOMEM;
	if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) != 1 ||
	    EVP_DigestSign(ctx, sig, &sig_size, data, size) != 1 || sig_size != SIGNATURE_SIZE)
		return -EIO;
	return 0;
}

static int create_from_bio(const char *path, BIO *bio, mode_t mode, struct error *err)
{
	char *data = NULL;
	long size = BIO_get_mem_data(bio, &data);

	if (size <= 0)
		return error_set(err, -EIO, "cannot write a key");
	return key_io_create(path, data, (size_t)size, mode, err);
}

int signing_key_generate(const char *private_path, const char *public_path, struct error *err)
{
	_cleanup_pkey_ EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	_cleanup_bio_ BIO *priv = BIO_new(BIO_s_secmem());
	_cleanup_bio_ BIO *pub = BIO_new(BIO_s_mem());
	int r;

	if (!pkey || !priv || !pub)
		return error_set(err, -ENOMEM, "cannot make a key pair");
	if (PEM_write_bio_PKCS8PrivateKey(priv, pkey, NULL, NULL, 0, NULL, NULL) != 1 ||
	    PEM_write_bio_PUBKEY(pub, pkey) != 1)
		return error_set(err, -EIO, "cannot write a key pair as PEM");
	r = create_from_bio(private_path, priv, 0600, err);
	if (r < 0)
		return r;
	r = create_from_bio(public_path, pub, 0644, err);
	if (r < 0)
		(void)unlink(private_path);
	return r;
}

int owner_keys_new(struct owner_keys **ret)
{
	struct owner_keys *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	*ret = set;
	return 0;
}

/* Takes the block's key into the set. printable: the file, for messages. */
static int add_public(struct owner_keys *set, const struct pem_block *b, const char *printable,
		      struct error *err)
{
	const unsigned char *p = b->der;
	_cleanup_pkey_ EVP_PKEY *pkey = NULL;
	struct owner_key *slot = &set->keys[set->count];
	int r;

	pkey = d2i_PUBKEY(NULL, &p, b->der_size);
	ERR_clear_error();
	if (!pkey || p != b->der + b->der_size || !EVP_PKEY_is_a(pkey, "ED25519"))
		return error_set(err, -EINVAL, "\"%s\" holds a public key that is not Ed25519",
				 printable);
	if (set->count == OWNER_KEYS_MAX)
		return error_set(err, -EINVAL, "\"%s\": more than %d owner keys", printable,
				 OWNER_KEYS_MAX);
	r = signer_id(pkey, slot->id);
	if (r < 0)
		return error_set(err, r, "cannot use the public key in \"%s\"", printable);
	if (owner_keys_contain(set, slot->id))
		return 0;
	slot->pkey = steal_ptr(pkey);
	slot->owner = set->owner_count;
	set->count++;
	return 0;
}

static int add_block(struct owner_keys *set, const struct pem_block *b, const char *printable,
		     size_t *found, struct error *err)
{
	if (strstr(b->label, "PRIVATE KEY")) {
		error_set(err, -EINVAL,
			  "\"%s\" holds a private key where an owner's public key "
			  "is expected",
			  printable);
		error_hint(err, "keep the private key off this machine; name the .pub file");
		return -EINVAL;
	}
	if (strcmp(b->label, PEM_STRING_PUBLIC) != 0)
		return 0;
	++*found;
	return add_public(set, b, printable, err);
}

int owner_keys_add_file(struct owner_keys *set, const char *path, struct error *err)
{
	_cleanup_secret_ struct secret *text = NULL;
	_cleanup_bio_ BIO *bio = NULL;
	char printable[NAME_PRINTABLE_SIZE];
	size_t found = 0;
	int r = open_pem(path, TRUST_UNCHANGED, &text, &bio, err);

	if (r < 0)
		return r;
	name_printable(path, printable);
	for (;;) {
		_cleanup_pem_ struct pem_block block = {0};

		r = pem_next(bio, &block);
		if (r == -ENOENT)
			break;
		if (r < 0)
			return error_set(err, r, "\"%s\" is not a well-formed PEM file", printable);
		r = add_block(set, &block, printable, &found, err);
		if (r < 0)
			return r;
	}
	if (found == 0)
		return error_set(err, -EINVAL, "\"%s\" holds no public key (PEM)", printable);
	set->owner_count++;
	return 0;
}

int owner_keys_add_signer(struct owner_keys *set, const struct signing_key *k)
{
	struct owner_key *slot = &set->keys[set->count];

	if (set->count == OWNER_KEYS_MAX)
		return -ENOSPC;
	if (EVP_PKEY_up_ref(k->pkey) != 1)
		return -EIO;
	slot->pkey = k->pkey;
	slot->owner = set->owner_count++;
	memcpy(slot->id, k->id, sizeof(slot->id));
	set->count++;
	return 0;
}

void owner_keys_free(struct owner_keys *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->count; i++)
		EVP_PKEY_free(set->keys[i].pkey);
	free(set);
}

size_t owner_keys_count(const struct owner_keys *set)
{
	return set->count;
}

const uint8_t *owner_keys_id(const struct owner_keys *set, size_t index)
{
	return set->keys[index].id;
}

static const struct owner_key *find(const struct owner_keys *set, const uint8_t id[SIGNER_ID_SIZE])
{
	for (size_t i = 0; i < set->count; i++)
		if (memcmp(set->keys[i].id, id, SIGNER_ID_SIZE) == 0)
			return &set->keys[i];
	return NULL;
}

int owner_keys_owner(const struct owner_keys *set, const uint8_t id[SIGNER_ID_SIZE])
{
	const struct owner_key *key = find(set, id);

	return key ? key->owner : -ENOKEY;
}

bool owner_keys_contain(const struct owner_keys *set, const uint8_t id[SIGNER_ID_SIZE])
{
	return find(set, id) != NULL;
}

int owner_keys_verify(const struct owner_keys *set, const uint8_t id[SIGNER_ID_SIZE],
		      const void *data, size_t size, const uint8_t sig[SIGNATURE_SIZE])
{
	const struct owner_key *key = find(set, id);
	_cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = NULL;
	int ok;

	if (!key)
		return -ENOKEY;
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return -ENOMEM;
	if (EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) != 1)
		return -EIO;
	ok = EVP_DigestVerify(ctx, sig, SIGNATURE_SIZE, data, size);
	ERR_clear_error();
	return ok == 1 ? 0 : -EBADMSG;
}
