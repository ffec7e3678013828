/*
 * Policies of slots. Job: the digests that a TPM will compute for a slot. Trusts the parser of
 * slots for shapes. Must never take from the slot what follows from it.
 */
#include "attest/tpm_policy.h"

#include "crypto/base/cursor.h"

#include <errno.h>
#include <string.h>
#include <tss2/tss2_tpm2_types.h>

#define OBJECT_ATTRIBUTES (TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_NODA)
#define POLICY_KEY_ATTRIBUTES \
	(TPMA_OBJECT_DECRYPT | TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_USERWITHAUTH)
#define POLICY_KEY_HEAD 22

void tpm_pcr_selection(unsigned bank, uint32_t selection, uint8_t out[TPM_SELECTION_SIZE])
{
	put_be32(out, 1);
	put_be16(out + 4, (uint16_t)bank);
	out[6] = 3;
	for (unsigned i = 0; i < 3; i++)
		out[7 + i] = (uint8_t)(selection >> (8 * i));
}

static int hash(const struct kdf_bytes *parts, size_t count, uint8_t out[SHA256_SIZE])
{
	_cleanup_digest_ struct digest *d = NULL;
	int r = digest_new(DIGEST_SHA256, &d);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = digest_update(d, parts[i].data, parts[i].size);
	return r < 0 ? r : digest_final(d, out);
}

int tpm_policy_pcr(const uint8_t in[SHA256_SIZE], unsigned bank, uint32_t selection,
		   struct kdf_bytes values, uint8_t out[SHA256_SIZE])
{
	uint8_t code[4], list[TPM_SELECTION_SIZE], digest[SHA256_SIZE];
	const struct kdf_bytes parts[] = {{in, SHA256_SIZE},
					  {code, sizeof(code)},
					  {list, sizeof(list)},
					  {digest, sizeof(digest)}};
	int r = hash(&values, 1, digest);

	put_be32(code, TPM2_CC_PolicyPCR);
	tpm_pcr_selection(bank, selection, list);
	return r < 0 ? r : hash(parts, ARRAY_LEN(parts), out);
}

int tpm_policy_key_name(const uint8_t *modulus, size_t size, uint8_t name[TPM_NAME_SIZE])
{
	uint8_t head[POLICY_KEY_HEAD] = {0};
	const struct kdf_bytes parts[] = {{head, sizeof(head)}, {modulus, size}};

	put_be16(head, TPM2_ALG_RSA);
	put_be16(head + 2, TPM2_ALG_SHA256);
	put_be32(head + 4, POLICY_KEY_ATTRIBUTES);
	put_be16(head + 10, TPM2_ALG_NULL);
	put_be16(head + 12, TPM2_ALG_NULL);
	put_be16(head + 14, (uint16_t)(8 * size));
	put_be16(head + 20, (uint16_t)size);
	put_be16(name, TPM2_ALG_SHA256);
	return hash(parts, ARRAY_LEN(parts), name + 2);
}

/* PolicyAuthorize forgets what was before it. */
static int policy_authorize(const struct tpm_slot *s, uint8_t out[SHA256_SIZE])
{
	uint8_t code[4], name[TPM_NAME_SIZE], before[SHA256_SIZE] = {0};
	const struct kdf_bytes parts[] = {
		{before, sizeof(before)}, {code, sizeof(code)}, {name, sizeof(name)}};
	const struct kdf_bytes once_more = {out, SHA256_SIZE};
	int r = tpm_policy_key_name(s->policy_key, s->policy_key_size, name);

	put_be32(code, TPM2_CC_PolicyAuthorize);
	if (r == 0)
		r = hash(parts, ARRAY_LEN(parts), out);
	return r < 0 ? r : hash(&once_more, 1, out);
}

int tpm_slot_policy(const struct tpm_slot *s, uint8_t out[SHA256_SIZE])
{
	int r = 0;

	memset(out, 0, SHA256_SIZE);
	if (s->policy_key_size > 0)
		r = policy_authorize(s, out);
	if (r == 0 && s->selection)
		r = tpm_policy_pcr(out, s->bank, s->selection,
				   (struct kdf_bytes){s->values, s->value_size * s->value_count},
				   out);
	return r;
}

int tpm_slot_object(const struct tpm_slot *s, uint8_t public[TPM_OBJECT_PUBLIC_SIZE],
		    uint8_t name[TPM_NAME_SIZE])
{
	const struct kdf_bytes area = {public, TPM_OBJECT_PUBLIC_SIZE};
	int r;

	put_be16(public, TPM2_ALG_KEYEDHASH);
	put_be16(public + 2, TPM2_ALG_SHA256);
	put_be32(public + 4, OBJECT_ATTRIBUTES);
	put_be16(public + 8, SHA256_SIZE);
	r = tpm_slot_policy(s, public + 10);
	put_be16(public + 42, TPM2_ALG_NULL);
	put_be16(public + 44, SHA256_SIZE);
	memcpy(public + 46, s->unique, SHA256_SIZE);
	put_be16(name, TPM2_ALG_SHA256);
	return r < 0 ? r : hash(&area, 1, name + 2);
}
