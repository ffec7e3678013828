/*
 * kdf.h: HKDF-SHA-256 (RFC 5869), HMAC-SHA-256 (RFC 2104) and the key schedule of
 * crypto/FORMAT.md section 5. Functions are pure; errors are -EINVAL, -ENOMEM, -EIO.
 */
#ifndef SEALEDFS_KDF_H
#define SEALEDFS_KDF_H

#include "crypto/base/secret.h"
#include "crypto/format.h"

#define KDF_HKDF_MAX ((size_t)255 * 32)

/* The schedule's output, cut in this order. */
#define KDF_PAYLOAD_KEY_AT 0
#define KDF_BASE_NONCE_AT 32
#define KDF_COMMITMENT_AT 44
#define KDF_SLOT_MAC_KEY_AT 76
#define KDF_OUTPUT_SIZE 108

struct kdf_bytes {
	const void *data;
	size_t size;
};

/* Extract and expand: out gets out_size bytes, 1 … KDF_HKDF_MAX. */
int kdf_hkdf_sha256(struct kdf_bytes ikm, struct kdf_bytes salt, struct kdf_bytes info,
		    uint8_t *out, size_t out_size);
/* The MAC over parts joined. key_size may be 0 only if OpenSSL allows it: do not rely on it. */
int kdf_hmac_sha256(struct kdf_bytes key, const struct kdf_bytes *parts, size_t part_count,
		    uint8_t out[SHA256_SIZE]);

/*
 * KDF_OUTPUT_SIZE bytes of key material for the core's first 0x40 bytes (version to chunk count).
 * -EINVAL when data_key is not SEAL_DATA_KEY_SIZE bytes. The caller frees.
 */
int kdf_seal_keys(const struct secret *data_key, const uint8_t core_start[0x40],
		  struct secret **ret);

/* The same for a set (section 11.3): KDF_SET_OUTPUT_SIZE bytes for its header's first 0x30. */
#define KDF_SET_MEMBER_KEY_AT 0
#define KDF_SET_COMMITMENT_AT 32
#define KDF_SET_SLOT_MAC_KEY_AT 64
#define KDF_SET_OUTPUT_SIZE 96
int kdf_set_keys(const struct secret *set_key, const uint8_t header_start[0x30],
		 struct secret **ret);

#endif
