/*
 * sign.h: the owner's Ed25519 keys (RFC 8032; PEM PKCS #8 and SubjectPublicKeyInfo, RFC 8410).
 *
 * A signer id is SHA-256 of the DER SubjectPublicKeyInfo. Objects are immutable after loading and
 * may be shared by threads.
 */
#ifndef SEALEDFS_SIGN_H
#define SEALEDFS_SIGN_H

#include "crypto/base/error.h"
#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>

#define SIGNATURE_SIZE 64
#define SIGNER_ID_SIZE 32

struct signing_key; /* private */
struct owner_keys;  /* a set of trusted public keys; may be empty */

/* Fails with -EINVAL when the file holds no Ed25519 private key. An encrypted PEM is refused. */
int signing_key_load(const char *path, struct signing_key **ret, struct error *err);
void signing_key_free(struct signing_key *k);
const uint8_t *signing_key_id(const struct signing_key *k);
int signing_key_sign(const struct signing_key *k, const void *data, size_t size,
		     uint8_t sig[SIGNATURE_SIZE]);
/*
 * Makes a key pair: private_path (0600) and public_path, both PEM. Refuses to overwrite (-EEXIST);
 * nothing is left behind on failure.
 */
int signing_key_generate(const char *private_path, const char *public_path, struct error *err);

int owner_keys_new(struct owner_keys **ret);
/* Adds every PUBLIC KEY block of a PEM file; a file with none is -EINVAL. A private key is refused.
 */
int owner_keys_add_file(struct owner_keys *set, const char *path, struct error *err);
/* The public half of a private key. -ENOSPC. */
int owner_keys_add_signer(struct owner_keys *set, const struct signing_key *k);
void owner_keys_free(struct owner_keys *set);
size_t owner_keys_count(const struct owner_keys *set);
/* The signer id of one of them, in the order of adding; index is below owner_keys_count(). */
const uint8_t *owner_keys_id(const struct owner_keys *set, size_t index);
/* The owner of this key: the number of the file that it came from, in the order of adding, from
 * 0. -ENOKEY: none. All keys of one owner are in one file. */
int owner_keys_owner(const struct owner_keys *set, const uint8_t signer_id[SIGNER_ID_SIZE]);
bool owner_keys_contain(const struct owner_keys *set, const uint8_t signer_id[SIGNER_ID_SIZE]);
/* 0; -ENOKEY: no such signer in the set; -EBADMSG: the signature is wrong. */
int owner_keys_verify(const struct owner_keys *set, const uint8_t signer_id[SIGNER_ID_SIZE],
		      const void *data, size_t size, const uint8_t sig[SIGNATURE_SIZE]);

DEFINE_CLEANUP(struct signing_key *, signing_key_free)
DEFINE_CLEANUP(struct owner_keys *, owner_keys_free)

#endif
