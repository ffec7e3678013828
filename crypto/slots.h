/*
 * slots.h: recipients of a data key, as stored in a seal. No network, no TPM: a slot is bytes here;
 * fs/unlock turns it into a data key.
 */
#ifndef SEALEDFS_SLOTS_H
#define SEALEDFS_SLOTS_H

#include "crypto/base/error.h"
#include "crypto/base/secret.h"
#include "crypto/format.h"

#define SLOT_KMS_ARN_MAX 512
#define SLOT_KMS_BLOB_MAX 400
#define SLOT_KEYFILE_ID_SIZE 16
#define SLOT_KEYFILE_SIZE 76 /* key id, nonce, wrapped data key, tag */
#define SLOT_SET_ID_SIZE 32
#define SLOT_SET_SIZE 92 /* set id, nonce, wrapped data key, tag */
#define KEYFILE_KEY_SIZE 32

struct seal_slot {
	uint16_t type; /* enum seal_slot_type, or a type this version does not know */
	uint16_t body_size;
	uint8_t body[SEAL_SLOT_BODY_MAX];
};

/* NULL if the slot is well-formed (types 1, 3 and 4 with their bodies), else the problem. */
const char *slot_problem(const struct seal_slot *slot);
/* As slot_problem(), from and to the bytes in a seal. On a problem *ret is not to be used. */
const char *slot_load(const uint8_t bytes[SEAL_SLOT_SIZE], struct seal_slot *ret);
/* The slot must be well-formed. */
void slot_store(const struct seal_slot *slot, uint8_t bytes[SEAL_SLOT_SIZE]);

/* A type 1 slot taken apart. Strings are NUL-terminated copies. */
struct kms_slot {
	char arn[SLOT_KMS_ARN_MAX + 1];
	uint16_t blob_size;
	uint8_t blob[SLOT_KMS_BLOB_MAX];
};

/* -EPROTO when the body does not fit its layout exactly. */
int slot_parse_kms(const struct seal_slot *slot, struct kms_slot *ret, struct error *err);
/* -EINVAL when ARN or blob exceed their maximum or are empty. */
int slot_make_kms(const char *arn, const uint8_t *blob, size_t blob_size, struct seal_slot *ret,
		  struct error *err);

/* A key-encryption key from a key file (format: crypto/FORMAT.md). */
struct keyfile;
/* -EINVAL: not a key file; -EPERM: readable by others than its owner (mode & 077). */
int keyfile_load(const char *path, struct keyfile **ret, struct error *err);
/* Writes a fresh key file, mode 0600; -EEXIST rather than overwrite. */
int keyfile_generate(const char *path, struct error *err);
void keyfile_free(struct keyfile *k);
const uint8_t *keyfile_id(const struct keyfile *k); /* SLOT_KEYFILE_ID_SIZE bytes */

int slot_make_keyfile(const struct keyfile *k, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		      const struct secret *data_key, struct seal_slot *ret);
/* 0; -ENOKEY: the slot is for another key file; -EBADMSG: the wrap does not verify. */
int slot_open_keyfile(const struct seal_slot *slot, const struct keyfile *k,
		      const uint8_t file_id[SEAL_FILE_ID_SIZE], struct secret **ret_data_key);
/* The key id a type 3 slot is for (in place), NULL when it is malformed. */
const uint8_t *slot_keyfile_id(const struct seal_slot *slot);
/* The set a type 4 slot is for: SLOT_SET_ID_SIZE bytes in place, NULL when it is malformed. */
const uint8_t *slot_set_id(const struct seal_slot *slot);

DEFINE_CLEANUP(struct keyfile *, keyfile_free)

#endif
