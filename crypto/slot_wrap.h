/*
 * slot_wrap.h: slots whose body is id ‖ nonce ‖ wrapped key ‖ tag (AES-256-GCM): key files and
 * sets. For keyfile.c and set_unlock.c.
 */
#ifndef SEALEDFS_SLOT_WRAP_H
#define SEALEDFS_SLOT_WRAP_H

#include "crypto/slots.h"

struct slot_wrap {
	uint16_t type;
	const uint8_t *id;
	size_t id_size;
	const uint8_t *key; /* AEAD_KEY_SIZE bytes */
	const uint8_t *aad;
	size_t aad_size;
};

/* -EINVAL: data_key has another size than a data key. */
int slot_wrap(const struct slot_wrap *w, const struct secret *data_key, struct seal_slot *ret);
/* The slot is well-formed, of w's type and id. -EBADMSG: it does not verify. */
int slot_unwrap(const struct slot_wrap *w, const struct seal_slot *slot, struct secret **ret);

#endif
