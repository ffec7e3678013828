/*
 * Attested unlock by KMS. Job: prove to KMS what this machine runs and get one key for it. Trusts
 * KMS's verdict, and TLS to reach it. Must never write the RSA key anywhere, use it twice, or ask
 * KMS without a document.
 */
#include "fs/unlock/kms_recipient.h"

#include "attest/document.h"
#include "crypto/base/encode.h"
#include "fs/net/kms.h"
#include "fs/unlock/cms.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#define RSA_BITS 2048 /* the size that KMS documents for recipients */
#define NONCE_SIZE 32
#define KMS_WORDS_MAX 600 /* of KMS's own message, so that the PCRs fit behind it */

static inline void pkey_freep(EVP_PKEY **k)
{
	EVP_PKEY_free(*k);
}

static inline void openssl_freep(uint8_t **p)
{
	OPENSSL_free(*p);
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

static void pcr_text(const struct attest_doc *d, unsigned pcr, char out[2 * 64 + 1])
{
	if (d->pcrs[pcr].present)
		hex_encode(d->pcrs[pcr].value, d->pcrs[pcr].size, out);
	else
		(void)snprintf(out, 2 * 64 + 1, "absent");
}

/* KMS says that it refused, never why: what it saw must be told here. */
static void explain_refusal(const uint8_t *document, size_t size, struct error *err)
{
	_cleanup_(document_freep) struct attest_doc *d = NULL;
	char pcr4[2 * 64 + 1], pcr7[2 * 64 + 1], pcr12[2 * 64 + 1];
	struct error said;

	if (!err || document_parse(document, size, &d, NULL) < 0)
		return;
	said = *err;
	error_clear(err);
	pcr_text(d, 4, pcr4);
	pcr_text(d, 7, pcr7);
	pcr_text(d, 12, pcr12);
	error_set(err, -EKEYREJECTED,
		  "%.*s; this machine (%s) attests PCR 4 = %s, PCR 7 = %s, PCR 12 = %s",
		  KMS_WORDS_MAX, error_text(&said, -EKEYREJECTED), d->module_id, pcr4, pcr7, pcr12);
	if (said.hint[0])
		error_hint(err, "%s", said.hint);
	error_hint(err, "compare them with the NitroTPMPCR conditions in the key's policy; they "
			"change with the boot image, Secure Boot settings and kernel command line");
}

int kms_recipient_decrypt(struct aws *aws, struct attest_provider *provider,
			  const struct kms_slot *slot, const uint8_t file_id[SEAL_FILE_ID_SIZE],
			  struct secret **ret, struct error *err)
{
	_cleanup_(pkey_freep) EVP_PKEY *key = NULL;
	_cleanup_(openssl_freep) uint8_t *spki = NULL;
	_cleanup_free_ uint8_t *document = NULL, *envelope = NULL;
	size_t spki_size = 0, document_size = 0, envelope_size = 0;
	uint8_t nonce[NONCE_SIZE];
	struct attest_request req;
	int e;

	if (RAND_bytes(nonce, sizeof(nonce)) != 1)
		return error_set(err, -EIO, "no random numbers");
	e = make_key(&key, &spki, &spki_size, err);
	if (e < 0)
		return e;
	req = (struct attest_request){.nonce = nonce,
				      .nonce_size = sizeof(nonce),
				      .public_key = spki,
				      .public_key_size = spki_size};
	e = attest_document(provider, &req, &document, &document_size, err);
	if (e < 0)
		return e;
	e = kms_decrypt_attested(aws, slot->arn, file_id, slot->blob, slot->blob_size, document,
				 document_size, &envelope, &envelope_size, err);
	if (e == -EKEYREJECTED)
		explain_refusal(document, document_size, err);
	if (e < 0)
		return e;
	return cms_open(envelope, envelope_size, key, SEAL_DATA_KEY_SIZE, ret, err);
}
