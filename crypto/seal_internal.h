/*
 * seal_internal.h: shared by seal*.c and chunk.c only: the parsed seal, its keys, offsets of the
 * header, and the bytes that are signed and MACed.
 */
#ifndef SEALEDFS_SEAL_INTERNAL_H
#define SEALEDFS_SEAL_INTERNAL_H

#include "crypto/seal.h"
#include "crypto/sealed_head_internal.h"

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
#define CORE_TIME_AT 0x0F0
#define CORE_PATH_LENGTH_AT 0x0F8
#define CORE_FACTS_LENGTH_AT 0x0FA
#define CORE_PATH_AT 0x100
#define CORE_FACTS_AT 0x500

#define SEAL_SIGNED_LABEL "sealedfs core v2"

struct seal {
	struct sealed_head *head;
	struct seal_core core;
	uint8_t *tables; /* tag table, then hash table; NULL before seal_load_tables() */
};

struct seal_keys {
	struct secret *derived; /* KDF_OUTPUT_SIZE bytes, kdf.h */
	uint64_t chunk_count;
};

uint64_t seal_chunks_of(uint64_t length);

int seal_keys_derive(const struct secret *data_key, const uint8_t core[SEAL_CORE_SIZE],
		     struct seal_keys **ret);
/* For sealed_head_internal.h. */
const uint8_t *seal_mac_key(const struct seal_keys *keys);

#endif
