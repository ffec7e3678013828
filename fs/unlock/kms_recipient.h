/*
 * kms_recipient.h: one attested Decrypt: a fresh RSA-2048 key in memory, a fresh attestation
 * document that carries it, KMS's answer opened with it. The RSA key lives for this call only.
 */
#ifndef SEALEDFS_KMS_RECIPIENT_H
#define SEALEDFS_KMS_RECIPIENT_H

#include "attest/provider.h"
#include "crypto/format.h"
#include "crypto/slots.h"
#include "fs/net/aws.h"

/*
 * The data key of a KMS slot; the caller frees it and checks that it is the seal's. Errors as
 * kms.h, attest_document() and cms_open(). After a refusal (-EKEYREJECTED) the message also has
 * the PCRs 4, 7 and 12 that this machine attested, since KMS never says what it missed.
 */
int kms_recipient_decrypt(struct aws *aws, struct attest_provider *provider,
			  const struct kms_slot *slot, const uint8_t file_id[SEAL_FILE_ID_SIZE],
			  struct secret **ret, struct error *err);

#endif
