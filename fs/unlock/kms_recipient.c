/*
 * Attested unlock by KMS. Job: prove to KMS what this machine runs and get one key for it. Trusts
 * KMS's verdict, and TLS to reach it. Must never write the RSA key anywhere, keep it longer than
 * the calls that share it, or ask KMS without a document.
 */
#include "fs/unlock/kms_recipient.h"

#include "fs/aws/kms.h"
#include "fs/unlock/cms.h"
#include "fs/unlock/denial.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define RSA_BITS 2048 /* the size that KMS documents for recipients */
#define NONCE_SIZE 32
/* KMS takes documents of up to five minutes; the request, with its retries, comes on top. */
#define SHARE_S 60

static inline void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static inline void openssl_freep(uint8_t **p)
{
	OPENSSL_free(*p);
}

/* A key and the document that carries it. Immutable but for holds. */
struct recipient {
	EVP_PKEY *key;
	uint8_t *document;
	size_t document_size;
	time_t made_s;	/* CLOCK_BOOTTIME: a machine that slept has an old document */
	unsigned holds; /* guarded by the lock of struct kms_recipients */
};

struct kms_recipients {
	struct attest_provider *provider;
	struct denial *denial;
	pthread_mutex_t making; /* held while a shared one is made, so that there is one */
	pthread_mutex_t lock;	/* guards what follows */
	unsigned sharing;
	struct recipient *shared; /* NULL: none yet */
};

static void recipient_free(struct recipient *one)
{
	if (!one)
		return;
	EVP_PKEY_free(one->key);
	free(one->document);
	free(one);
}

DEFINE_CLEANUP(struct recipient *, recipient_free)

int kms_recipients_new(struct attest_provider *provider, struct denial *denial,
		       struct kms_recipients **ret)
{
	struct kms_recipients *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->provider = provider;
	r->denial = denial;
	pthread_mutex_init(&r->making, NULL);
	pthread_mutex_init(&r->lock, NULL);
	*ret = r;
	return 0;
}

void kms_recipients_free(struct kms_recipients *r)
{
	if (!r)
		return;
	recipient_free(r->shared);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->making);
	free(r);
}

static time_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec;
}

static void drop(struct kms_recipients *r, struct recipient *one)
{
	bool last;

	pthread_mutex_lock(&r->lock);
	last = --one->holds == 0;
	pthread_mutex_unlock(&r->lock);
	if (last)
		recipient_free(one);
}

/* Nobody takes this one any more. */
static void stop_sharing(struct kms_recipients *r, const struct recipient *one)
{
	struct recipient *shared = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->shared == one)
		shared = steal_ptr(r->shared);
	pthread_mutex_unlock(&r->lock);
	if (shared)
		drop(r, shared);
}

void kms_recipients_share_begin(struct kms_recipients *r)
{
	pthread_mutex_lock(&r->lock);
	r->sharing++;
	pthread_mutex_unlock(&r->lock);
}

void kms_recipients_share_end(struct kms_recipients *r)
{
	struct recipient *shared = NULL;

	pthread_mutex_lock(&r->lock);
	if (--r->sharing == 0)
		shared = steal_ptr(r->shared);
	pthread_mutex_unlock(&r->lock);
	if (shared)
		drop(r, shared);
}

static int make_key(EVP_PKEY **ret, uint8_t **ret_spki, size_t *ret_spki_size, struct error *err)
{
	_cleanup_(pkey_freep) EVP_PKEY *key = EVP_RSA_gen(RSA_BITS);
	int size = key ? i2d_PUBKEY(key, ret_spki) : -1;

	ERR_clear_error();
	if (size <= 0)
		return error_set(err, -EIO, "cannot make an RSA key");
	*ret_spki_size = (size_t)size;
	*ret = steal_ptr(key);
	return 0;
}

static int make_recipient(struct kms_recipients *r, struct recipient **ret, struct error *err)
{
	_cleanup_(recipient_freep) struct recipient *one = calloc(1, sizeof(*one));
	_cleanup_(openssl_freep) uint8_t *spki = NULL;
	uint8_t nonce[NONCE_SIZE];
	struct attest_request req;
	size_t spki_size = 0;
	int e;

	if (!one)
		return -ENOMEM;
	e = attest_seed(r->provider, err);
	if (e < 0)
		return e;
	if (RAND_bytes(nonce, sizeof(nonce)) != 1)
		return error_set(err, -EIO, "no random numbers");
	e = make_key(&one->key, &spki, &spki_size, err);
	if (e < 0)
		return e;
	req = (struct attest_request){.nonce = nonce,
				      .nonce_size = sizeof(nonce),
				      .public_key = spki,
				      .public_key_size = spki_size};
	one->made_s = now_s();
	one->holds = 1;
	e = attest_document(r->provider, &req, &one->document, &one->document_size, err);
	if (e < 0)
		return e;
	*ret = steal_ptr(one);
	return 0;
}

/* *ret_sharing: whether one is wanted that others take, too. */
static struct recipient *take_shared(struct kms_recipients *r, bool *ret_sharing)
{
	struct recipient *one, *old = NULL;

	pthread_mutex_lock(&r->lock);
	*ret_sharing = r->sharing > 0;
	if (r->shared && now_s() - r->shared->made_s >= SHARE_S)
		old = steal_ptr(r->shared);
	one = r->shared;
	if (one)
		one->holds++;
	pthread_mutex_unlock(&r->lock);
	if (old)
		drop(r, old);
	return one;
}

/* The caller drops *ret. */
static int take_recipient(struct kms_recipients *r, struct recipient **ret, struct error *err)
{
	bool sharing;
	int e;

	*ret = take_shared(r, &sharing);
	if (*ret)
		return 0;
	if (!sharing)
		return make_recipient(r, ret, err);
	pthread_mutex_lock(&r->making);
	*ret = take_shared(r, &sharing);
	e = *ret ? 0 : make_recipient(r, ret, err);
	pthread_mutex_lock(&r->lock);
	if (e == 0 && r->sharing > 0 && !r->shared) {
		r->shared = *ret;
		r->shared->holds++;
	}
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_unlock(&r->making);
	return e;
}

int kms_recipient_decrypt(struct aws *aws, struct kms_recipients *recipients,
			  const struct kms_slot *slot, const uint8_t file_id[SEAL_FILE_ID_SIZE],
			  struct secret **ret, struct error *err)
{
	_cleanup_free_ uint8_t *envelope = NULL;
	struct recipient *one = NULL;
	size_t size = 0;
	int e = take_recipient(recipients, &one, err);

	if (e < 0)
		return e;
	e = kms_decrypt_attested(aws, slot->arn, file_id, slot->blob, slot->blob_size,
				 one->document, one->document_size, &envelope, &size, err);
	if (e == -EKEYREJECTED)
		denial_explain(recipients->denial, aws, slot->arn, one->document,
			       one->document_size, err);
	if (e == 0)
		e = cms_open(envelope, size, one->key, SEAL_DATA_KEY_SIZE, ret, err);
	/* Whatever was wrong, the next attempt has another document. */
	if (e < 0)
		stop_sharing(recipients, one);
	drop(recipients, one);
	return e;
}
