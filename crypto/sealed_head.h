/*
 * sealed_head.h: what seals and set objects have in common (crypto/FORMAT.md sections 3.3, 3.4, 4):
 * 2048 bytes of core (a set calls it header), the owner's signature over them, slots, and a MAC
 * over core and slots. Their parsers make heads, and nothing changes them.
 */
#ifndef SEALEDFS_SEALED_HEAD_H
#define SEALEDFS_SEALED_HEAD_H

#include "crypto/sign.h"
#include "crypto/slots.h"

#include <stdbool.h>

struct sealed_head {
	char *name; /* of the object, for messages */
	uint8_t core[SEAL_CORE_SIZE];
	uint16_t signature_alg;
	uint8_t signer_id[SIGNER_ID_SIZE]; /* zero: unsigned */
	uint8_t signature[SIGNATURE_SIZE];
	uint8_t slot_mac[SHA256_SIZE];
	unsigned slot_count;
	struct seal_slot slots[];
};

bool sealed_head_is_signed(const struct sealed_head *h);

#endif
