/*
 * AES-256-GCM by OpenSSL's EVP or by libipsec-mb. Job: seal and open with one context for each key,
 * by the library that was chosen when it was made. Trusts both to compute correctly. Must never
 * leave plaintext of a failed tag in the caller's buffer; a stream's caller must discard it.
 */
#include "crypto/aead.h"

#include "crypto/backend.h"
#include "crypto/base/secret.h"
#include "crypto/ipsec_mb.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

struct aead {
	struct ipsec_mb_key *mb; /* NULL: OpenSSL */
	EVP_CIPHER_CTX *ctx;
};

/* One message under way; only libipsec-mb keeps it outside the aead. */
struct message {
	bool encrypt;
	struct ipsec_mb_gcm mb;
};

int aead_new(const uint8_t key[AEAD_KEY_SIZE], struct aead **ret)
{
	_cleanup_aead_ struct aead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	if (crypto_gcm_by_ipsec_mb()) {
		int r = ipsec_mb_key_new(key, &a->mb);

		if (r < 0)
			return r;
		*ret = steal_ptr(a);
		return 0;
	}
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
	ipsec_mb_key_free(a->mb);
	EVP_CIPHER_CTX_free(a->ctx);
	free(a);
}

bool aead_is_shareable(const struct aead *a)
{
	return a->mb != NULL;
}

static int begin(struct aead *a, struct message *m, const struct aead_input *in)
{
	int n = 0;

	if (a->mb) {
		ipsec_mb_gcm_begin(a->mb, &m->mb, in->nonce, in->aad, in->aad_size);
		return 0;
	}
	if (EVP_CipherInit_ex2(a->ctx, NULL, NULL, in->nonce, m->encrypt, NULL) != 1)
		return -EIO;
	if (in->aad_size > 0 && EVP_CipherUpdate(a->ctx, NULL, &n, in->aad, (int)in->aad_size) != 1)
		return -EIO;
	return 0;
}

static int update(struct aead *a, struct message *m, const uint8_t *in, size_t size, uint8_t *out)
{
	int n = 0;

	if (a->mb) {
		ipsec_mb_gcm_update(a->mb, &m->mb, in, size, out, m->encrypt);
		return 0;
	}
	return EVP_CipherUpdate(a->ctx, out, &n, in, (int)size) == 1 && (size_t)n == size ? 0
											  : -EIO;
}

static int update_watched(struct aead *a, struct message *m, const struct aead_input *in,
			  uint8_t *out)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < in->text_size; at += AEAD_PIECE_SIZE) {
		size_t size = MIN(in->text_size - at, AEAD_PIECE_SIZE);

		/* Sealing may overwrite the plaintext. */
		if (m->encrypt)
			r = in->watch(in->watch_ctx, in->text + at, size);
		if (r == 0)
			r = update(a, m, in->text + at, size, out + at);
		if (r == 0 && !m->encrypt)
			r = in->watch(in->watch_ctx, out + at, size);
	}
	return r;
}

/* Nonce, additional data and text. */
static int process(struct aead *a, struct message *m, const struct aead_input *in, uint8_t *out)
{
	int r;

	if (in->text_size > AEAD_SIZE_MAX || in->aad_size > AEAD_SIZE_MAX)
		return -EINVAL;
	r = begin(a, m, in);
	if (r < 0 || in->text_size == 0)
		return r;
	return in->watch ? update_watched(a, m, in, out)
			 : update(a, m, in->text, in->text_size, out);
}

static int make_tag(struct aead *a, struct message *m, uint8_t tag[AEAD_TAG_SIZE])
{
	uint8_t rest[AEAD_TAG_SIZE];
	int n = 0;

	if (a->mb) {
		ipsec_mb_gcm_end(a->mb, &m->mb, true, tag);
		return 0;
	}
	if (EVP_CipherFinal_ex(a->ctx, rest, &n) != 1 || n != 0)
		return -EIO;
	return EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) == 1 ? 0
											   : -EIO;
}

int aead_seal(struct aead *a, const struct aead_input *in, uint8_t *out, uint8_t tag[AEAD_TAG_SIZE])
{
	struct message m = {.encrypt = true};
	int r = process(a, &m, in, out);

	if (r == 0)
		r = make_tag(a, &m, tag);
	wipe(&m, sizeof(m));
	return r;
}

static int check_tag(struct aead *a, struct message *m, const uint8_t tag[AEAD_TAG_SIZE])
{
	uint8_t rest[AEAD_TAG_SIZE], expected[AEAD_TAG_SIZE];
	int n = 0;

	if (a->mb) {
		bool good;

		ipsec_mb_gcm_end(a->mb, &m->mb, false, expected);
		good = secret_equal(expected, tag, AEAD_TAG_SIZE);
		/* The correct tag of a forged text must not become known. */
		wipe(expected, sizeof(expected));
		return good ? 0 : -EBADMSG;
	}
	memcpy(expected, tag, AEAD_TAG_SIZE);
	if (EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, expected) != 1)
		return -EIO;
	return EVP_CipherFinal_ex(a->ctx, rest, &n) == 1 ? 0 : -EBADMSG;
}

int aead_open(struct aead *a, const struct aead_input *in, const uint8_t tag[AEAD_TAG_SIZE],
	      uint8_t *out)
{
	struct message m = {.encrypt = false};
	int r = process(a, &m, in, out);

	if (r == 0)
		r = check_tag(a, &m, tag);
	wipe(&m, sizeof(m));
	if (r < 0)
		wipe(out, in->text_size);
	return r;
}

struct aead_stream {
	struct aead *aead;
	struct message m;
	uint64_t size; /* bytes so far */
};

int aead_stream_new(const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE],
		    struct aead_stream **ret)
{
	struct aead_stream *s = calloc(1, sizeof(*s));
	const struct aead_input in = {.nonce = nonce};
	int r;

	if (!s)
		return -ENOMEM;
	r = aead_new(key, &s->aead);
	if (r == 0)
		r = begin(s->aead, &s->m, &in);
	if (r < 0) {
		aead_stream_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int aead_stream_open(struct aead_stream *s, const uint8_t *in, size_t size, uint8_t *out)
{
	if (size > AEAD_SIZE_MAX)
		return -EINVAL;
	if (size > AEAD_STREAM_MAX - s->size)
		return -EFBIG;
	s->size += size;
	return size == 0 ? 0 : update(s->aead, &s->m, in, size, out);
}

int aead_stream_finish(struct aead_stream *s, const uint8_t tag[AEAD_TAG_SIZE])
{
	return check_tag(s->aead, &s->m, tag);
}

void aead_stream_free(struct aead_stream *s)
{
	if (!s)
		return;
	aead_free(s->aead);
	wipe(s, sizeof(*s));
	free(s);
}
