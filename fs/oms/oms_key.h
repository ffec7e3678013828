/*
 * oms_key.h: keys of OpenSSF Model Signing, method "key": elliptic curves P-256, P-384 and P-521
 * with SHA-256, SHA-384 and SHA-512; PEM. Threads: immutable after loading.
 */
#ifndef SEALEDFS_OMS_KEY_H
#define SEALEDFS_OMS_KEY_H

#include "crypto/base/error.h"

#include <stddef.h>

#define OMS_HINT_SIZE 65 /* SHA-256 of the public key's PEM text, in hexadecimal, and a NUL */

struct oms_key;

/* -EINVAL: no such key in the file, or others can change it (trust_file.h). */
int oms_key_load_public(const char *path, struct oms_key **ret, struct error *err);
/* -EINVAL also: encrypted, or others can read it. */
int oms_key_load_private(const char *path, struct oms_key **ret, struct error *err);
void oms_key_free(struct oms_key *k);
/* As a bundle names the key. */
const char *oms_key_hint(const struct oms_key *k);
/* The file that it came from, for messages. */
const char *oms_key_path(const struct oms_key *k);
/* 0, or -EBADMSG. */
int oms_key_verify(const struct oms_key *k, const void *data, size_t size, const uint8_t *signature,
		   size_t signature_size);
/* DER; malloc()ed. */
int oms_key_sign(const struct oms_key *k, const void *data, size_t size, uint8_t **ret,
		 size_t *ret_size);

DEFINE_CLEANUP(struct oms_key *, oms_key_free)

#endif
