/*
 * format.h: the fixed numbers of the sealed format, version 2. Specification: crypto/FORMAT.md.
 */
#ifndef SEALEDFS_FORMAT_H
#define SEALEDFS_FORMAT_H

#include "crypto/base/digest.h"

#define SEAL_MAGIC "sealedfs"
#define SEAL_VERSION 2
#define SEAL_SUITE 1

#define SEAL_CHUNK_SIZE ((uint32_t)524288)   /* plaintext and ciphertext bytes of a chunk */
#define SEAL_EXTENT_SIZE ((uint32_t)8388608) /* 16 chunks: one ranged GET, one upload part */
#define SEAL_LENGTH_MAX (UINT64_C(16) << 40) /* bytes of plaintext */

#define SEAL_CORE_SIZE 2048
#define SEAL_HEADER_SIZE 2240 /* 0x8C0: everything before the first slot */
#define SEAL_SLOT_SIZE 1024
#define SEAL_SLOT_BODY_MAX 1020
#define SEAL_SLOTS_MAX 16
#define SEAL_TABLE_ALIGN 4096
/* Header, slots and padding always fit in this many bytes: what a listing has to fetch. */
#define SEAL_HEAD_MAX 20480

#define SEAL_FILE_ID_SIZE 32
#define SEAL_TAG_SIZE 16
#define SEAL_HASH_SIZE 32 /* fs-verity level-1 hash of a chunk */
#define SEAL_DATA_KEY_SIZE 32
#define SEAL_NAME_MAX 255		     /* bytes of one component of a path */
#define SEAL_PATH_MAX 1024		     /* bytes */
#define SEAL_FACTS_MAX 640		     /* bytes */
#define SEAL_TIME_MAX UINT64_C(253402300799) /* seconds since 1970: the end of the year 9999 */

#define SEAL_SUFFIX ".seal"
#define SEAL_PAYLOAD_SUFFIX ".sealed"
#define SEAL_PAYLOAD_ID_DIGITS 16 /* hex digits of the file id in a payload's name */

enum seal_slot_type {
	SEAL_SLOT_KMS = 1,
	SEAL_SLOT_TPM2 = 2, /* struct tpm_slot */
	SEAL_SLOT_KEYFILE = 3,
	SEAL_SLOT_SET = 4, /* member of a set: set.h */
};

#endif
