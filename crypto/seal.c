/*
 * The parser of seal objects. Job: take hostile bytes apart in the order of crypto/FORMAT.md
 * section 8, steps 1 to 5, and answer questions about the result. Trusts nothing. Must never
 * allocate by a number that has not been bounded, nor accept a second encoding of anything.
 */
#include "crypto/seal.h"

#include "crypto/base/cursor.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "crypto/seal_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ENTRY_SIZE (SEAL_TAG_SIZE + SEAL_HASH_SIZE)

#define malformed(s, err, ...) seal_fail(err, SEAL_MALFORMED, (s)->name, __VA_ARGS__)

uint64_t seal_tables_at(unsigned slot_count)
{
	uint64_t end = SEAL_HEADER_SIZE + (uint64_t)SEAL_SLOT_SIZE * slot_count;

	return (end + SEAL_TABLE_ALIGN - 1) / SEAL_TABLE_ALIGN * SEAL_TABLE_ALIGN;
}

uint64_t seal_chunks_of(uint64_t length)
{
	return length / SEAL_CHUNK_SIZE + (length % SEAL_CHUNK_SIZE != 0);
}

uint64_t seal_object_size(uint64_t length, unsigned slot_count)
{
	if (length > SEAL_LENGTH_MAX || slot_count == 0 || slot_count > SEAL_SLOTS_MAX)
		return 0;
	return seal_tables_at(slot_count) + seal_chunks_of(length) * ENTRY_SIZE;
}

/* Magic, version, suite, flags: what decides whether the rest means anything. */
static int parse_identity(const struct seal *s, struct cursor *c, struct error *err)
{
	const uint8_t *magic = cursor_take(c, sizeof(SEAL_MAGIC) - 1);
	uint16_t version = cursor_le16(c), suite = cursor_le16(c);
	uint32_t flags = cursor_le32(c);
	int r = 0;

	if (!magic || memcmp(magic, SEAL_MAGIC, sizeof(SEAL_MAGIC) - 1) != 0)
		return malformed(s, err, "it does not start with the magic \"" SEAL_MAGIC "\"");
	if (version != SEAL_VERSION)
		r = seal_fail(err, SEAL_UNSUPPORTED, s->name, "unsupported version %u", version);
	else if (suite != SEAL_SUITE)
		r = seal_fail(err, SEAL_UNSUPPORTED, s->name, "unsupported suite %u", suite);
	else if (flags != 0)
		r = seal_fail(err, SEAL_UNSUPPORTED, s->name, "unsupported flag in %#" PRIx32,
			      flags);
	if (r < 0)
		error_hint(err, "it was sealed by a newer program; update this one");
	return r;
}

static void parse_core(struct seal_core *core, struct cursor *c)
{
	cursor_copy(c, core->file_id, sizeof(core->file_id));
	core->length = cursor_le64(c);
	core->chunk_count = cursor_le64(c);
	cursor_copy(c, core->sha256, sizeof(core->sha256));
	cursor_copy(c, core->sha384, sizeof(core->sha384));
	cursor_copy(c, core->verity, sizeof(core->verity));
	cursor_copy(c, core->table_hash, sizeof(core->table_hash));
	cursor_copy(c, core->commitment, sizeof(core->commitment));
}

/* Ranges of all numbers that sizes are made of, and that the object's size is what they say. */
static int check_lengths(const struct seal *s, uint16_t name_length, uint64_t object_size,
			 struct error *err)
{
	uint64_t expected;

	if (s->core.length > SEAL_LENGTH_MAX)
		return malformed(s, err, "the plaintext length %" PRIu64 " is over 16 TiB",
				 s->core.length);
	if (s->core.chunk_count != seal_chunks_of(s->core.length))
		return malformed(s, err,
				 "the chunk count %" PRIu64 " does not fit the length %" PRIu64,
				 s->core.chunk_count, s->core.length);
	if (name_length == 0 || name_length > SEAL_NAME_MAX)
		return malformed(s, err, "the name length %u is not 1 to %d", name_length,
				 SEAL_NAME_MAX);
	if (s->slot_count == 0 || s->slot_count > SEAL_SLOTS_MAX)
		return malformed(s, err, "the slot count %u is not 1 to %d", s->slot_count,
				 SEAL_SLOTS_MAX);
	expected = seal_object_size(s->core.length, s->slot_count);
	if (object_size != expected)
		return malformed(s, err,
				 "it has %" PRIu64 " bytes, its header asks for %" PRIu64
				 " (truncated or extended)",
				 object_size, expected);
	return 0;
}

