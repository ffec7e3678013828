/*
 * Recipients in words. Job: name whom a slot is for. Trusts no slot.
 */
#include "crypto/slot_text.h"

#include "crypto/base/encode.h"

#include <stdio.h>
#include <string.h>

/* " sha256 PCR 4,7"; empty: none. */
static void tpm_pcrs(const struct tpm_slot *s, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (unsigned pcr = 0; pcr < SLOT_TPM_PCRS; pcr++)
		if (s->selection & UINT32_C(1) << pcr)
			at += (size_t)snprintf(out + at, size - at, "%s%s%s%u", at ? "" : " ",
					       at ? "" : digest_name((enum digest_alg)s->bank),
					       at ? "," : " PCR ", pcr);
}

static void tpm_text(const struct tpm_slot *s, char out[SLOT_TEXT_SIZE])
{
	char name[2 * SHA256_SIZE + 1], pcrs[96];

	hex_encode(s->parent, SHA256_SIZE, name);
	tpm_pcrs(s, pcrs, sizeof(pcrs));
	(void)snprintf(out, SLOT_TEXT_SIZE, "TPM %s:%s%s", name, pcrs,
		       s->policy_key_size == 0 ? ""
		       : s->selection	       ? ", and a signed policy"
					       : " a signed policy");
}

const char *slot_text(const struct seal_slot *slot, char out[SLOT_TEXT_SIZE])
{
	const uint8_t *keyfile = slot_keyfile_id(slot), *set = slot_set_id(slot);
	char hex[2 * SLOT_SET_ID_SIZE + 1];
	struct kms_slot kms;
	struct tpm_slot tpm;

	if (slot_parse_kms(slot, &kms, NULL) == 0) {
		(void)snprintf(out, SLOT_TEXT_SIZE, "KMS key %s", kms.arn);
	} else if (slot->type == SEAL_SLOT_KEYFILE && keyfile) {
		hex_encode(keyfile, SLOT_KEYFILE_ID_SIZE, hex);
		(void)snprintf(out, SLOT_TEXT_SIZE, "key file %s", hex);
	} else if (set) {
		hex_encode(set, SLOT_SET_ID_SIZE, hex);
		(void)snprintf(out, SLOT_TEXT_SIZE, "who opens the set %s", hex);
	} else if (slot_parse_tpm(slot, &tpm, NULL) == 0) {
		tpm_text(&tpm, out);
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
