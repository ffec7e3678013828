/*
 * Recipients as bytes: shape of every slot, body of KMS slots. (keyfile.c has key files, tpm_slot.c
 * TPMs.) Trusts nothing of a slot. Must never accept two encodings of the same recipient.
 */
#include "crypto/slots.h"

#include "crypto/base/cursor.h"

#include <errno.h>
#include <string.h>

#define SLOT_HEAD_SIZE (SEAL_SLOT_SIZE - SEAL_SLOT_BODY_MAX)

static bool arn_printable(const uint8_t *arn, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (arn[i] < 0x21 || arn[i] > 0x7E)
			return false;
	return size > 0;
}

static const char *kms_problem(const struct seal_slot *slot, struct kms_slot *ret)
{
	struct cursor c = cursor_init(slot->body, slot->body_size);
	uint16_t arn_size = cursor_le16(&c), blob_size;
	const uint8_t *arn, *blob;

	if (c.failed)
		return "the KMS recipient is cut short";
	if (arn_size == 0 || arn_size > SLOT_KMS_ARN_MAX)
		return "the key ARN's length is out of range";
	arn = cursor_take(&c, arn_size);
	blob_size = cursor_le16(&c);
	if (c.failed)
		return "the key ARN overruns the slot";
	if (!arn_printable(arn, arn_size))
		return "the key ARN is not printable ASCII";
	if (blob_size == 0 || blob_size > SLOT_KMS_BLOB_MAX)
		return "the CiphertextBlob's length is out of range";
	blob = cursor_take(&c, blob_size);
	if (!cursor_done(&c))
		return "the CiphertextBlob does not end with the slot's body";
	memcpy(ret->arn, arn, arn_size);
	ret->arn[arn_size] = '\0';
	memcpy(ret->blob, blob, blob_size);
	ret->blob_size = blob_size;
	return NULL;
}

int slot_parse_kms(const struct seal_slot *slot, struct kms_slot *ret, struct error *err)
{
	struct kms_slot parsed = {0};
	const char *problem = slot->type != SEAL_SLOT_KMS ? "the recipient is not a KMS key"
							  : kms_problem(slot, &parsed);

	if (problem)
		return error_set(err, -EPROTO, "malformed slot: %s", problem);
	*ret = parsed;
	return 0;
}

int slot_make_kms(const char *arn, const uint8_t *blob, size_t blob_size, struct seal_slot *ret,
		  struct error *err)
{
	size_t arn_size = strnlen(arn, SLOT_KMS_ARN_MAX + 1);
	struct seal_slot slot = {.type = SEAL_SLOT_KMS};

	if (arn_size > SLOT_KMS_ARN_MAX || !arn_printable((const uint8_t *)arn, arn_size))
		return error_set(err, -EINVAL,
				 "a key ARN has 1 to %d printable ASCII characters, without blanks",
				 SLOT_KMS_ARN_MAX);
	if (blob_size == 0 || blob_size > SLOT_KMS_BLOB_MAX)
		return error_set(err, -EINVAL,
				 "KMS returned a CiphertextBlob of %zu bytes; a slot holds 1 to %d",
				 blob_size, SLOT_KMS_BLOB_MAX);
	put_le16(slot.body, (uint16_t)arn_size);
	memcpy(slot.body + 2, arn, arn_size);
	put_le16(slot.body + 2 + arn_size, (uint16_t)blob_size);
	memcpy(slot.body + 4 + arn_size, blob, blob_size);
	slot.body_size = (uint16_t)(4 + arn_size + blob_size);
	*ret = slot;
	return 0;
}

const uint8_t *slot_set_id(const struct seal_slot *slot)
{
	return slot->type == SEAL_SLOT_SET && slot->body_size == SLOT_SET_SIZE ? slot->body : NULL;
}

const char *slot_problem(const struct seal_slot *slot)
{
	struct kms_slot unused;
	struct tpm_slot unused_tpm;

	if (slot->body_size > SEAL_SLOT_BODY_MAX)
		return "its body is longer than a slot";
	switch (slot->type) {
	case 0:
		return "it has the type 0";
	case SEAL_SLOT_KMS:
		return kms_problem(slot, &unused);
	case SEAL_SLOT_TPM2:
		return slot_take_tpm(slot, &unused_tpm);
	case SEAL_SLOT_KEYFILE:
		return slot_keyfile_id(slot) ? NULL : "the key file recipient has the wrong size";
	case SEAL_SLOT_SET:
		return slot_set_id(slot) ? NULL : "the set's slot has the wrong size";
	default:
		return NULL;
	}
}

const char *slot_load(const uint8_t bytes[SEAL_SLOT_SIZE], struct seal_slot *ret)
{
	struct cursor c = cursor_init(bytes, SEAL_SLOT_SIZE);

	*ret = (struct seal_slot){0};
	ret->type = cursor_le16(&c);
	ret->body_size = cursor_le16(&c);
	if (ret->body_size > SEAL_SLOT_BODY_MAX)
		return "its body is longer than a slot";
	cursor_copy(&c, ret->body, ret->body_size);
	cursor_zeros(&c, cursor_left(&c));
	if (!cursor_done(&c))
		return "the bytes after its body are not zero";
	return slot_problem(ret);
}

void slot_store(const struct seal_slot *slot, uint8_t bytes[SEAL_SLOT_SIZE])
{
	put_le16(bytes, slot->type);
	put_le16(bytes + 2, slot->body_size);
	memcpy(bytes + SLOT_HEAD_SIZE, slot->body, slot->body_size);
	memset(bytes + SLOT_HEAD_SIZE + slot->body_size, 0,
	       (size_t)SEAL_SLOT_BODY_MAX - slot->body_size);
}
