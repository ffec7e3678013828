/*
 * Heads of sealed objects. Job: parse, authenticate and write signature block and slots, the same
 * for seals and sets. Trusts nothing of the bytes. Must never accept a second encoding of anything,
 * nor compare a MAC in variable time.
 */
#include "crypto/sealed_head_internal.h"

#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/failure.h"
#include "crypto/kdf.h"

#include <errno.h>
#include <string.h>

#define SIGNATURE_RESERVED_SIZE 30
#define SIGNATURE_NONE 0
#define SIGNATURE_ED25519 1
#define SLOT_HEADER_RESERVED_SIZE 30
#define SIGNED_LABEL_MAX 32

#define malformed(h, err, ...) seal_fail(err, SEAL_MALFORMED, (h)->name, __VA_ARGS__)

uint64_t sealed_head_size(unsigned slot_count)
{
	uint64_t end = SEAL_HEADER_SIZE + (uint64_t)SEAL_SLOT_SIZE * slot_count;

	return (end + SEAL_TABLE_ALIGN - 1) / SEAL_TABLE_ALIGN * SEAL_TABLE_ALIGN;
}

struct sealed_head *sealed_head_new(const char *name)
{
	_cleanup_sealed_head_ struct sealed_head *h =
		calloc(1, sizeof(*h) + SEAL_SLOTS_MAX * sizeof(struct seal_slot));

	if (!h)
		return NULL;
	h->name = strdup(name);
	return h->name ? steal_ptr(h) : NULL;
}

void sealed_head_free(struct sealed_head *h)
{
	if (!h)
		return;
	free(h->name);
	free(h);
}

bool sealed_head_is_signed(const struct sealed_head *h)
{
	return h->signature_alg != SIGNATURE_NONE;
}

int sealed_head_parse_count(struct sealed_head *h, const uint8_t *bytes, struct error *err)
{
	struct cursor c = cursor_init(bytes + SLOT_HEADER_AT, 2);

	h->slot_count = cursor_le16(&c);
	if (h->slot_count == 0 || h->slot_count > SEAL_SLOTS_MAX)
		return malformed(h, err, "the slot count %u is not 1 to %d", h->slot_count,
				 SEAL_SLOTS_MAX);
	return 0;
}

const uint8_t *sealed_head_text(struct cursor *c, uint16_t size, size_t room)
{
	const uint8_t *text = size <= room ? cursor_take(c, size) : NULL;

	if (!text)
		return NULL;
	cursor_zeros(c, room - size);
	return text;
}

static bool all_zero(const uint8_t *p, size_t size)
{
	struct cursor c = cursor_init(p, size);

	cursor_zeros(&c, size);
	return cursor_done(&c);
}

int sealed_head_parse_signature(struct sealed_head *h, struct cursor *c, struct error *err)
{
	memcpy(h->core, c->data, SEAL_CORE_SIZE);
	h->signature_alg = cursor_le16(c);
	cursor_copy(c, h->signer_id, sizeof(h->signer_id));
	cursor_copy(c, h->signature, sizeof(h->signature));
	if (h->signature_alg != SIGNATURE_NONE && h->signature_alg != SIGNATURE_ED25519)
		return seal_fail(err, SEAL_UNSUPPORTED, h->name,
				 "unsupported signature algorithm %u", h->signature_alg);
	if (h->signature_alg == SIGNATURE_NONE && (!all_zero(h->signer_id, sizeof(h->signer_id)) ||
						   !all_zero(h->signature, sizeof(h->signature))))
		return malformed(h, err, "it states that it is not signed, but holds a signature");
	cursor_zeros(c, SIGNATURE_RESERVED_SIZE);
	if (c->failed)
		return malformed(h, err, "reserved bytes of the signature block are not zero");
	return 0;
}

/* The slots, and the padding after them. */
static int parse_slots(struct sealed_head *h, struct cursor *c, struct error *err)
{
	(void)cursor_le16(c); /* the count: sealed_head_parse_count() */
	cursor_zeros(c, SLOT_HEADER_RESERVED_SIZE);
	cursor_copy(c, h->slot_mac, sizeof(h->slot_mac));
	if (c->failed)
		return malformed(h, err, "reserved bytes of the slot header are not zero");
	for (unsigned i = 0; i < h->slot_count; i++) {
		const uint8_t *bytes = cursor_take(c, SEAL_SLOT_SIZE);
		const char *problem = bytes ? slot_load(bytes, &h->slots[i]) : "it is cut short";

		if (problem)
			return malformed(h, err, "slot %u: %s", i, problem);
	}
	cursor_zeros(c, (size_t)sealed_head_size(h->slot_count) - c->pos);
	if (c->failed)
		return malformed(h, err, "the bytes between slots and tables are not zero");
	return 0;
}

int sealed_head_parse(struct sealed_head **head, struct cursor *c, struct error *err)
{
	struct sealed_head *h = *head;
	int r = sealed_head_parse_signature(h, c, err);

	if (r == 0)
		r = parse_slots(h, c, err);
	if (r < 0)
		return r;
	h = realloc(h, sizeof(*h) + h->slot_count * sizeof(struct seal_slot));
	if (h)
		*head = h;
	return 0;
}

