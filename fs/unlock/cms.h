/*
 * cms.h: CiphertextForRecipient, the CMS EnvelopedData (RFC 5652, BER) in which KMS returns a key
 * for the RSA key of an attestation document. No network. Source: AWS KMS API reference,
 * "Decrypt"; both forms of encrypted content that KMS emits are read.
 */
#ifndef SEALEDFS_CMS_H
#define SEALEDFS_CMS_H

#include "crypto/base/error.h"
#include "crypto/base/secret.h"

#include <openssl/evp.h>

#define CMS_SIZE_MAX 6144 /* bytes, as KMS limits it */

/*
 * Decrypts to exactly key_size bytes; anything else is an error, because CMS itself does not
 * authenticate its content. The caller frees *ret. -EPROTO: not of KMS's form; -EBADMSG: not for
 * this key; -ENOMEM.
 */
int cms_open(const uint8_t *ber, size_t size, EVP_PKEY *key, size_t key_size, struct secret **ret,
	     struct error *err);

#endif
