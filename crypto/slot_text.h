/* slot_text.h: recipients in words, the same in every message and list. Shows no key. Pure. */
#ifndef SEALEDFS_SLOT_TEXT_H
#define SEALEDFS_SLOT_TEXT_H

#include "crypto/slots.h"

#define SLOT_TEXT_SIZE (SLOT_KMS_ARN_MAX + 64)

/* "KMS key arn:…", "key file 1f2e…", …; of an ARN's characters only 0x21 to 0x7E. */
const char *slot_text(const struct seal_slot *slot, char out[SLOT_TEXT_SIZE]);
/* One line for each, without a line end after the last; malloc()ed. NULL: no memory. */
char *slots_text(const struct seal_slot *slots, unsigned count);

#endif
