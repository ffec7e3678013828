/*
 * AES-256-GCM through OpenSSL's EVP. Job: seal and open with one context for each key. Trusts
 * OpenSSL to compare tags in constant time. Must never leave plaintext of a failed tag in the
 * caller's buffer.
 */
#include "crypto/aead.h"

#include "crypto/base/secret.h"

#include <errno.h>
#include <openssl/evp.h>

struct aead {
	EVP_CIPHER_CTX *ctx;
};

int aead_new(const uint8_t key[AEAD_KEY_SIZE], struct aead **ret)
{
	_cleanup_aead_ struct aead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->ctx = EVP_CIPHER_CTX_new();
	if (!a->ctx)
		return -ENOMEM;
	if (EVP_EncryptInit_ex2(a->ctx, EVP_aes_256_gcm(), key, NULL, NULL) != 1)
		return -EIO;
	*ret = steal_ptr(a);
	return 0;
}

void aead_free(struct aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->ctx);
	free(a);
}

/* Nonce, additional data and text; the tag is the caller's business. */
static int process(struct aead *a, const struct aead_input *in, uint8_t *out, int encrypt)
{
	int n = 0;

	if (in->text_size > AEAD_SIZE_MAX || in->aad_size > AEAD_SIZE_MAX)
		return -EINVAL;
	if (EVP_CipherInit_ex2(a->ctx, NULL, NULL, in->nonce, encrypt, NULL) != 1)
		return -EIO;
	if (in->aad_size > 0 && EVP_CipherUpdate(a->ctx, NULL, &n, in->aad, (int)in->aad_size) != 1)
		return -EIO;
	if (in->text_size > 0 &&
	    (EVP_CipherUpdate(a->ctx, out, &n, in->text, (int)in->text_size) != 1 ||
	     (size_t)n != in->text_size))
		return -EIO;
	return 0;
}

int aead_seal(struct aead *a, const struct aead_input *in, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE])
{
	uint8_t rest[AEAD_TAG_SIZE];
	int n = 0, r = process(a, in, out, 1);

	if (r < 0)
		return r;
	if (EVP_CipherFinal_ex(a->ctx, rest, &n) != 1 || n != 0)
		return -EIO;
	if (EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) != 1)
		return -EIO;
	return 0;
}

int aead_open(struct aead *a, const struct aead_input *in, const uint8_t tag[AEAD_TAG_SIZE],
	      uint8_t *out)
{
	uint8_t rest[AEAD_TAG_SIZE], expected[AEAD_TAG_SIZE];
	int n = 0, r = process(a, in, out, 0);

	for (size_t i = 0; i < AEAD_TAG_SIZE; i++)
		expected[i] = tag[i];
	if (r == 0 &&
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, expected) != 1)
		r = -EIO;
	if (r == 0 && EVP_CipherFinal_ex(a->ctx, rest, &n) != 1)
		r = -EBADMSG;
	if (r < 0)
		wipe(out, in->text_size);
	return r;
}
