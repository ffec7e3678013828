/*
 * set_internal.h: for set*.c and tests: a parsed set and where its header's fields are.
 */
#ifndef SEALEDFS_SET_INTERNAL_H
#define SEALEDFS_SET_INTERNAL_H

#include "crypto/sealed_head_internal.h"
#include "crypto/set.h"

#define SET_FORMAT_VERSION 1
#define SET_SUITE 1
#define SET_SIGNED_LABEL "sealedfs set v1"

#define SET_FORMAT_AT 0x008
#define SET_ID_AT 0x010
#define SET_VERSION_AT 0x030
#define SET_COUNT_AT 0x048
#define SET_TABLE_HASH_AT 0x050
#define SET_CONTENT_AT 0x070
#define SET_COMMITMENT_AT 0x090
#define SET_NAME_SIZE_AT 0x0B0
#define SET_NAME_AT 0x0C0
#define SET_NAME_ROOM 256
#define SET_FACTS_AT 0x1C0
#define SET_HEADER_END 0x440 /* zeros from here to SEAL_CORE_SIZE */

#define SET_ENTRY_FIXED 234 /* bytes of an entry without its path */

struct set {
	struct sealed_head *head;
	struct set_header header;
	struct set_member *members; /* NULL before set_load_table() */
	char *paths;		    /* what their paths point into */
};

struct set_keys {
	struct secret *derived; /* KDF_SET_OUTPUT_SIZE bytes, kdf.h */
	uint8_t id[SET_ID_SIZE];
};

int set_keys_derive(const struct secret *set_key, const uint8_t header[SEAL_CORE_SIZE],
		    struct set_keys **ret);
/* Commitment. */
bool set_keys_fit(const struct set *s, const struct set_keys *keys);
const uint8_t *set_mac_key(const struct set_keys *keys);

#endif
