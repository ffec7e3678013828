/*
 * aead.h: AES-256-GCM; only this file uses the ciphers of OpenSSL and libipsec-mb (backend.h
 * chooses).
 *
 * An aead holds an expanded key schedule, set once; each call sets only the nonce. One thread at a
 * time, unless aead_is_shareable(). Errors: -EBADMSG the tag does not verify, -EIO, -ENOMEM.
 */
#ifndef SEALEDFS_AEAD_H
#define SEALEDFS_AEAD_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY_SIZE 32
#define AEAD_NONCE_SIZE 12
#define AEAD_TAG_SIZE 16
/* Bytes of one call, for text and for additional data. */
#define AEAD_SIZE_MAX ((size_t)1 << 30)
/*
 * A watched text is worked on in pieces, so that the watcher finds each in the CPU's nearest
 *caches. Decrypting 512 KiB and hashing its blocks, ciphertext from memory, GB/s of one core with 2
 *MiB of L2 (tests/unit/crypto/speed.c):
 *
 *	pieces of        16 KiB  64 KiB  128 KiB  256 KiB  two passes
 *	libipsec-mb        0.9     2.10     2.13     2.18        2.16
 *	OpenSSL            1.1     1.16     1.16     1.15        1.18
 *
 * So there it makes no difference, as long as there are blocks for all 16 lanes. 128 KiB are two
 * rounds of them, and stay in an L2 that 512 KiB would fill.
 */
#define AEAD_PIECE_SIZE ((size_t)131072)

struct aead;
struct aead_stream;

/* The key is copied into memory that is wiped on release: OpenSSL's, or a secret of our own. */
int aead_new(const uint8_t key[AEAD_KEY_SIZE], struct aead **ret);
void aead_free(struct aead *a);
/* True: many threads may use it at once, because the state of a message is kept outside it. */
bool aead_is_shareable(const struct aead *a);

/*
 * Receives the plaintext in order, in pieces of AEAD_PIECE_SIZE bytes (the last may be shorter).
 * When opening, this happens before the tag is checked: discard the result unless the call
 * succeeds. Returns 0, or a negative errno, which ends the call.
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

/*
 * Opens one text in pieces of up to AEAD_SIZE_MAX bytes: for what other programs encrypted whole.
 * Plaintext comes before the tag was checked: the caller must undo all that it did with it unless
 * aead_stream_finish() returns 0. The key is used for this text only. One thread at a time.
 */
#define AEAD_STREAM_MAX (((uint64_t)1 << 36) - 32) /* bytes of a text (NIST SP 800-38D) */
int aead_stream_new(const uint8_t key[AEAD_KEY_SIZE], const uint8_t nonce[AEAD_NONCE_SIZE],
		    struct aead_stream **ret);
/* out has room for size bytes and may be in. -EFBIG beyond AEAD_STREAM_MAX. */
int aead_stream_open(struct aead_stream *s, const uint8_t *in, size_t size, uint8_t *out);
/* Once, after the last piece. -EBADMSG. */
int aead_stream_finish(struct aead_stream *s, const uint8_t tag[AEAD_TAG_SIZE]);
void aead_stream_free(struct aead_stream *s);

DEFINE_CLEANUP(struct aead *, aead_free)
DEFINE_CLEANUP(struct aead_stream *, aead_stream_free)
#define _cleanup_aead_ _cleanup_(aead_freep)

#endif