/* Returns the size of what the owner signs, or negative errno. */
static int signed_bytes(const uint8_t *core, const char *label,
			uint8_t out[SIGNED_LABEL_MAX + SHA384_SIZE])
{
	size_t size = strlen(label) + 1;
	int r;

	if (size > SIGNED_LABEL_MAX)
		return -EINVAL;
	memcpy(out, label, size);
	r = digest_buffer(DIGEST_SHA384, core, SEAL_CORE_SIZE, out + size);
	return r < 0 ? r : (int)(size + SHA384_SIZE);
}

int sealed_head_check_owner(const struct sealed_head *h, const char *label, const char *what,
			    const struct owner_keys *pinned, struct error *err)
{
	uint8_t message[SIGNED_LABEL_MAX + SHA384_SIZE];
	char hex[2 * SIGNER_ID_SIZE + 1];
	int r;

	if (!pinned || owner_keys_count(pinned) == 0)
		return 0;
	if (!sealed_head_is_signed(h)) {
		r = seal_fail(err, SEAL_UNSIGNED, h->name,
			      "an owner key is pinned, and the %s is not signed", what);
		error_hint(err, "have its owner seal it with --sign");
		return r;
	}
	r = signed_bytes(h->core, label, message);
	if (r < 0)
		return error_set(err, r, "cannot hash the core of a %s", what);
	r = owner_keys_verify(pinned, h->signer_id, message, (size_t)r, h->signature);
	hex_encode(h->signer_id, SIGNER_ID_SIZE, hex);
	if (r == -ENOKEY) {
		r = seal_fail(err, SEAL_UNKNOWN_SIGNER, h->name,
			      "it is signed by %s, which is not a pinned owner key", hex);
		error_hint(err, "pin that owner's public key only if you trust the owner");
		return r;
	}
	if (r == -EBADMSG)
		return seal_fail(err, SEAL_BAD_SIGNATURE, h->name,
				 "the signature of the pinned owner %s does not verify", hex);
	return r < 0 ? error_set(err, r, "cannot verify the signature of a %s", what) : 0;
}

int sealed_head_mac(const uint8_t *mac_key, const uint8_t core[SEAL_CORE_SIZE],
		    const struct seal_slot *slots, unsigned slot_count, uint8_t out[SHA256_SIZE])
{
	_cleanup_free_ uint8_t *stored = malloc((size_t)slot_count * SEAL_SLOT_SIZE + 1);
	uint8_t count[2];
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
	return kdf_hmac_sha256((struct kdf_bytes){mac_key, SHA256_SIZE}, parts, ARRAY_LEN(parts),
			       out);
}

int sealed_head_check_mac(const struct sealed_head *h, const uint8_t *mac_key, struct error *err)
{
	uint8_t mac[SHA256_SIZE];
	int r = sealed_head_mac(mac_key, h->core, h->slots, h->slot_count, mac);

	if (r < 0)
		return error_set(err, r, "cannot compute a slot MAC");
	if (!secret_equal(mac, h->slot_mac, sizeof(mac)))
		return seal_fail(err, SEAL_BAD_SLOTS, h->name,
				 "core or recipients were changed without the data key");
	return 0;
}

int sealed_head_check_slots(const struct seal_slot *slots, unsigned slot_count, struct error *err)
{
	if (slot_count == 0 || slot_count > SEAL_SLOTS_MAX)
		return error_set(err, -EINVAL, "a seal has 1 to %d recipients, not %u",
				 SEAL_SLOTS_MAX, slot_count);
	for (unsigned i = 0; i < slot_count; i++) {
		const char *problem = slot_problem(&slots[i]);

		if (problem)
			return error_set(err, -EINVAL, "recipient %u: %s", i, problem);
	}
	return 0;
}

static int store_signature(const struct sealed_head_parts *p, uint8_t *out)
{
	uint8_t message[SIGNED_LABEL_MAX + SHA384_SIZE];
	int r;

	if (!p->signer)
		return 0;
	put_le16(out, SIGNATURE_ED25519);
	memcpy(out + 2, signing_key_id(p->signer), SIGNER_ID_SIZE);
	r = signed_bytes(p->core, p->label, message);
	return r < 0 ? r
		     : signing_key_sign(p->signer, message, (size_t)r, out + 2 + SIGNER_ID_SIZE);
}

void sealed_head_copy_signature(const struct sealed_head *h, uint8_t *out)
{
	put_le16(out + SIGNATURE_AT, h->signature_alg);
	memcpy(out + SIGNATURE_AT + 2, h->signer_id, SIGNER_ID_SIZE);
	memcpy(out + SIGNATURE_AT + 2 + SIGNER_ID_SIZE, h->signature, SIGNATURE_SIZE);
}

int sealed_head_write(const struct sealed_head_parts *p, uint8_t *out)
{
	int r;

	memcpy(out, p->core, SEAL_CORE_SIZE);
	r = store_signature(p, out + SIGNATURE_AT);
	if (r < 0)
		return r;
	put_le16(out + SLOT_HEADER_AT, (uint16_t)p->slot_count);
	for (unsigned i = 0; i < p->slot_count; i++)
		slot_store(&p->slots[i], out + SEAL_HEADER_SIZE + (size_t)i * SEAL_SLOT_SIZE);
	return sealed_head_mac(p->mac_key, p->core, p->slots, p->slot_count, out + SLOT_MAC_AT);
}
