/*
 * The parser of seal objects. Job: parse untrusted bytes in the order of crypto/FORMAT.md section
 * 8, steps 1 to 5, and give access to the result. Trusts nothing. Must never allocate by a number
 * that has not been bounded, nor accept a second encoding of anything.
 */
#include "crypto/seal.h"

#include "crypto/base/cursor.h"
#include "crypto/facts.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "crypto/seal_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ENTRY_SIZE (SEAL_TAG_SIZE + SEAL_HASH_SIZE)

#define malformed(s, err, ...) seal_fail(err, SEAL_MALFORMED, (s)->head->name, __VA_ARGS__)

uint64_t seal_chunks_of(uint64_t length)
{
	return length / SEAL_CHUNK_SIZE + (length % SEAL_CHUNK_SIZE != 0);
}

uint64_t seal_object_size(uint64_t length, unsigned slot_count)
{
	if (length > SEAL_LENGTH_MAX || slot_count == 0 || slot_count > SEAL_SLOTS_MAX)
		return 0;
	return sealed_head_size(slot_count) + seal_chunks_of(length) * ENTRY_SIZE;
}

/* Magic, version, suite, flags: they decide whether the rest can be read. */
static int parse_identity(const struct seal *s, struct cursor *c, struct error *err)
{
	const uint8_t *magic = cursor_take(c, sizeof(SEAL_MAGIC) - 1);
	uint16_t version = cursor_le16(c), suite = cursor_le16(c);
	uint32_t flags = cursor_le32(c);
	int r;

	if (!magic || memcmp(magic, SEAL_MAGIC, sizeof(SEAL_MAGIC) - 1) != 0)
		return malformed(s, err, "it does not start with the magic \"" SEAL_MAGIC "\"");
	if (version == 1) {
		r = seal_fail(err, SEAL_UNSUPPORTED, s->head->name,
			      "sealed by a development version (format 1) that this program no "
			      "longer reads");
		error_hint(err, "seal the model again");
		return r;
	}
	if (version != SEAL_VERSION)
		r = seal_fail(err, SEAL_UNSUPPORTED, s->head->name, "unsupported version %u",
			      version);
	else if (suite != SEAL_SUITE)
		r = seal_fail(err, SEAL_UNSUPPORTED, s->head->name, "unsupported suite %u", suite);
	else if (flags != 0)
		r = seal_fail(err, SEAL_UNSUPPORTED, s->head->name, "unsupported flag in %#" PRIx32,
			      flags);
	else
		return 0;
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
	core->sealed_at = cursor_le64(c);
}

/* The ranges of all numbers of the core that sizes are computed from. */
static int check_lengths(const struct seal *s, struct error *err)
{
	if (s->core.length > SEAL_LENGTH_MAX)
		return malformed(s, err, "the plaintext length %" PRIu64 " is over 16 TiB",
				 s->core.length);
	if (s->core.chunk_count != seal_chunks_of(s->core.length))
		return malformed(s, err,
				 "the chunk count %" PRIu64 " does not fit the length %" PRIu64,
				 s->core.chunk_count, s->core.length);
	if (s->core.sealed_at > SEAL_TIME_MAX)
		return malformed(s, err, "the time of sealing %" PRIu64 " is after the year 9999",
				 s->core.sealed_at);
	return 0;
}

static int check_size(const struct seal *s, uint64_t object_size, struct error *err)
{
	uint64_t expected = seal_object_size(s->core.length, s->head->slot_count);

	if (object_size != expected)
		return malformed(s, err,
				 "it has %" PRIu64 " bytes, its header asks for %" PRIu64
				 " (truncated or extended)",
				 object_size, expected);
	return 0;
}

static int parse_texts(struct seal *s, struct cursor *c, struct error *err)
{
	uint16_t path_size = cursor_le16(c), facts_size = cursor_le16(c);
	const uint8_t *path, *facts;
	const char *problem;

	cursor_zeros(c, CORE_PATH_AT - CORE_FACTS_LENGTH_AT - 2);
	if (path_size == 0 || path_size > SEAL_PATH_MAX)
		return malformed(s, err, "the path length %u is not 1 to %d", path_size,
				 SEAL_PATH_MAX);
	if (facts_size > SEAL_FACTS_MAX)
		return malformed(s, err, "the facts have %u bytes and may have %d", facts_size,
				 SEAL_FACTS_MAX);
	path = sealed_head_text(c, path_size, SEAL_PATH_MAX);
	facts = sealed_head_text(c, facts_size, SEAL_FACTS_MAX);
	cursor_zeros(c, SEAL_CORE_SIZE - CORE_FACTS_AT - SEAL_FACTS_MAX);
	if (c->failed || !path || !facts || c->pos != SEAL_CORE_SIZE)
		return malformed(s, err, "reserved bytes of the core are not zero");
	problem = model_path_problem(path, path_size);
	if (!problem)
		problem = facts_problem(facts, facts_size);
	if (problem)
		return malformed(s, err, "%s", problem);
	memcpy(s->core.path, path, path_size);
	memcpy(s->core.facts, facts, facts_size);
	return 0;
}