/* The head up to the slots, whose count this bounds. */
static int parse_header(struct seal *s, struct cursor *c, uint64_t object_size, struct error *err)
{
	uint16_t name_length;
	const uint8_t *name;
	const char *problem;
	struct cursor ahead;
	int r = parse_identity(s, c, err);

	if (r < 0)
		return r;
	parse_core(&s->core, c);
	name_length = cursor_le16(c);
	ahead = cursor_init(c->data + SLOT_HEADER_AT, 2);
	s->slot_count = cursor_le16(&ahead);
	r = check_lengths(s, name_length, object_size, err);
	if (r < 0)
		return r;
	name = cursor_take(c, name_length);
	problem = name ? name_problem(name, name_length) : "the name is cut short";
	if (problem)
		return malformed(s, err, "%s", problem);
	memcpy(s->core.name, name, name_length);
	s->core.name[name_length] = '\0';
	cursor_zeros(c, (size_t)SEAL_NAME_MAX - name_length);
	cursor_zeros(c, CORE_RESERVED_SIZE);
	if (c->failed || c->pos != SEAL_CORE_SIZE)
		return malformed(s, err, "reserved bytes of the core are not zero");
	return 0;
}

static bool all_zero(const uint8_t *p, size_t size)
{
	struct cursor c = cursor_init(p, size);

	cursor_zeros(&c, size);
	return cursor_done(&c);
}

static int parse_signature(struct seal *s, struct cursor *c, struct error *err)
{
	s->signature_alg = cursor_le16(c);
	cursor_copy(c, s->signer_id, sizeof(s->signer_id));
	cursor_copy(c, s->signature, sizeof(s->signature));
	if (s->signature_alg != SIGNATURE_NONE && s->signature_alg != SIGNATURE_ED25519)
		return seal_fail(err, SEAL_UNSUPPORTED, s->name,
				 "unsupported signature algorithm %u", s->signature_alg);
	if (s->signature_alg == SIGNATURE_NONE && (!all_zero(s->signer_id, sizeof(s->signer_id)) ||
						   !all_zero(s->signature, sizeof(s->signature))))
		return malformed(s, err, "it says that it is not signed, but holds a signature");
	cursor_zeros(c, SIGNATURE_RESERVED_SIZE);
	if (c->failed)
		return malformed(s, err, "reserved bytes of the signature block are not zero");
	return 0;
}

/* The slots, and as much of the padding after them as there is. */
static int parse_slots(struct seal *s, struct cursor *c, struct error *err)
{
	size_t padding_end = (size_t)seal_tables_at(s->slot_count);

	(void)cursor_le16(c); /* the count, taken in parse_header() */
	cursor_zeros(c, SLOT_HEADER_RESERVED_SIZE);
	cursor_copy(c, s->slot_mac, sizeof(s->slot_mac));
	if (c->failed)
		return malformed(s, err, "reserved bytes of the slot header are not zero");
	for (unsigned i = 0; i < s->slot_count; i++) {
		const uint8_t *bytes = cursor_take(c, SEAL_SLOT_SIZE);
		const char *problem = bytes ? slot_load(bytes, &s->slots[i]) : "it is cut short";

		if (problem)
			return malformed(s, err, "slot %u: %s", i, problem);
	}
	cursor_zeros(c, MIN(padding_end, c->size) - c->pos);
	if (c->failed)
		return malformed(s, err, "the bytes between slots and tables are not zero");
	return 0;
}

