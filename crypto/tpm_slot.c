/*
 * Slots for TPMs as bytes. Trusts nothing of a slot. Must never accept two encodings of one
 * recipient, nor one whose object would need no state of the machine.
 */
#include "crypto/slots.h"

#include "crypto/base/cursor.h"

#include <errno.h>
#include <string.h>

#define FIXED_SIZE 180

static bool is_rsa_size(size_t size)
{
	return size == 256 || size == SLOT_TPM_RSA_MAX;
}

/* What is wrong with the numbers, before anything behind them is looked at. */
static const char *numbers_problem(struct tpm_slot *s)
{
	if (s->selection >> SLOT_TPM_PCRS)
		return "it selects PCRs that no TPM has";
	if (s->bank != 0 && s->bank != DIGEST_SHA256 && s->bank != DIGEST_SHA384)
		return "its PCR bank is none of SHA-256 and SHA-384";
	if ((s->bank == 0) != (s->selection == 0))
		return "PCR bank and selection disagree";
	if (s->policy_key_size != 0 && !is_rsa_size(s->policy_key_size))
		return "the size of its policy key is out of range";
	if (s->selection == 0 && s->policy_key_size == 0)
		return "its TPM would open it in any state of the machine";
	if (s->seed_size != SLOT_TPM_POINT_SIZE && !is_rsa_size(s->seed_size))
		return "the size of its seed is out of range";
	s->value_size = s->bank ? digest_size((enum digest_alg)s->bank) : 0;
	s->value_count = (size_t)__builtin_popcount(s->selection);
	return NULL;
}

static const char *key_problem(const struct tpm_slot *s)
{
	if (s->policy_key_size == 0)
		return NULL;
	return (s->policy_key[0] & 0x80) && (s->policy_key[s->policy_key_size - 1] & 1)
		       ? NULL
		       : "its policy key is no RSA modulus of that size";
}

static size_t body_size(const struct tpm_slot *s)
{
	return FIXED_SIZE + s->value_size * s->value_count + s->policy_key_size + s->seed_size;
}

const char *slot_take_tpm(const struct seal_slot *slot, struct tpm_slot *ret)
{
	struct cursor c = cursor_init(slot->body, slot->body_size);
	struct tpm_slot s = {0};
	const char *problem;

	s.parent = cursor_take(&c, SHA256_SIZE);
	s.bank = cursor_le16(&c);
	s.selection = cursor_le32(&c);
	s.policy_key_size = cursor_le16(&c);
	s.seed_size = cursor_le16(&c);
	if (c.failed)
		return "the TPM recipient is cut short";
	problem = numbers_problem(&s);
	if (problem)
		return problem;
	if (body_size(&s) != slot->body_size)
		return "the TPM recipient has the wrong size";
	s.values = cursor_take(&c, s.value_size * s.value_count);
	s.policy_key = cursor_take(&c, s.policy_key_size);
	s.unique = cursor_take(&c, SHA256_SIZE);
	s.seed = cursor_take(&c, s.seed_size);
	s.integrity = cursor_take(&c, SHA256_SIZE);
	s.sensitive = cursor_take(&c, SLOT_TPM_SENSITIVE_SIZE);
	if (!cursor_done(&c))
		return "the TPM recipient has the wrong size";
	*ret = s;
	return key_problem(&s);
}

int slot_parse_tpm(const struct seal_slot *slot, struct tpm_slot *ret, struct error *err)
{
	const char *problem = slot->type != SEAL_SLOT_TPM2 ? "the recipient is not a TPM"
							   : slot_take_tpm(slot, ret);

	return problem ? error_set(err, -EPROTO, "malformed slot: %s", problem) : 0;
}

bool slot_same_tpm(const struct seal_slot *a, const struct seal_slot *b)
{
	struct tpm_slot x, y;
	size_t size;

	if (slot_parse_tpm(a, &x, NULL) < 0 || slot_parse_tpm(b, &y, NULL) < 0)
		return false;
	size = (size_t)(x.unique - a->body);
	return size == (size_t)(y.unique - b->body) && memcmp(a->body, b->body, size) == 0;
}

static uint8_t *put(uint8_t *at, const uint8_t *data, size_t size)
{
	if (size > 0)
		memcpy(at, data, size);
	return at + size;
}

int slot_make_tpm(const struct tpm_slot *parts, struct seal_slot *ret, struct error *err)
{
	struct seal_slot slot = {.type = SEAL_SLOT_TPM2};
	struct tpm_slot s = *parts;
	const char *problem = numbers_problem(&s);
	uint8_t *at = slot.body + SHA256_SIZE;

	if (!problem)
		problem = key_problem(&s);
	if (problem)
		return error_set(err, -EINVAL, "cannot make a TPM recipient: %s", problem);
	if (body_size(&s) > SEAL_SLOT_BODY_MAX) {
		error_set(err, -EINVAL,
			  "%zu PCRs, the policy key and the TPM's key do not fit a slot together",
			  s.value_count);
		error_hint(err, "give fewer PCRs, or bank=sha256");
		return -EINVAL;
	}
	memcpy(slot.body, s.parent, SHA256_SIZE);
	put_le16(at, (uint16_t)s.bank);
	put_le32(at + 2, s.selection);
	put_le16(at + 6, (uint16_t)s.policy_key_size);
	put_le16(at + 8, (uint16_t)s.seed_size);
	at = put(at + 10, s.values, s.value_size * s.value_count);
	at = put(at, s.policy_key, s.policy_key_size);
	at = put(at, s.unique, SHA256_SIZE);
	at = put(at, s.seed, s.seed_size);
	at = put(at, s.integrity, SHA256_SIZE);
	at = put(at, s.sensitive, SLOT_TPM_SENSITIVE_SIZE);
	slot.body_size = (uint16_t)(at - slot.body);
	*ret = slot;
	return 0;
}
