/*
 * Wrapping of data keys in slots. Trusts its callers' keys. Must never keep a data key whose wrap
 * did not verify.
 */
#include "crypto/slot_wrap.h"

#include "crypto/aead.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

int slot_wrap(const struct slot_wrap *w, const struct secret *data_key, struct seal_slot *ret)
{
	struct seal_slot slot = {.type = w->type};
	uint8_t *nonce = slot.body + w->id_size, *wrapped = nonce + AEAD_NONCE_SIZE;
	struct aead_input in = {
		.nonce = nonce,
		.aad = w->aad,
		.aad_size = w->aad_size,
		.text = secret_data(data_key),
		.text_size = SEAL_DATA_KEY_SIZE,
	};
	_cleanup_aead_ struct aead *a = NULL;
	int r;

	if (secret_size(data_key) != SEAL_DATA_KEY_SIZE)
		return -EINVAL;
	slot.body_size =
		(uint16_t)(w->id_size + AEAD_NONCE_SIZE + SEAL_DATA_KEY_SIZE + AEAD_TAG_SIZE);
	memcpy(slot.body, w->id, w->id_size);
	if (RAND_bytes(nonce, AEAD_NONCE_SIZE) != 1)
		return -EIO;
	r = aead_new(w->key, &a);
	if (r == 0)
		r = aead_seal(a, &in, wrapped, wrapped + SEAL_DATA_KEY_SIZE);
	if (r < 0)
		return r;
	*ret = slot;
	return 0;
}

int slot_unwrap(const struct slot_wrap *w, const struct seal_slot *slot, struct secret **ret)
{
	const uint8_t *nonce = slot->body + w->id_size, *wrapped = nonce + AEAD_NONCE_SIZE;
	struct aead_input in = {
		.nonce = nonce,
		.aad = w->aad,
		.aad_size = w->aad_size,
		.text = wrapped,
		.text_size = SEAL_DATA_KEY_SIZE,
	};
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_aead_ struct aead *a = NULL;
	int r = aead_new(w->key, &a);

	if (r == 0)
		r = secret_new(SEAL_DATA_KEY_SIZE, &key);
	if (r == 0)
		r = aead_open(a, &in, wrapped + SEAL_DATA_KEY_SIZE, secret_bytes(key));
	if (r < 0)
		return r;
	*ret = steal_ptr(key);
	return 0;
}
