/*
 * digest.h: SHA-2, the one door to OpenSSL's message digests.
 *
 * Threads: a struct digest belongs to one thread at a time.
 */
#ifndef SEALEDFS_DIGEST_H
#define SEALEDFS_DIGEST_H

#include "crypto/base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
#define SHA384_SIZE 48
#define DIGEST_SIZE_MAX 64

/* Values are TCG algorithm ids (TPM 2.0 Part 2, TPM_ALG_ID). */
enum digest_alg {
	DIGEST_SHA1 = 0x0004,
	DIGEST_SHA256 = 0x000B,
	DIGEST_SHA384 = 0x000C,
	DIGEST_SHA512 = 0x000D,
};

struct digest;

int digest_new(enum digest_alg alg, struct digest **ret);
int digest_update(struct digest *d, const void *data, size_t size);
/* Writes digest_size(alg) bytes; the object can then only be reset or freed. */
int digest_final(struct digest *d, uint8_t *out);
/* Ready for another message; much cheaper than a new object. */
int digest_reset(struct digest *d);
void digest_free(struct digest *d);
/* Bytes; 0 for an unknown algorithm. */
size_t digest_size(enum digest_alg alg);
/* "sha1", "sha256", …; NULL for an unknown algorithm. */
const char *digest_name(enum digest_alg alg);
/* One call for a whole buffer. 0, -ENOTSUP, -EIO. */
int digest_buffer(enum digest_alg alg, const void *data, size_t size, uint8_t *out);

DEFINE_CLEANUP(struct digest *, digest_free)
#define _cleanup_digest_ _cleanup_(digest_freep)

#endif
