/*
 * kms.h: AWS KMS GenerateDataKey, Encrypt and Decrypt, the latter plain or with a Recipient
 * (AWS KMS API reference; "Cryptographic attestation support in AWS KMS").
 *
 * The encryption context is always {"sealedfs:file-id": "<64 hex>"}, KeyId is always sent; only
 * kms_decrypt_foreign() differs.
 * Errors: -EKEYREJECTED denied by policy or attestation, or the AWS keys refused; -ENOKEY no such
 * KMS key; -EKEYREVOKED disabled or pending deletion; -EBADMSG wrong key, blob or context; -EINVAL
 * not a key id, or a key of another kind; -EAGAIN throttled to the end; -EREMOTEIO KMS failed or
 * answered nonsense; network errors as http.h. The message carries KMS's own words and request id.
 * Denials of kms_decrypt_attested() leave the hint to the caller, who knows the PCRs. Thread-safe.
 */
#ifndef SEALEDFS_AWS_KMS_H
#define SEALEDFS_AWS_KMS_H

#include "crypto/base/secret.h"
#include "fs/aws/aws.h"
#include "fs/aws/kms_limits.h"

/* key_id: key id, key ARN, alias/NAME or alias ARN. The endpoint's region follows from an ARN. */
int kms_generate_data_key(struct aws *aws, const char *key_id, const uint8_t file_id[32],
			  struct secret **ret_key, uint8_t *ret_blob, size_t *ret_blob_size,
			  char **ret_arn, struct error *err);
int kms_encrypt(struct aws *aws, const char *key_id, const uint8_t file_id[32],
		const struct secret *plain, uint8_t *ret_blob, size_t *ret_blob_size,
		char **ret_arn, struct error *err);
/* Without attestation: for owners. */
int kms_decrypt(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
		const uint8_t *blob, size_t blob_size, struct secret **ret_key, struct error *err);
/* A data key that another program made without an encryption context. key_id NULL: the key that the
 * blob names. *ret_arn: the key that KMS used, fresh memory. */
int kms_decrypt_foreign(struct aws *aws, const char *key_id, const uint8_t *blob, size_t blob_size,
			struct secret **ret_key, char **ret_arn, struct error *err);
/* With a Recipient: *ret is CiphertextForRecipient (CMS, BER), fresh memory. */
int kms_decrypt_attested(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
			 const uint8_t *blob, size_t blob_size, const uint8_t *document,
			 size_t document_size, uint8_t **ret, size_t *ret_size, struct error *err);

#endif
