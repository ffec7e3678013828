/*
 * secret.h: the one type that holds key material.
 *
 * Its bytes are locked memory (locked.h), wiped when freed. A secret is never printed, never put
 * into argv, the environment, JSON or a log line. Threads: immutable after it was filled; free it
 * once.
 */
#ifndef SEALEDFS_BASE_SECRET_H
#define SEALEDFS_BASE_SECRET_H

#include "crypto/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_SIZE_MAX ((size_t)65536)

struct secret;

/* size 1 … SECRET_SIZE_MAX; zero-filled, aligned to 64 from 64 bytes on. 0, -EINVAL, -ENOMEM. The
 * caller frees. */
int secret_new(size_t size, struct secret **ret);
/* As secret_new, filled from data; the caller wipes its own copy. */
int secret_new_from(const void *data, size_t size, struct secret **ret);
/* Fresh random bytes. */
int secret_new_random(size_t size, struct secret **ret);
/* Wipes and releases. NULL is allowed. */
void secret_free(struct secret *s);

uint8_t *secret_bytes(struct secret *s);
const uint8_t *secret_data(const struct secret *s);
size_t secret_size(const struct secret *s);

/* Constant time; false when the sizes differ. */
bool secret_equal(const void *a, const void *b, size_t size);
/* A memset that the compiler must not drop. */
void wipe(void *p, size_t size);

/* Call once at program start, before OpenSSL is used: no core files, not dumpable, not traceable
 * by other processes of the user; OpenSSL's memory is locked. */
int process_protect_secrets(void);

DEFINE_CLEANUP(struct secret *, secret_free)
#define _cleanup_secret_ _cleanup_(secret_freep)

#endif
