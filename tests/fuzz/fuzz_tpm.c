/*
 * Fuzz target: what is read from files about TPMs: a storage key (TPM2B_PUBLIC), and signed
 * policies. What is accepted holds the promises of the headers; a broken one aborts.
 */
#include "attest/policy_signature.h"
#include "attest/tpm_secret.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void try_key(const uint8_t *data, size_t size)
{
	struct storage_key k;
	struct error err = {0};
	int r = storage_key_parse(data, size, &k, &err);

	promise(r == 0 || (r == -EPROTO && err.code == r));
	if (r < 0)
		return;
	promise(k.public_size + 2 == size && memcmp(k.public, data + 2, k.public_size) == 0);
	promise(k.aes_bits == 128 || k.aes_bits == 256);
	promise(k.modulus_size == 0 || k.modulus_size == 256 || k.modulus_size == 384);
}

static void try_policies(const uint8_t *data, size_t size)
{
	uint8_t modulus[256];
	struct policy_signatures all = {0};
	struct error err = {0};
	int r;

	memset(modulus, 0xc5, sizeof(modulus));
	r = policy_signatures_parse(data, size, "policies", modulus, sizeof(modulus), &all, &err);
	promise(r < 0 && err.code == r); /* nobody can sign with that key */
	promise(r == -EPROTO || r == -EKEYREJECTED || r == -EBADMSG);
	promise(all.count == 0 && !all.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_key(data, size);
	try_policies(data, size);
	return 0;
}
