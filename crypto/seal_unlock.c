/*
 * Authentication of a parsed seal. Job: owner's signature, then, with the data key, commitment,
 * slot MAC, table hash and fs-verity digest, in this order. Trusts the parser for shapes only. Must
 * never hand out keys before every check passed, nor compare a MAC in variable time.
 */
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/digest.h"
#include "crypto/failure.h"
#include "crypto/kdf.h"
#include "crypto/seal_internal.h"
#include "crypto/verity.h"

#include <errno.h>
#include <string.h>

int seal_signed_bytes(const uint8_t core[SEAL_CORE_SIZE], uint8_t out[SIGNED_SIZE])
{
	memcpy(out, SIGNED_LABEL, sizeof(SIGNED_LABEL));
	return digest_buffer(DIGEST_SHA384, core, SEAL_CORE_SIZE, out + sizeof(SIGNED_LABEL));
}

int seal_check_owner(const struct seal *s, const struct owner_keys *pinned, struct error *err)
{
	char hex[2 * SIGNER_ID_SIZE + 1];
	uint8_t message[SIGNED_SIZE];
	int r;

	if (!pinned || owner_keys_count(pinned) == 0)
		return 0;
	if (!seal_is_signed(s)) {
		r = seal_fail(err, SEAL_UNSIGNED, s->name,
			      "an owner key is pinned, and the seal is not signed");
		error_hint(err, "have its owner seal it with --sign");
		return r;
	}
	r = seal_signed_bytes(s->core_bytes, message);
	if (r < 0)
		return error_set(err, r, "cannot hash the core of a seal");
	r = owner_keys_verify(pinned, s->signer_id, message, sizeof(message), s->signature);
	hex_encode(s->signer_id, SIGNER_ID_SIZE, hex);
	if (r == -ENOKEY) {
		r = seal_fail(err, SEAL_UNKNOWN_SIGNER, s->name,
			      "it is signed by %s, which is no pinned owner key", hex);
		error_hint(err, "pin that owner's public key only if you trust the owner");
		return r;
	}
	if (r == -EBADMSG)
		return seal_fail(err, SEAL_BAD_SIGNATURE, s->name,
				 "the signature of the pinned owner %s does not verify", hex);
	return r < 0 ? error_set(err, r, "cannot verify the signature of a seal") : 0;
}

int seal_keys_derive(const struct secret *data_key, const uint8_t core[SEAL_CORE_SIZE],
		     struct seal_keys **ret)
{
	_cleanup_seal_keys_ struct seal_keys *k = calloc(1, sizeof(*k));
	struct cursor count = cursor_init(core + CORE_COUNT_AT, 8);
	int r;

	if (!k)
		return -ENOMEM;
	k->chunk_count = cursor_le64(&count);
	r = kdf_seal_keys(data_key, core, &k->derived);
	if (r < 0)
		return r;
	*ret = steal_ptr(k);
	return 0;
}

void seal_keys_free(struct seal_keys *k)
{
	if (!k)
		return;
	secret_free(k->derived);
	free(k);
}

int seal_slot_mac(const struct seal_keys *keys, const uint8_t core[SEAL_CORE_SIZE],
		  const struct seal_slot *slots, unsigned slot_count, uint8_t out[SHA256_SIZE])
{
	_cleanup_free_ uint8_t *stored = malloc((size_t)slot_count * SEAL_SLOT_SIZE);
	uint8_t count[2];
	struct kdf_bytes key = {secret_data(keys->derived) + KDF_SLOT_MAC_KEY_AT, SHA256_SIZE};
	struct kdf_bytes parts[] = {
		{core, SEAL_CORE_SIZE},
		{count, sizeof(count)},
		{stored, (size_t)slot_count * SEAL_SLOT_SIZE},
	};

	if (!stored)
		return -ENOMEM;
	put_le16(count, (uint16_t)slot_count);
	for (unsigned i = 0; i < slot_count; i++)
		slot_store(&slots[i], stored + (size_t)i * SEAL_SLOT_SIZE);
	return kdf_hmac_sha256(key, parts, ARRAY_LEN(parts), out);
}

static bool commitment_fits(const struct seal *s, const struct seal_keys *k)
{
	return secret_equal(secret_data(k->derived) + KDF_COMMITMENT_AT, s->core.commitment,
			    sizeof(s->core.commitment));
}

bool seal_key_fits(const struct seal *s, const struct secret *data_key)
{
	_cleanup_seal_keys_ struct seal_keys *k = NULL;

	return seal_keys_derive(data_key, s->core_bytes, &k) == 0 && commitment_fits(s, k);
}

static int check_slots(const struct seal *s, const struct seal_keys *k, struct error *err)
{
	uint8_t mac[SHA256_SIZE];
	int r = seal_slot_mac(k, s->core_bytes, s->slots, s->slot_count, mac);

	if (r < 0)
		return error_set(err, r, "cannot compute the slot MAC of a seal");
	if (!secret_equal(mac, s->slot_mac, sizeof(mac)))
		return seal_fail(err, SEAL_BAD_SLOTS, s->name,
				 "core or recipients were changed without the data key");
	return 0;
}

static int check_tables(const struct seal *s, struct error *err)
{
	size_t size = (size_t)s->core.chunk_count * (SEAL_TAG_SIZE + SEAL_HASH_SIZE);
	uint8_t digest[SHA256_SIZE];
	int r = digest_buffer(DIGEST_SHA256, s->tables, size, digest);

	if (r < 0)
		return error_set(err, r, "cannot hash the tables of a seal");
	if (!secret_equal(digest, s->core.table_hash, sizeof(digest)))
		return seal_fail(err, SEAL_BAD_TABLES, s->name,
				 "tags or chunk hashes are not those that were sealed");
	r = verity_digest(s->tables + s->core.chunk_count * SEAL_TAG_SIZE, s->core.chunk_count,
			  s->core.length, digest);
	if (r < 0)
		return error_set(err, r, "cannot compute the fs-verity digest of a seal");
	if (!secret_equal(digest, s->core.verity, sizeof(digest)))
		return seal_fail(err, SEAL_BAD_VERITY, s->name,
				 "the chunk hashes do not lead to the fs-verity digest it states");
	return 0;
}

int seal_unlock(const struct seal *s, const struct secret *data_key, struct seal_keys **ret,
		struct error *err)
{
	_cleanup_seal_keys_ struct seal_keys *k = NULL;
	int r;

	if (!s->tables)
		return error_set(err, -EINVAL, "only the head of a seal was read");
	if (secret_size(data_key) != SEAL_DATA_KEY_SIZE)
		return seal_fail(err, SEAL_WRONG_KEY, s->name,
				 "the unwrapped key has %zu bytes and not %d",
				 secret_size(data_key), SEAL_DATA_KEY_SIZE);
	r = seal_keys_derive(data_key, s->core_bytes, &k);
	if (r < 0)
		return error_set(err, r, "cannot derive the keys of a seal");
	if (!commitment_fits(s, k))
		return seal_fail(err, SEAL_WRONG_KEY, s->name,
				 "the key does not fit the seal's commitment (another model's key, "
				 "or file id or length were changed)");
	r = check_slots(s, k, err);
	if (r == 0)
		r = check_tables(s, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(k);
	return 0;
}
