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
#define SLOT_TPM_PCRS 24
#define SLOT_TPM_RSA_MAX 384   /* bytes: RSA-3072, of the policy key and of the storage key */
#define SLOT_TPM_POINT_SIZE 64 /* x and y of P-256 */
#define SLOT_TPM_SENSITIVE_SIZE 74

struct seal_slot {
	uint16_t type; /* enum seal_slot_type, or a type this version does not know */
	uint16_t body_size;
	uint8_t body[SEAL_SLOT_BODY_MAX];
};

/* NULL if the slot is well-formed (types 1 to 4 with their bodies), else the problem. */
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

/* A type 2 slot taken apart (crypto/FORMAT.md section 4.4); attest/ makes and opens it. Everything
 * it points to has the size that the format gives it. */
struct tpm_slot {
	const uint8_t *parent; /* SHA256_SIZE */
	unsigned bank;	       /* enum digest_alg; 0: no PCR has to have a value */
	uint32_t selection;    /* bit i: PCR i */
	const uint8_t *values; /* of the selected PCRs, ascending, value_size bytes each */
	size_t value_size, value_count;
	const uint8_t *policy_key; /* modulus */
	size_t policy_key_size;	   /* 0: none */
	const uint8_t *unique;	   /* SHA256_SIZE */
	const uint8_t *seed;
	size_t seed_size;	  /* SLOT_TPM_POINT_SIZE, or RSA */
	const uint8_t *integrity; /* SHA256_SIZE */
	const uint8_t *sensitive; /* SLOT_TPM_SENSITIVE_SIZE */
};

/* NULL, or the problem. *ret points into the slot. */
const char *slot_take_tpm(const struct seal_slot *slot, struct tpm_slot *ret);
/* -EPROTO, with the problem. */
int slot_parse_tpm(const struct seal_slot *slot, struct tpm_slot *ret, struct error *err);
/* Both are for the same TPM with the same policy, whatever they wrap. */
bool slot_same_tpm(const struct seal_slot *a, const struct seal_slot *b);
/* -EINVAL: no such slot, or the parts are longer than a slot together. */
int slot_make_tpm(const struct tpm_slot *parts, struct seal_slot *ret, struct error *err);

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
