/*
 * aead.h: AES-256-GCM, the one door to OpenSSL's ciphers.
 *
 * An aead holds an expanded key schedule, set once; each call sets only the nonce. One thread at
 * a time. Errors: -EBADMSG the tag does not verify, -EIO, -ENOMEM.
 */
#ifndef SEALEDFS_AEAD_H
#define SEALEDFS_AEAD_H

#include "crypto/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY_SIZE 32
#define AEAD_NONCE_SIZE 12
#define AEAD_TAG_SIZE 16
/* Bytes of one call, for text and for additional data. */
#define AEAD_SIZE_MAX ((size_t)1 << 30)

struct aead;

/* The key is copied into memory that OpenSSL wipes on release. */
int aead_new(const uint8_t key[AEAD_KEY_SIZE], struct aead **ret);
void aead_free(struct aead *a);

struct aead_input {
	const uint8_t *nonce; /* AEAD_NONCE_SIZE bytes */
	const uint8_t *aad;   /* may be NULL when aad_size is 0 */
	size_t aad_size;
	const uint8_t *text; /* may be NULL when text_size is 0 */
	size_t text_size;
};

/* out has room for text_size bytes and may be the text itself. */
int aead_seal(struct aead *a, const struct aead_input *in, uint8_t *out,
	      uint8_t tag[AEAD_TAG_SIZE]);
/* As aead_seal; on any failure out has been wiped. */
int aead_open(struct aead *a, const struct aead_input *in, const uint8_t tag[AEAD_TAG_SIZE],
	      uint8_t *out);

DEFINE_CLEANUP(struct aead *, aead_free)
#define _cleanup_aead_ _cleanup_(aead_freep)

#endif