/* The core, and the slot count, which the check of the object's size needs. object_size 0: the core
 * alone. */
static int parse_head(struct seal *s, struct cursor *c, uint64_t object_size, struct error *err)
{
	int r = parse_identity(s, c, err);

	if (r < 0)
		return r;
	parse_core(&s->core, c);
	r = check_lengths(s, err);
	if (r == 0 && object_size > 0)
		r = sealed_head_parse_count(s->head, c->data, err);
	if (r == 0 && object_size > 0)
		r = check_size(s, object_size, err);
	return r < 0 ? r : parse_texts(s, c, err);
}

static struct seal *seal_new(const char *name)
{
	_cleanup_seal_ struct seal *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->head = sealed_head_new(name);
	return s->head ? steal_ptr(s) : NULL;
}

int seal_parse_head(const char *name, const uint8_t *bytes, size_t size, uint64_t object_size,
		    struct seal **ret, struct error *err)
{
	_cleanup_seal_ struct seal *s = seal_new(name);
	struct cursor c = cursor_init(bytes, size);
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "no memory for a seal");
	if (object_size < SEAL_SIZE_MIN)
		return malformed(s, err, "it has %" PRIu64 " bytes, a seal at least %d (truncated)",
				 object_size, SEAL_SIZE_MIN);
	if (object_size > seal_object_size(SEAL_LENGTH_MAX, SEAL_SLOTS_MAX))
		return malformed(s, err, "it is larger than any seal");
	if (size < MIN(object_size, (uint64_t)SEAL_HEAD_MAX) || size > object_size)
		return malformed(s, err, "%zu bytes of it are here, which hold no head", size);
	r = parse_head(s, &c, object_size, err);
	if (r == 0)
		r = sealed_head_parse(&s->head, &c, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

int seal_parse_statement(const char *name, const uint8_t *bytes, size_t size, struct seal **ret,
			 struct error *err)
{
	_cleanup_seal_ struct seal *s = seal_new(name);
	struct cursor c = cursor_init(bytes, size);
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "no memory for a seal");
	if (size < SEAL_STATEMENT_SIZE)
		return malformed(s, err, "%zu bytes of it are here, its first %d are needed", size,
				 SEAL_STATEMENT_SIZE);
	r = parse_head(s, &c, 0, err);
	if (r == 0)
		r = sealed_head_parse_signature(s->head, &c, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

uint64_t seal_tables_offset(const struct seal *s)
{
	return sealed_head_size(s->head->slot_count);
}

uint64_t seal_tables_size(const struct seal *s)
{
	return s->core.chunk_count * ENTRY_SIZE;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	free(s->tables);
	sealed_head_free(s->head);
	free(s);
}

const struct seal_core *seal_core(const struct seal *s)
{
	return &s->core;
}

const struct sealed_head *seal_head(const struct seal *s)
{
	return s->head;
}

unsigned seal_slot_count(const struct seal *s)
{
	return s->head->slot_count;
}

const struct seal_slot *seal_slot(const struct seal *s, unsigned index)
{
	return index < s->head->slot_count ? &s->head->slots[index] : NULL;
}

bool seal_has_tables(const struct seal *s)
{
	return s->tables != NULL;
}

void seal_drop_tables(struct seal *s)
{
	free(steal_ptr(s->tables));
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

void seal_copy_statement(const struct seal *s, uint8_t out[SEAL_STATEMENT_SIZE])
{
	memset(out, 0, SEAL_STATEMENT_SIZE);
	memcpy(out, s->head->core, SEAL_CORE_SIZE);
	sealed_head_copy_signature(s->head, out);
}

bool seal_is_signed(const struct seal *s)
{
	return sealed_head_is_signed(s->head);
}

const uint8_t *seal_signer_id(const struct seal *s)
{
	return s->head->signer_id;
}

uint32_t seal_chunk_size(const struct seal *s, uint64_t chunk_index)
{
	if (chunk_index >= s->core.chunk_count)
		return 0;
	return (uint32_t)MIN(s->core.length - chunk_index * SEAL_CHUNK_SIZE,
			     (uint64_t)SEAL_CHUNK_SIZE);
}
