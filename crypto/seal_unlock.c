/*
 * Authentication of a parsed seal. Job: owner's signature, then, with the data key, commitment
 * and slot MAC, then table hash and fs-verity digest, in this order. Trusts the parser for shapes
 * only. Must never hand out keys before the slot MAC was checked, keep tables that were not, nor
 * compare a MAC in variable time.
 */
#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/kdf.h"
#include "crypto/seal_internal.h"
#include "crypto/verity.h"

#include <errno.h>
#include <string.h>

int seal_core_hash(const struct seal *s, uint8_t out[SHA256_SIZE])
{
	return digest_buffer(DIGEST_SHA256, s->head->core, SEAL_CORE_SIZE, out);
}

int seal_check_owner(const struct seal *s, const struct owner_keys *pinned, struct error *err)
{
	return sealed_head_check_owner(s->head, SEAL_SIGNED_LABEL, "seal", pinned, err);
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

const uint8_t *seal_mac_key(const struct seal_keys *keys)
{
	return secret_data(keys->derived) + KDF_SLOT_MAC_KEY_AT;
}

static bool commitment_fits(const struct seal *s, const struct seal_keys *k)
{
	return secret_equal(secret_data(k->derived) + KDF_COMMITMENT_AT, s->core.commitment,
			    sizeof(s->core.commitment));
}

bool seal_key_fits(const struct seal *s, const struct secret *data_key)
{
	_cleanup_seal_keys_ struct seal_keys *k = NULL;

	return seal_keys_derive(data_key, s->head->core, &k) == 0 && commitment_fits(s, k);
}

int seal_unlock(const struct seal *s, const struct secret *data_key, struct seal_keys **ret,
		struct error *err)
{
	_cleanup_seal_keys_ struct seal_keys *k = NULL;
	int r;

	if (secret_size(data_key) != SEAL_DATA_KEY_SIZE)
		return seal_fail(err, SEAL_WRONG_KEY, s->head->name,
				 "the unwrapped key has %zu bytes and not %d",
				 secret_size(data_key), SEAL_DATA_KEY_SIZE);
	r = seal_keys_derive(data_key, s->head->core, &k);
	if (r < 0)
		return error_set(err, r, "cannot derive the keys of a seal");
	if (!commitment_fits(s, k))
		return seal_fail(err, SEAL_WRONG_KEY, s->head->name,
				 "the key does not fit the seal's commitment (another model's key, "
				 "or file id or length were changed)");
	r = sealed_head_check_mac(s->head, seal_mac_key(k), err);
	if (r < 0)
		return r;
	*ret = steal_ptr(k);
	return 0;
}

static int check_tables(const struct seal *s, const uint8_t *tables, struct error *err)
{
	uint8_t digest[SHA256_SIZE];
	int r = digest_buffer(DIGEST_SHA256, tables, (size_t)seal_tables_size(s), digest);

	if (r < 0)
		return error_set(err, r, "cannot hash the tables of a seal");
	if (!secret_equal(digest, s->core.table_hash, sizeof(digest)))
		return seal_fail(err, SEAL_BAD_TABLES, s->head->name,
				 "tags or chunk hashes differ from those that were sealed");
	r = verity_digest(tables + s->core.chunk_count * SEAL_TAG_SIZE, s->core.chunk_count,
			  s->core.length, digest);
	if (r < 0)
		return error_set(err, r, "cannot compute the fs-verity digest of a seal");
	if (!secret_equal(digest, s->core.verity, sizeof(digest)))
		return seal_fail(err, SEAL_BAD_VERITY, s->head->name,
				 "the chunk hashes do not lead to the fs-verity digest it states");
	return 0;
}

int seal_load_tables(struct seal *s, const struct seal_keys *keys, uint8_t *tables,
		     struct error *err)
{
	_cleanup_free_ uint8_t *owned = tables;
	int r;

	if (!keys || !owned || s->tables || !commitment_fits(s, keys))
		return error_set(err, -EINVAL,
				 "the tables of a seal are loaded once, with its keys");
	r = check_tables(s, owned, err);
	if (r < 0)
		return r;
	s->tables = steal_ptr(owned);
	return 0;
}
