/*
 * spool.h: where the plaintext of a pipe of unknown length waits until its length is known: a
 * nameless temporary file, encrypted chunk by chunk (AES-256-GCM) under a random key that exists
 * only in this process's secret memory. When the process ends, however it ends, nothing readable
 * is left. One thread at a time.
 */
#ifndef SEALEDFS_TOOLS_SPOOL_H
#define SEALEDFS_TOOLS_SPOOL_H

#include "crypto/base/error.h"
#include "crypto/format.h"

#include <stddef.h>

struct spool;

/* In $TMPDIR, else /var/tmp. */
int spool_new(struct spool **ret, struct error *err);
void spool_free(struct spool *s);
/* Appends 1 … SEAL_CHUNK_SIZE bytes; only the last may be shorter. Encrypts in place: data is
 * ciphertext afterwards. */
int spool_append(struct spool *s, uint8_t *data, size_t size, struct error *err);
/* Bytes of plaintext so far. */
uint64_t spool_length(const struct spool *s);
/* The plaintext of one chunk. -EBADMSG when the file was changed. Returns its size in *ret_size. */
int spool_read(struct spool *s, uint64_t chunk_index, uint8_t *data, size_t *ret_size,
	       struct error *err);

DEFINE_CLEANUP(struct spool *, spool_free)

#endif
