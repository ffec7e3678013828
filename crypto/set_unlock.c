/*
 * Authentication of a set and of its members. Job: owner's signature, commitment and slot MAC of
 * the set; its slots in members' seals; the question whether a seal is the one that the set names.
 * Trusts the parsers for shapes only. Must never hand out keys before the slot MAC was checked.
 */
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/kdf.h"
#include "crypto/name.h"
#include "crypto/set_internal.h"
#include "crypto/slot_wrap.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int set_check_owner(const struct set *s, const struct owner_keys *pinned, struct error *err)
{
	return sealed_head_check_owner(s->head, SET_SIGNED_LABEL, "set", pinned, err);
}

int set_keys_derive(const struct secret *set_key, const uint8_t header[SEAL_CORE_SIZE],
		    struct set_keys **ret)
{
	_cleanup_set_keys_ struct set_keys *k = calloc(1, sizeof(*k));
	int r = k ? kdf_set_keys(set_key, header, &k->derived) : -ENOMEM;

	if (r < 0)
		return r;
	memcpy(k->id, header + SET_ID_AT, sizeof(k->id));
	*ret = steal_ptr(k);
	return 0;
}

void set_keys_free(struct set_keys *k)
{
	if (!k)
		return;
	secret_free(k->derived);
	free(k);
}

int set_keys_copy(const struct set_keys *keys, struct set_keys **ret)
{
	_cleanup_set_keys_ struct set_keys *k = calloc(1, sizeof(*k));
	int r = k ? secret_new_from(secret_data(keys->derived), secret_size(keys->derived),
				    &k->derived)
		  : -ENOMEM;

	if (r < 0)
		return r;
	memcpy(k->id, keys->id, sizeof(k->id));
	*ret = steal_ptr(k);
	return 0;
}

const uint8_t *set_keys_id(const struct set_keys *keys)
{
	return keys->id;
}

const uint8_t *set_mac_key(const struct set_keys *keys)
{
	return secret_data(keys->derived) + KDF_SET_SLOT_MAC_KEY_AT;
}

bool set_keys_fit(const struct set *s, const struct set_keys *keys)
{
	return secret_equal(secret_data(keys->derived) + KDF_SET_COMMITMENT_AT,
			    s->header.commitment, sizeof(s->header.commitment));
}

bool set_key_fits(const struct set *s, const struct secret *set_key)
{
	_cleanup_set_keys_ struct set_keys *k = NULL;

	return set_keys_derive(set_key, s->head->core, &k) == 0 && set_keys_fit(s, k);
}

int set_unlock(const struct set *s, const struct secret *set_key, struct set_keys **ret,
	       struct error *err)
{
	_cleanup_set_keys_ struct set_keys *k = NULL;
	int r = set_keys_derive(set_key, s->head->core, &k);

	if (r == -EINVAL || (r == 0 && !set_keys_fit(s, k)))
		return seal_fail(err, SEAL_WRONG_KEY, s->head->name,
				 "the key does not fit the set's commitment (another set's key, "
				 "or the set id was changed)");
	if (r < 0)
		return error_set(err, r, "cannot derive the keys of a set");
	r = sealed_head_check_mac(s->head, set_mac_key(k), err);
	if (r < 0)
		return r;
	*ret = steal_ptr(k);
	return 0;
}

int set_check_id(const struct set *s, const uint8_t id[SET_ID_SIZE], struct error *err)
{
	char found[2 * SET_ID_SIZE + 1], wanted[2 * SET_ID_SIZE + 1];

	if (memcmp(s->header.id, id, SET_ID_SIZE) == 0)
		return 0;
	hex_encode(s->header.id, SET_ID_SIZE, found);
	hex_encode(id, SET_ID_SIZE, wanted);
	error_hint(err, "put the right set back; if its owner made a new one, pin that one's id");
	return error_set(err, -EBADMSG, "%s: it is another set: its id is %s, and %s is required",
			 s->head->name, found, wanted);
}

int set_check_version(const struct set *s, uint64_t known, uint64_t now, struct error *err)
{
	const struct set_header *h = &s->header;

	if (h->version < known)
		return seal_fail(err, SEAL_OLD_SET, s->head->name,
				 "it has version %" PRIu64 ", and version %" PRIu64
				 " has been seen",
				 h->version, known);
	if (h->expires == 0 || now <= h->expires)
		return 0;
	seal_fail(err, SEAL_EXPIRED_SET, s->head->name,
		  "version %" PRIu64 " expired %" PRIu64 " seconds ago", h->version,
		  now - h->expires);
	error_hint(err, "its owner writes a new version with sealctl set add; check the clock");
	return -EKEYEXPIRED;
}

char *set_seal_name(const struct set_member *m)
{
	char *name;

	return asprintf(&name, "%s" SEAL_SUFFIX, m->path) < 0 ? NULL : name;
}

char *set_pending_name(const struct set_member *m)
{
	char id[SEAL_PAYLOAD_ID_DIGITS + 1], *name;

	hex_encode(m->file_id, SEAL_PAYLOAD_ID_DIGITS / 2, id);
	return asprintf(&name, "%s.%s" SET_PENDING_SUFFIX, m->path, id) < 0 ? NULL : name;
}

bool set_name_is_pending(const char *name)
{
	return name_has_id_suffix(name, SET_PENDING_SUFFIX);
}

