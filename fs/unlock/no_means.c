/*
 * The refusal of what is sealed for others. Job: name all recipients. Trusts no slot.
 */
#include "fs/unlock/no_means.h"

#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/set.h"

#include <errno.h>
#include <string.h>

static void describe_slot(const struct seal_slot *slot, char *out, size_t size)
{
	char id[2 * SLOT_KEYFILE_ID_SIZE + 1];
	const uint8_t *keyfile;
	struct kms_slot kms;

	switch (slot->type) {
	case SEAL_SLOT_KMS:
		if (slot_parse_kms(slot, &kms, NULL) == 0)
			(void)snprintf(out, size, "KMS key %s", kms.arn);
		else
			(void)snprintf(out, size, "a malformed KMS slot");
		return;
	case SEAL_SLOT_KEYFILE:
		keyfile = slot_keyfile_id(slot);
		hex_encode(keyfile ? keyfile : (const uint8_t *)"", keyfile ? sizeof(id) / 2 : 0,
			   id);
		(void)snprintf(out, size, "key file %s", id);
		return;
	case SEAL_SLOT_TPM2:
		(void)snprintf(out, size, "a TPM (not opened by this version)");
		return;
	case SEAL_SLOT_SET:
		(void)snprintf(out, size, "the members of a set that is not open");
		return;
	default:
		(void)snprintf(out, size, "a recipient of unknown type %u", slot->type);
	}
}

int unlock_no_means(const struct sealed_head *head, const char *name, struct error *err)
{
	char text[UNLOCK_RECIPIENTS_MAX] = "";
	size_t at = 0;
	bool has_kms = false, has_set = false;

	for (unsigned n = 0; n < head->slot_count; n++) {
		const struct seal_slot *slot = &head->slots[n];
		char one[SLOT_KMS_ARN_MAX + 32];
		int written;

		describe_slot(slot, one, sizeof(one));
		has_kms |= slot->type == SEAL_SLOT_KMS;
		has_set |= slot->type == SEAL_SLOT_SET;
		written = snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "", one);
		if (written < 0 || (size_t)written >= sizeof(text) - at)
			break;
		at += (size_t)written;
	}
	seal_fail(err, SEAL_NO_RECIPIENT, name, "it is sealed for %s", text);
	if (has_set)
		error_hint(err, "open it through its set: mount or check the directory or prefix "
				"that has the object " SET_OBJECT_NAME);
	error_hint(err, has_kms ? "give one of its key files, or an AWS region and credentials "
				  "for KMS"
				: "give one of its key files");
	return -ENOKEY;
}