/* Room for the most slots, later cut to what there are: a bound before anything is read. NULL: out
 * of memory. */
static struct seal *seal_new(const char *name)
{
	_cleanup_seal_ struct seal *s =
		calloc(1, sizeof(*s) + SEAL_SLOTS_MAX * sizeof(struct seal_slot));

	if (!s)
		return NULL;
	s->name = strdup(name);
	return s->name ? steal_ptr(s) : NULL;
}

int seal_parse_head(const char *name, const uint8_t *bytes, size_t size, uint64_t object_size,
		    struct seal **ret, struct error *err)
{
	_cleanup_seal_ struct seal *s = seal_new(name);
	struct cursor c = cursor_init(bytes, size);
	struct seal *cut;
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "no memory for a seal");
	if (object_size < SEAL_SIZE_MIN)
		return malformed(s, err, "it has %" PRIu64 " bytes, a seal at least %d (truncated)",
				 object_size, SEAL_SIZE_MIN);
	if (object_size > seal_object_size(SEAL_LENGTH_MAX, SEAL_SLOTS_MAX))
		return malformed(s, err, "it is larger than any seal");
	if (size < SEAL_HEADER_SIZE || size > object_size)
		return malformed(s, err, "%zu bytes of it are here, which hold no header", size);
	r = parse_header(s, &c, object_size, err);
	if (r == 0)
		r = parse_signature(s, &c, err);
	if (r == 0)
		r = parse_slots(s, &c, err);
	if (r < 0)
		return r;
	memcpy(s->core_bytes, bytes, SEAL_CORE_SIZE);
	cut = realloc(s, sizeof(*s) + s->slot_count * sizeof(struct seal_slot));
	if (cut)
		s = cut;
	*ret = steal_ptr(s);
	return 0;
}

int seal_parse(const char *name, const uint8_t *bytes, size_t size, struct seal **ret,
	       struct error *err)
{
	_cleanup_seal_ struct seal *s = NULL;
	size_t at, tables_size;
	int r = seal_parse_head(name, bytes, size, size, &s, err);

	if (!s)
		return r;
	at = (size_t)seal_tables_at(s->slot_count);
	tables_size = size - at;
	s->tables = malloc(tables_size > 0 ? tables_size : 1);
	if (!s->tables)
		return error_set(err, -ENOMEM, "no memory for the tables of a seal");
	memcpy(s->tables, bytes + at, tables_size);
	*ret = steal_ptr(s);
	return 0;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	free(s->tables);
	free(s->name);
	free(s);
}

const struct seal_core *seal_core(const struct seal *s)
{
	return &s->core;
}

unsigned seal_slot_count(const struct seal *s)
{
	return s->slot_count;
}

const struct seal_slot *seal_slot(const struct seal *s, unsigned index)
{
	return index < s->slot_count ? &s->slots[index] : NULL;
}

bool seal_has_tables(const struct seal *s)
{
	return s->tables != NULL;
}

const uint8_t *seal_tag(const struct seal *s, uint64_t chunk_index)
{
	if (!s->tables || chunk_index >= s->core.chunk_count)
		return NULL;
	return s->tables + chunk_index * SEAL_TAG_SIZE;
}

const uint8_t *seal_hash(const struct seal *s, uint64_t chunk_index)
{
	if (!s->tables || chunk_index >= s->core.chunk_count)
		return NULL;
	return s->tables + s->core.chunk_count * SEAL_TAG_SIZE + chunk_index * SEAL_HASH_SIZE;
}

bool seal_is_signed(const struct seal *s)
{
	return s->signature_alg != SIGNATURE_NONE;
}

const uint8_t *seal_signer_id(const struct seal *s)
{
	return s->signer_id;
}

uint32_t seal_chunk_size(const struct seal *s, uint64_t chunk_index)
{
	if (chunk_index >= s->core.chunk_count)
		return 0;
	return (uint32_t)MIN(s->core.length - chunk_index * SEAL_CHUNK_SIZE,
			     (uint64_t)SEAL_CHUNK_SIZE);
}
