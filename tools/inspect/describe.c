/*
 * Seals in words. Trusts nothing in a seal: names and ARNs are printed safely. The caller
 * states that the output is not verified.
 */
#include "tools/inspect/describe.h"

#include "attest/policy_signature.h"
#include "crypto/facts.h"
#include "crypto/name.h"
#include "crypto/slot_text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static json_t *describe_tpm_json(const struct tpm_slot *s)
{
	json_t *pcrs = json_object(), *signer = json_null();
	uint8_t print[SHA256_SIZE];
	size_t n = 0;

	for (unsigned pcr = 0; pcr < SLOT_TPM_PCRS; pcr++) {
		char number[8];

		(void)snprintf(number, sizeof(number), "%u", pcr);
		if (s->selection & UINT32_C(1) << pcr)
			json_object_set_new(
				pcrs, number,
				output_hex_json(s->values + s->value_size * n++, s->value_size));
	}
	if (s->policy_key_size > 0 &&
	    policy_key_fingerprint(s->policy_key, s->policy_key_size, print) == 0)
		signer = output_hex_json(print, sizeof(print));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "type", "tpm2", "storage_key",
			 output_hex_json(s->parent, SHA256_SIZE), "bank",
			 s->bank ? json_string(digest_name((enum digest_alg)s->bank)) : json_null(),
			 "pcrs", pcrs, "policy_key", signer);
}

json_t *describe_slot_json(const struct seal_slot *slot)
{
	const uint8_t *id = slot_keyfile_id(slot), *set = slot_set_id(slot);
	struct kms_slot kms;
	struct tpm_slot tpm;

	if (slot->type == SEAL_SLOT_KMS && slot_parse_kms(slot, &kms, NULL) == 0)
		return json_pack("{s:s, s:o, s:i}", "type", "aws-kms", "key", output_text(kms.arn),
				 "wrapped_key_bytes", (int)kms.blob_size);
	if (slot->type == SEAL_SLOT_KEYFILE && id)
		return json_pack("{s:s, s:o}", "type", "key-file", "id",
				 output_hex_json(id, SLOT_KEYFILE_ID_SIZE));
	if (set)
		return json_pack("{s:s, s:o}", "type", "set", "id",
				 output_hex_json(set, SLOT_SET_ID_SIZE));
	if (slot_parse_tpm(slot, &tpm, NULL) == 0)
		return describe_tpm_json(&tpm);
	return json_pack("{s:s, s:i, s:i}", "type", "unknown", "number", (int)slot->type, "bytes",
			 (int)slot->body_size);
}

json_t *describe_slots_json(const struct seal_slot *slots, unsigned count)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		output_append(&list, describe_slot_json(&slots[i]));
	return list;
}

/* The facts as an object, in their order. They are UTF-8 without control characters. */
json_t *describe_facts_json(const char *text)
{
	json_t *all = json_object();
	struct fact f;
	size_t at = 0;

	while (facts_next(text, &at, &f)) {
		char key[FACT_KEY_MAX + 1];

		(void)snprintf(key, sizeof(key), "%.*s", (int)f.key_size, f.key);
		json_object_set_new(all, key, json_stringn(f.value, f.value_size));
	}
	return all;
}

void describe_facts(const char *text)
{
	char value[SEAL_FACTS_MAX + 1], printable[NAME_PRINTABLE_SIZE];
	struct fact f;
	size_t at = 0;

	if (text[0] == '\0')
		print_safely(stdout, "  facts       none\n");
	while (facts_next(text, &at, &f)) {
		(void)snprintf(value, sizeof(value), "%.*s", (int)f.value_size, f.value);
		name_printable(value, printable);
		print_safely(stdout, "  fact        %.*s=%s\n", (int)f.key_size, f.key, printable);
	}
}

