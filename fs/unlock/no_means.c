/*
 * The refusal of what is sealed for others. Job: name all recipients. Trusts no slot.
 */
#include "fs/unlock/no_means.h"

#include "crypto/failure.h"
#include "crypto/set.h"
#include "crypto/slot_text.h"

#include <errno.h>
#include <string.h>

int unlock_no_means(const struct sealed_head *head, const char *name, struct error *err)
{
	char text[UNLOCK_RECIPIENTS_MAX] = "";
	size_t at = 0;
	bool has_kms = false, has_set = false, has_tpm = false;

	for (unsigned n = 0; n < head->slot_count; n++) {
		const struct seal_slot *slot = &head->slots[n];
		char one[SLOT_TEXT_SIZE];
		int written;

		has_kms |= slot->type == SEAL_SLOT_KMS;
		has_set |= slot->type == SEAL_SLOT_SET;
		has_tpm |= slot->type == SEAL_SLOT_TPM2;
		written = snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "",
				   slot->type == SEAL_SLOT_SET
					   ? "the members of a set that is not open"
					   : slot_text(slot, one));
		if (written < 0 || (size_t)written >= sizeof(text) - at)
			break;
		at += (size_t)written;
	}
	seal_fail(err, SEAL_NO_RECIPIENT, name, "it is sealed for %s", text);
	if (has_set)
		error_hint(err, "open it through its set: mount or check the directory or prefix "
				"that has the object " SET_OBJECT_NAME);
	if (has_tpm)
		error_hint(err, "give --tpm on the machine with that TPM, or another recipient");
	error_hint(err, has_kms ? "give one of its key files, or an AWS region and credentials "
				  "for KMS"
				: "give one of its key files");
	return -ENOKEY;
}
