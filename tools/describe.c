/*
 * Seals in words. Trusts nothing in a seal: names and ARNs are printed safely, and what is shown is
 * said to be unverified by whoever prints it.
 */
#include "tools/describe.h"

#include "crypto/name.h"

#include <errno.h>
#include <string.h>

json_t *describe_slot_json(const struct seal_slot *slot)
{
	const uint8_t *id = slot_keyfile_id(slot);
	struct kms_slot kms;

	if (slot->type == SEAL_SLOT_KMS && slot_parse_kms(slot, &kms, NULL) == 0)
		return json_pack("{s:s, s:o, s:i}", "type", "aws-kms", "key", output_text(kms.arn),
				 "wrapped_key_bytes", (int)kms.blob_size);
	if (slot->type == SEAL_SLOT_KEYFILE && id)
		return json_pack("{s:s, s:o}", "type", "key-file", "id",
				 output_hex_json(id, SLOT_KEYFILE_ID_SIZE));
	return json_pack("{s:s, s:i, s:i}", "type",
			 slot->type == SEAL_SLOT_TPM2 ? "tpm2" : "unknown", "number",
			 (int)slot->type, "bytes", (int)slot->body_size);
}

json_t *describe_slots_json(const struct seal_slot *slots, unsigned count)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		output_append(&list, describe_slot_json(&slots[i]));
	return list;
}

const char *describe_slot(const struct seal_slot *slot, char out[DESCRIBE_SLOT_SIZE])
{
	const uint8_t *id = slot_keyfile_id(slot);
	struct kms_slot kms;

	if (slot->type == SEAL_SLOT_KMS && slot_parse_kms(slot, &kms, NULL) == 0)
		(void)snprintf(out, DESCRIBE_SLOT_SIZE, "AWS KMS %s", kms.arn);
	else if (slot->type == SEAL_SLOT_KEYFILE && id)
		(void)snprintf(out, DESCRIBE_SLOT_SIZE, "key file %s",
			       OUTPUT_HEX(id, SLOT_KEYFILE_ID_SIZE));
	else if (slot->type == SEAL_SLOT_TPM2)
		(void)snprintf(out, DESCRIBE_SLOT_SIZE, "TPM 2.0 (not supported in this version)");
	else
		(void)snprintf(out, DESCRIBE_SLOT_SIZE, "unknown kind %u", slot->type);
	return out;
}

json_t *describe_seal_json(const struct seal *seal, const char *label, uint64_t object_size)
{
	const struct seal_core *core = seal_core(seal);
	json_t *slots = json_array(), *signer = json_null();

	for (unsigned i = 0; i < seal_slot_count(seal); i++)
		output_append(&slots, describe_slot_json(seal_slot(seal, i)));
	if (seal_is_signed(seal))
		signer = output_hex_json(seal_signer_id(seal), SIGNER_ID_SIZE);
	return json_pack(
		"{s:s, s:o, s:b, s:I, s:i, s:i, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
		"s:o}",
		"type", "seal", "object", output_text(label), "verified", 0, "size",
		(json_int_t)object_size, "version", SEAL_VERSION, "suite", SEAL_SUITE, "name",
		output_text(core->name), "file_id",
		output_hex_json(core->file_id, SEAL_FILE_ID_SIZE), "length",
		(json_int_t)core->length, "chunks", (json_int_t)core->chunk_count, "sha256",
		output_hex_json(core->sha256, sizeof(core->sha256)), "sha384",
		output_hex_json(core->sha384, sizeof(core->sha384)), "verity",
		output_hex_json(core->verity, sizeof(core->verity)), "table_hash",
		output_hex_json(core->table_hash, sizeof(core->table_hash)), "commitment",
		output_hex_json(core->commitment, sizeof(core->commitment)), "signer", signer,
		"recipients", slots);
}

void describe_seal(const struct seal *seal, const char *label, uint64_t object_size)
{
	const struct seal_core *core = seal_core(seal);
	char name[NAME_PRINTABLE_SIZE], slot[DESCRIBE_SLOT_SIZE];

	name_printable(label, name);
	printf("%s: seal, format version %d, suite %d, %llu bytes (nothing is verified here)\n",
	       name, SEAL_VERSION, SEAL_SUITE, (unsigned long long)object_size);
	name_printable(core->name, name);
	printf("  name        %s\n", name);
	printf("  file id     %s\n", OUTPUT_HEX(core->file_id, SEAL_FILE_ID_SIZE));
	printf("  length      %llu bytes, %llu chunks\n", (unsigned long long)core->length,
	       (unsigned long long)core->chunk_count);
	printf("  sha256      %s\n", OUTPUT_HEX(core->sha256, sizeof(core->sha256)));
	printf("  sha384      %s\n", OUTPUT_HEX(core->sha384, sizeof(core->sha384)));
	printf("  fs-verity   sha256:%s\n", OUTPUT_HEX(core->verity, sizeof(core->verity)));
	printf("  table hash  %s\n", OUTPUT_HEX(core->table_hash, sizeof(core->table_hash)));
	printf("  commitment  %s\n", OUTPUT_HEX(core->commitment, sizeof(core->commitment)));
	if (seal_is_signed(seal))
		printf("  signer      %s (Ed25519)\n",
		       OUTPUT_HEX(seal_signer_id(seal), SIGNER_ID_SIZE));
	else
		printf("  signer      none: unsigned\n");
	for (unsigned i = 0; i < seal_slot_count(seal); i++)
		printf("  recipient   %s\n", describe_slot(seal_slot(seal, i), slot));
}
