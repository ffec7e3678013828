/*
 * ipsec_mb.h: wraps Intel's multi-buffer crypto library (libipsec-mb), which is optional: without
 * it, ipsec_mb_absent.c is built instead and ipsec_mb_traits() returns false. crypto/backend.c
 * decides what it is used for; aead.c and verity.c are its only users.
 *
 * Threads: a key may be used by many threads at once; all functions are thread-safe.
 */
#ifndef SEALEDFS_IPSEC_MB_H
#define SEALEDFS_IPSEC_MB_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The library's version and the features it found on this CPU. */
struct ipsec_mb_traits {
	const char *version; /* "1.3.0" */
	bool safe_data;	     /* built so that it wipes keys and text from registers and stack */
	bool self_test;	     /* its self-test passed */
	bool aes;	     /* AES-NI and PCLMULQDQ, not its emulation of them */
	bool sha_ni;	     /* SHA extensions */
	bool sha_ni_pair;    /* it runs two streams at once through them */
	bool avx2;
	bool avx512;	  /* F, DQ, CD, BW, VL */
	bool vaes_avx512; /* its AES-GCM with 512-bit VAES and VPCLMULQDQ */
	bool agrees;	  /* its results equal OpenSSL's; set by backend.c */
};

/* False: this build or this machine has no such library, *ret is zeroed. */
bool ipsec_mb_traits(struct ipsec_mb_traits *ret);

/* The functions below must not be called unless ipsec_mb_traits() was true. */

/* AES-256-GCM: an expanded key in secret memory. */
struct ipsec_mb_key;
int ipsec_mb_key_new(const uint8_t key[32], struct ipsec_mb_key **ret);
void ipsec_mb_key_free(struct ipsec_mb_key *k);

/* One message under way. Holds key stream: the caller wipes it. */
struct ipsec_mb_gcm {
	_Alignas(16) uint8_t state[96];
};
void ipsec_mb_gcm_begin(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g,
			const uint8_t nonce[12], const uint8_t *aad, size_t aad_size);
/* size at least 1. out may be in. */
void ipsec_mb_gcm_update(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g, const uint8_t *in,
			 size_t size, uint8_t *out, bool encrypt);
void ipsec_mb_gcm_end(const struct ipsec_mb_key *k, struct ipsec_mb_gcm *g, bool encrypt,
		      uint8_t tag[16]);

/* SHA-256 of count messages of block_size bytes each, one after the other at data; out takes 32
 * bytes for each and does not overlap data. 0, -ENOMEM, -EIO. */
int ipsec_mb_sha256_blocks(const uint8_t *data, size_t block_size, size_t count, uint8_t *out);

DEFINE_CLEANUP(struct ipsec_mb_key *, ipsec_mb_key_free)

#endif
