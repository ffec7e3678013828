/*
 * aead.h: AES-256-GCM, the one door to the ciphers of OpenSSL and libipsec-mb (backend.h chooses).
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
/*
 * A watched text is worked on in pieces, so that the watcher sees each while it is in the CPU's
 * nearest caches. Decrypting and tree-hashing 512 KiB with ipsec-mb took as long by 64, 128 and
 * 256 KiB as in two passes where L2 has 2 MiB (2.2 to 2.3 GB/s from memory; OpenSSL 1.1 to 1.2),
 * and 16 KiB cost a sixth: too few blocks for 16 lanes. 64 KiB also fit into an L2 of 256 KiB.
 */
#define AEAD_PIECE_SIZE ((size_t)65536)

struct aead;

/* The key is copied into memory that is wiped on release: OpenSSL's, or a secret of our own. */
int aead_new(const uint8_t key[AEAD_KEY_SIZE], struct aead **ret);
void aead_free(struct aead *a);

/*
 * Is shown the plaintext, piece by piece and in order; each but the last has AEAD_PIECE_SIZE bytes.
 * When opening this is before the tag is checked: what it makes of it counts only if the call
 * succeeds. 0, or a negative errno, which ends the call.
 */
typedef int (*aead_watcher)(void *ctx, const uint8_t *plain, size_t size);

struct aead_input {
	const uint8_t *nonce; /* AEAD_NONCE_SIZE bytes */
	const uint8_t *aad;   /* may be NULL when aad_size is 0 */
	size_t aad_size;
	const uint8_t *text; /* may be NULL when text_size is 0 */
	size_t text_size;
	aead_watcher watch; /* may be NULL */
	void *watch_ctx;
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
