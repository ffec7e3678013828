/*
 * bind_key.h: the user data by which a document vouches for a TLS key (VERDICT.md, step tls): the
 * key of whoever terminates TLS in front of the endpoint. Threads: any.
 */
#ifndef SEALEDFS_TOOLS_BIND_KEY_H
#define SEALEDFS_TOOLS_BIND_KEY_H

#include "crypto/base/error.h"

#define BIND_PREFIX "sealedfs:tls:sha256:"
#define BIND_TEXT_SIZE (sizeof(BIND_PREFIX) + 64) /* with the NUL */

/* Of a key's hash. */
void bind_text(const uint8_t key[32], char out[BIND_TEXT_SIZE]);
/* SHA-256 of the key in the first certificate of a PEM file, as it is now. -EPROTO, -errno. */
int bind_key_read(const char *path, uint8_t out[32], struct error *err);

#endif