static void print_time(uint64_t seconds)
{
	time_t when = (time_t)seconds;
	char text[sizeof("9999-12-31T23:59:59Z")];
	struct tm tm;

	if (gmtime_r(&when, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		print_safely(stdout, "  sealed      %s\n", text);
}

json_t *describe_seal_json(const struct seal *seal, const char *label, uint64_t object_size,
			   bool path_fits)
{
	const struct seal_core *core = seal_core(seal);
	json_t *slots = json_array(), *signer = json_null();

	for (unsigned i = 0; i < seal_slot_count(seal); i++)
		output_append(&slots, describe_slot_json(seal_slot(seal, i)));
	if (seal_is_signed(seal))
		signer = output_hex_json(seal_signer_id(seal), SIGNER_ID_SIZE);
	return json_pack(
		"{s:s, s:o, s:b, s:I, s:i, s:i, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
		"s:o, s:I, s:o, s:b, s:o}",
		"type", "seal", "object", output_text(label), "verified", 0, "size",
		(json_int_t)object_size, "version", SEAL_VERSION, "suite", SEAL_SUITE, "path",
		output_text(core->path), "file_id",
		output_hex_json(core->file_id, SEAL_FILE_ID_SIZE), "length",
		(json_int_t)core->length, "chunks", (json_int_t)core->chunk_count, "sha256",
		output_hex_json(core->sha256, sizeof(core->sha256)), "sha384",
		output_hex_json(core->sha384, sizeof(core->sha384)), "verity",
		output_hex_json(core->verity, sizeof(core->verity)), "table_hash",
		output_hex_json(core->table_hash, sizeof(core->table_hash)), "commitment",
		output_hex_json(core->commitment, sizeof(core->commitment)), "signer", signer,
		"recipients", slots, "sealed_at", (json_int_t)core->sealed_at, "facts",
		describe_facts_json(core->facts), "path_fits", path_fits, "name",
		output_text(name_last_component(core->path)));
}

void describe_seal(const struct seal *seal, const char *label, uint64_t object_size, bool path_fits)
{
	const struct seal_core *core = seal_core(seal);
	char name[NAME_PRINTABLE_SIZE], slot[SLOT_TEXT_SIZE];

	name_printable(label, name);
	print_safely(
		stdout,
		"%s: seal, format version %d, suite %d, %llu bytes (nothing is verified here)\n",
		name, SEAL_VERSION, SEAL_SUITE, (unsigned long long)object_size);
	name_printable(core->path, name);
	print_safely(stdout, "  path        %s%s\n", name,
		     path_fits ? "" : " (not its place: a mount refuses it here)");
	print_time(core->sealed_at);
	describe_facts(core->facts);
	print_safely(stdout, "  file id     %s\n", OUTPUT_HEX(core->file_id, SEAL_FILE_ID_SIZE));
	print_safely(stdout, "  length      %llu bytes, %llu chunk%s\n",
		     (unsigned long long)core->length, (unsigned long long)core->chunk_count,
		     core->chunk_count == 1 ? "" : "s");
	print_safely(stdout, "  sha256      %s\n", OUTPUT_HEX(core->sha256, sizeof(core->sha256)));
	print_safely(stdout, "  sha384      %s\n", OUTPUT_HEX(core->sha384, sizeof(core->sha384)));
	print_safely(stdout, "  fs-verity   sha256:%s\n",
		     OUTPUT_HEX(core->verity, sizeof(core->verity)));
	print_safely(stdout, "  table hash  %s\n",
		     OUTPUT_HEX(core->table_hash, sizeof(core->table_hash)));
	print_safely(stdout, "  commitment  %s\n",
		     OUTPUT_HEX(core->commitment, sizeof(core->commitment)));
	if (seal_is_signed(seal))
		print_safely(stdout, "  signer      %s (Ed25519)\n",
			     OUTPUT_HEX(seal_signer_id(seal), SIGNER_ID_SIZE));
	else
		print_safely(stdout, "  signer      none: unsigned\n");
	for (unsigned i = 0; i < seal_slot_count(seal); i++)
		print_safely(stdout, "  recipient   %s\n", slot_text(seal_slot(seal, i), slot));
}
