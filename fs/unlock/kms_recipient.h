/*
 * kms_recipient.h: one attested Decrypt: an RSA-2048 key in memory, an attestation document that
 * carries it, KMS's answer opened with it. Key and document are fresh for each call; while many
 * models are unlocked at once, calls share them for up to a minute. Thread-safe.
 */
#ifndef SEALEDFS_KMS_RECIPIENT_H
#define SEALEDFS_KMS_RECIPIENT_H

#include "attest/provider.h"
#include "crypto/format.h"
#include "crypto/slots.h"
#include "fs/aws/aws.h"

struct kms_recipients;

struct denial;

/* provider and denial must outlive it. -ENOMEM. */
int kms_recipients_new(struct attest_provider *provider, struct denial *denial,
		       struct kms_recipients **ret);
void kms_recipients_free(struct kms_recipients *r);
/* From here on calls share; the RSA key is freed with the last of them after as many ends. */
void kms_recipients_share_begin(struct kms_recipients *r);
void kms_recipients_share_end(struct kms_recipients *r);

/*
 * The data key of a KMS slot; the caller frees it and checks that it is the seal's. Errors as
 * kms.h, attest_document() and cms_open(). After a refusal (-EKEYREJECTED) the message also has
 * the PCRs that this machine attested: see denial.h.
 */
int kms_recipient_decrypt(struct aws *aws, struct kms_recipients *recipients,
			  const struct kms_slot *slot, const uint8_t file_id[SEAL_FILE_ID_SIZE],
			  struct secret **ret, struct error *err);

DEFINE_CLEANUP(struct kms_recipients *, kms_recipients_free)

#endif
