/*
 * seal_internal.h: what seal.c, seal_unlock.c, seal_writer.c and chunk.c share, and nobody else
 * may include: the parsed seal, its keys, offsets of the header, and the bytes that are signed
 * and MACed.
 */
#ifndef SEALEDFS_SEAL_INTERNAL_H
#define SEALEDFS_SEAL_INTERNAL_H

#include "crypto/seal.h"

#define SEAL_SIZE_MIN 4096 /* one slot, empty model */

#define CORE_VERSION_AT 0x008
#define CORE_FILE_ID_AT 0x010
#define CORE_LENGTH_AT 0x030
#define CORE_COUNT_AT 0x038
#define CORE_SHA256_AT 0x040
#define CORE_SHA384_AT 0x060
#define CORE_VERITY_AT 0x090
#define CORE_TABLE_HASH_AT 0x0B0
#define CORE_COMMITMENT_AT 0x0D0
#define CORE_NAME_LENGTH_AT 0x0F0
#define CORE_NAME_AT 0x0F2
#define CORE_RESERVED_SIZE 15

#define SIGNATURE_AT 0x200
#define SIGNATURE_RESERVED_SIZE 30
#define SIGNATURE_NONE 0
#define SIGNATURE_ED25519 1

#define SLOT_HEADER_AT 0x280
#define SLOT_HEADER_RESERVED_SIZE 30

#define SIGNED_LABEL "sealedfs core v1" /* with its NUL */
#define SIGNED_SIZE (sizeof(SIGNED_LABEL) + SHA384_SIZE)

struct seal {
	char *name;
	uint8_t core_bytes[SEAL_CORE_SIZE];
	struct seal_core core;
	uint16_t signature_alg;
	uint8_t signer_id[SIGNER_ID_SIZE];
	uint8_t signature[SIGNATURE_SIZE];
	uint8_t slot_mac[SHA256_SIZE];
	uint8_t *tables; /* tag table, then hash table; NULL after seal_parse_head() */
	unsigned slot_count;
	struct seal_slot slots[];
};

struct seal_keys {
	struct secret *derived; /* KDF_OUTPUT_SIZE bytes, kdf.h */
	uint64_t chunk_count;
};

/* Where the tables start. slot_count: 1 … SEAL_SLOTS_MAX. */
uint64_t seal_tables_at(unsigned slot_count);
uint64_t seal_chunks_of(uint64_t length);

int seal_keys_derive(const struct secret *data_key, const uint8_t core[SEAL_CORE_SIZE],
		     struct seal_keys **ret);
/* SIGNED_SIZE bytes: what the owner signs. */
int seal_signed_bytes(const uint8_t core[SEAL_CORE_SIZE], uint8_t out[SIGNED_SIZE]);
int seal_slot_mac(const struct seal_keys *keys, const uint8_t core[SEAL_CORE_SIZE],
		  const struct seal_slot *slots, unsigned slot_count, uint8_t out[SHA256_SIZE]);

#endif