int set_pending_payload(const char *name, char **ret)
{
	int size = (int)(strlen(name) - strlen(SET_PENDING_SUFFIX));

	return asprintf(ret, "%.*s" SEAL_PAYLOAD_SUFFIX, size, name) < 0 ? -ENOMEM : 0;
}

/* What a seal's slots say about sets; NULL: it has none, or one of this set. */
static const uint8_t *foreign_set(const struct set *s, const struct seal *seal)
{
	const uint8_t *foreign = NULL;

	for (unsigned i = 0; i < seal_slot_count(seal); i++) {
		const uint8_t *id = slot_set_id(seal_slot(seal, i));

		if (id && memcmp(id, s->header.id, SET_ID_SIZE) == 0)
			return NULL;
		foreign = id ? id : foreign;
	}
	return foreign;
}

static int refuse_member(const struct set *s, const struct set_member *m, const struct seal *seal,
			 struct error *err)
{
	const struct seal_core *core = seal_core(seal);
	const char *object = seal_head(seal)->name;
	const uint8_t *foreign = foreign_set(s, seal);
	char text[NAME_PRINTABLE_SIZE], id[2 * 8 + 1];
	_cleanup_free_ char *name = set_seal_name(m);

	if (memcmp(core->file_id, m->file_id, sizeof(m->file_id)) == 0)
		return seal_fail(err, SEAL_WRONG_MEMBER, object,
				 "its core was altered after the set was written");
	if (name && seal_check_name(seal, name, NULL) < 0) {
		name_printable(core->path, text);
		return seal_fail(err, SEAL_WRONG_MEMBER, object,
				 "it is the seal of the model \"%s\"", text);
	}
	if (foreign) {
		hex_encode(foreign, 8, id);
		return seal_fail(err, SEAL_WRONG_MEMBER, object, "it belongs to another set, %s…",
				 id);
	}
	return seal_fail(err, SEAL_WRONG_MEMBER, object,
			 "it is another sealing of the model, %s version %" PRIu64 " of the set",
			 core->sealed_at > s->header.created ? "newer than" : "not the one of",
			 s->header.version);
}

int set_check_member(const struct set *s, const struct set_member *m, const struct seal *seal,
		     struct error *err)
{
	_cleanup_free_ char *name = set_seal_name(m);
	uint8_t digest[SHA384_SIZE];
	int r = digest_buffer(DIGEST_SHA384, seal_head(seal)->core, SEAL_CORE_SIZE, digest);

	if (r < 0 || !name)
		return error_set(err, r < 0 ? r : -ENOMEM, "cannot hash the core of a seal");
	if (memcmp(digest, m->core_digest, sizeof(digest)) != 0)
		return refuse_member(s, m, seal, err);
	return seal_check_name(seal, name, err);
}

int set_missing_member(const struct set *s, const struct set_member *m, struct error *err)
{
	char path[NAME_PRINTABLE_SIZE];

	name_printable(m->path, path);
	return seal_fail(err, SEAL_MISSING_MEMBER, s->head->name,
			 "version %" PRIu64 " names \"%s\", and its seal is not there",
			 s->header.version, path);
}

struct member_slot {
	uint8_t key[SHA256_SIZE];
	uint8_t aad[SET_ID_SIZE + SEAL_FILE_ID_SIZE];
};

/* Fills *m, which the caller wipes, and returns what refers to it. */
static int slot_of(struct member_slot *m, const struct set_keys *keys, const uint8_t *file_id,
		   struct slot_wrap *ret)
{
	static const char info[] = "sealedfs set member";
	const uint8_t *member_key = secret_data(keys->derived) + KDF_SET_MEMBER_KEY_AT;

	memcpy(m->aad, keys->id, SET_ID_SIZE);
	memcpy(m->aad + SET_ID_SIZE, file_id, SEAL_FILE_ID_SIZE);
	*ret = (struct slot_wrap){.type = SEAL_SLOT_SET,
				  .id = keys->id,
				  .id_size = SET_ID_SIZE,
				  .key = m->key,
				  .aad = m->aad,
				  .aad_size = sizeof(m->aad)};
	return kdf_hkdf_sha256((struct kdf_bytes){member_key, SHA256_SIZE},
			       (struct kdf_bytes){file_id, SEAL_FILE_ID_SIZE},
			       (struct kdf_bytes){info, sizeof(info) - 1}, m->key, sizeof(m->key));
}

int slot_make_set(const struct set_keys *keys, const uint8_t file_id[SEAL_FILE_ID_SIZE],
		  const struct secret *data_key, struct seal_slot *ret)
{
	struct member_slot m;
	struct slot_wrap w;
	int r = slot_of(&m, keys, file_id, &w);

	if (r == 0)
		r = slot_wrap(&w, data_key, ret);
	wipe(&m, sizeof(m));
	return r;
}

int slot_open_set(const struct seal_slot *slot, const struct set_keys *keys,
		  const uint8_t file_id[SEAL_FILE_ID_SIZE], struct secret **ret_data_key)
{
	const uint8_t *id = slot_set_id(slot);
	struct member_slot m;
	struct slot_wrap w;
	int r;

	if (!id || memcmp(id, keys->id, SET_ID_SIZE) != 0)
		return -ENOKEY;
	r = slot_of(&m, keys, file_id, &w);
	if (r == 0)
		r = slot_unwrap(&w, slot, ret_data_key);
	wipe(&m, sizeof(m));
	return r;
}
