/*
 * Recipients in words. Job: name whom a slot is for. Trusts no slot.
 */
#include "crypto/slot_text.h"

#include "crypto/base/encode.h"

#include <stdio.h>
#include <string.h>

const char *slot_text(const struct seal_slot *slot, char out[SLOT_TEXT_SIZE])
{
	const uint8_t *keyfile = slot_keyfile_id(slot), *set = slot_set_id(slot);
	char hex[2 * SLOT_SET_ID_SIZE + 1];
	struct kms_slot kms;

	if (slot_parse_kms(slot, &kms, NULL) == 0) {
		(void)snprintf(out, SLOT_TEXT_SIZE, "KMS key %s", kms.arn);
	} else if (slot->type == SEAL_SLOT_KEYFILE && keyfile) {
		hex_encode(keyfile, SLOT_KEYFILE_ID_SIZE, hex);
		(void)snprintf(out, SLOT_TEXT_SIZE, "key file %s", hex);
	} else if (set) {
		hex_encode(set, SLOT_SET_ID_SIZE, hex);
		(void)snprintf(out, SLOT_TEXT_SIZE, "who opens the set %s", hex);
	} else if (slot->type == SEAL_SLOT_TPM2) {
		(void)snprintf(out, SLOT_TEXT_SIZE, "a TPM (not opened by this version)");
	} else {
		(void)snprintf(out, SLOT_TEXT_SIZE, "a recipient of unknown type %u", slot->type);
	}
	return out;
}

char *slots_text(const struct seal_slot *slots, unsigned count)
{
	char *all = calloc(count + 1, SLOT_TEXT_SIZE), *p = all, *shorter;

	for (unsigned i = 0; all && i < count; i++) {
		if (i > 0)
			*p++ = '\n';
		p += strlen(slot_text(&slots[i], p));
	}
	shorter = all ? realloc(all, (size_t)(p - all) + 1) : NULL;
	return shorter ? shorter : all;
}
