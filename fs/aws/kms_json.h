/*
 * kms_json.h: KMS's JSON bodies, both ways (AWS KMS API reference). Pure; answers are untrusted.
 * Internal to fs/aws. Thread-safe.
 */
#ifndef SEALEDFS_AWS_KMS_JSON_H
#define SEALEDFS_AWS_KMS_JSON_H

#include "crypto/base/secret.h"
#include "fs/aws/kms_limits.h"
#include "fs/net/text.h"

struct call_failure;

/* Members of a request; NULL or size 0: left out. */
struct kms_request {
	const char *key_id;	/* NULL: KMS finds it by the blob */
	const uint8_t *file_id; /* 32 bytes: the encryption context; NULL: none */
	const uint8_t *blob;	/* CiphertextBlob */
	size_t blob_size;
	const struct secret *plain; /* Plaintext */
	const uint8_t *document;    /* Recipient's attestation document */
	size_t document_size;
	const char *key_spec;
};

/* Only characters that key ids, ARNs and aliases have; it needs no escape in JSON. */
bool kms_key_id_valid(const char *id);
/* -EINVAL: a key id with characters that no key id has. *out is wiped text. */
int kms_json_request(const struct kms_request *req, struct text *out);

/* Members of an answer that the caller wants and may get; absent ones stay NULL. */
struct kms_answer {
	char *key_id;
	uint8_t *blob; /* CiphertextBlob, at most KMS_BLOB_MAX */
	size_t blob_size;
	struct secret *plain; /* Plaintext, exactly KMS_DATA_KEY_SIZE bytes */
	uint8_t *recipient;   /* CiphertextForRecipient */
	size_t recipient_size;
};

#define KMS_DATA_KEY_SIZE 32

/* -EPROTO, -E2BIG (a blob over its limit), -ENOMEM. Clear it in any case. */
int kms_json_answer(const void *data, size_t size, struct kms_answer *ret);
void kms_answer_clear(struct kms_answer *a);
/* type: the x-amzn-errortype header, or NULL. *ret is unchanged if the body has no error. */
void kms_json_failure(const void *data, size_t size, const char *type, struct call_failure *ret);

#endif
