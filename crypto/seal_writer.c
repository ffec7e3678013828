/*
 * The writer of seal objects. Job: own file id and keys of one sealing, collect tags and hashes
 * from any thread, and lay out the object. Trusts its callers' digests of the plaintext. Must
 * never start twice under one file id, nor give out an object that the parser would refuse.
 */
#include "crypto/seal_writer.h"

#include "crypto/base/cursor.h"
#include "crypto/base/digest.h"
#include "crypto/kdf.h"
#include "crypto/name.h"
#include "crypto/seal_internal.h"
#include "crypto/verity.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <string.h>

struct seal_builder {
	uint8_t core[SEAL_CORE_SIZE]; /* digests and table hash are filled in at the end */
	uint64_t length;
	uint64_t chunk_count;
	struct seal_keys *keys; /* NULL before the start */
	uint8_t *tags;
	uint8_t *hashes;
	uint8_t *chunk_set; /* one byte each: threads write different ones */
};

int seal_builder_new(const char *path, struct seal_builder **ret, struct error *err)
{
	_cleanup_(seal_builder_freep) struct seal_builder *b = NULL;
	size_t size = strnlen(path, SEAL_PATH_MAX + 1);
	const char *problem = model_path_problem(path, size);
	char printable[NAME_PRINTABLE_SIZE];

	if (problem) {
		name_printable(path, printable);
		return error_set(err, -EINVAL, "\"%s\" cannot be a model's path: %s", printable,
				 problem);
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return error_set(err, -ENOMEM, "no memory for a seal");
	memcpy(b->core, SEAL_MAGIC, sizeof(SEAL_MAGIC) - 1);
	put_le16(b->core + CORE_VERSION_AT, SEAL_VERSION);
	put_le16(b->core + CORE_VERSION_AT + 2, SEAL_SUITE);
	if (RAND_bytes(b->core + CORE_FILE_ID_AT, SEAL_FILE_ID_SIZE) != 1)
		return error_set(err, -EIO, "no random bytes for a file id");
	put_le16(b->core + CORE_PATH_LENGTH_AT, (uint16_t)size);
	memcpy(b->core + CORE_PATH_AT, path, size);
	*ret = steal_ptr(b);
	return 0;
}

void seal_builder_free(struct seal_builder *b)
{
	if (!b)
		return;
	seal_keys_free(b->keys);
	free(b->tags);
	free(b->hashes);
	free(b->chunk_set);
	free(b);
}

const uint8_t *seal_builder_file_id(const struct seal_builder *b)
{
	return b->core + CORE_FILE_ID_AT;
}

/* 49 bytes a chunk; at least one byte each, so that NULL means out of memory. */
static int allocate_tables(struct seal_builder *b, uint64_t chunk_count)
{
	size_t count = (size_t)MAX(chunk_count, (uint64_t)1);

	b->tags = calloc(count, SEAL_TAG_SIZE);
	b->hashes = calloc(count, SEAL_HASH_SIZE);
	b->chunk_set = calloc(count, 1);
	return b->tags && b->hashes && b->chunk_set ? 0 : -ENOMEM;
}

int seal_builder_start(struct seal_builder *b, uint64_t length, const struct secret *data_key,
		       struct error *err)
{
	int r;

	if (b->tags || b->hashes || b->chunk_set || b->keys)
		return error_set(err, -EINVAL,
				 "a sealing cannot start twice: make a new file id and data key");
	if (length > SEAL_LENGTH_MAX)
		return error_set(err, -EINVAL, "a model of %" PRIu64 " bytes is over 16 TiB",
				 length);
	if (secret_size(data_key) != SEAL_DATA_KEY_SIZE)
		return error_set(err, -EINVAL, "a data key has %d bytes, not %zu",
				 SEAL_DATA_KEY_SIZE, secret_size(data_key));
	b->length = length;
	b->chunk_count = seal_chunks_of(length);
	put_le64(b->core + CORE_LENGTH_AT, b->length);
	put_le64(b->core + CORE_COUNT_AT, b->chunk_count);
	r = allocate_tables(b, b->chunk_count);
	if (r < 0)
		return error_set(err, r, "no memory for the tables of a seal");
	r = seal_keys_derive(data_key, b->core, &b->keys);
	if (r < 0)
		return error_set(err, r, "cannot derive the keys of a seal");
	memcpy(b->core + CORE_COMMITMENT_AT, secret_data(b->keys->derived) + KDF_COMMITMENT_AT, 32);
	return 0;
}

const struct seal_keys *seal_builder_keys(const struct seal_builder *b)
{
	return b->keys;
}

uint64_t seal_builder_chunk_count(const struct seal_builder *b)
{
	return b->chunk_count;
}

void seal_builder_set_chunk(struct seal_builder *b, uint64_t chunk_index,
			    const uint8_t tag[SEAL_TAG_SIZE], const uint8_t hash[SEAL_HASH_SIZE])
{
	/* An index out of range leaves its chunk unset, and seal_builder_finish() refuses. */
	if (!b->keys || chunk_index >= b->chunk_count)
		return;
	memcpy(b->tags + chunk_index * SEAL_TAG_SIZE, tag, SEAL_TAG_SIZE);
	memcpy(b->hashes + chunk_index * SEAL_HASH_SIZE, hash, SEAL_HASH_SIZE);
	b->chunk_set[chunk_index] = 1;
}

static int check_finish(const struct seal_builder *b, const struct seal_finish *f,
			struct error *err)
{
	int r;

	if (!b->keys)
		return error_set(err, -EINVAL, "the sealing was not started");
	r = sealed_head_check_slots(f->slots, f->slot_count, err);
	if (r < 0)
		return r;
	if (f->sealed_at > SEAL_TIME_MAX)
		return error_set(err, -EINVAL, "the time of sealing is after the year 9999");
	if (f->facts && facts_problem(f->facts->text, f->facts->size))
		return error_set(err, -EINVAL, "the facts are malformed: %s",
				 facts_problem(f->facts->text, f->facts->size));
	for (uint64_t i = 0; i < b->chunk_count; i++)
		if (!b->chunk_set[i])
			return error_set(err, -EINVAL, "chunk %" PRIu64 " was never sealed", i);
	return 0;
}

/* The core's last fields, from the plaintext's digests and the tables. */
static int complete_core(struct seal_builder *b, const struct seal_finish *f, const uint8_t *tables)
{
	size_t tables_size = (size_t)b->chunk_count * (SEAL_TAG_SIZE + SEAL_HASH_SIZE);
	int r;

	put_le64(b->core + CORE_TIME_AT, f->sealed_at);
	if (f->facts) {
		put_le16(b->core + CORE_FACTS_LENGTH_AT, (uint16_t)f->facts->size);
		memcpy(b->core + CORE_FACTS_AT, f->facts->text, f->facts->size);
	}
	memcpy(b->core + CORE_SHA256_AT, f->sha256, SHA256_SIZE);
	memcpy(b->core + CORE_SHA384_AT, f->sha384, SHA384_SIZE);
	r = verity_digest(b->hashes, b->chunk_count, b->length, b->core + CORE_VERITY_AT);
	if (r < 0)
		return r;
	return digest_buffer(DIGEST_SHA256, tables, tables_size, b->core + CORE_TABLE_HASH_AT);
}

static int lay_out(struct seal_builder *b, const struct seal_finish *f, uint8_t *object)
{
	uint8_t *tables = object + sealed_head_size(f->slot_count);
	struct sealed_head_parts parts = {.core = b->core,
					  .label = SEAL_SIGNED_LABEL,
					  .signer = f->signer,
					  .slots = f->slots,
					  .slot_count = f->slot_count};
	int r;

	memcpy(tables, b->tags, (size_t)b->chunk_count * SEAL_TAG_SIZE);
	memcpy(tables + b->chunk_count * SEAL_TAG_SIZE, b->hashes,
	       (size_t)b->chunk_count * SEAL_HASH_SIZE);
	r = complete_core(b, f, tables);
	if (r < 0)
		return r;
	parts.mac_key = seal_mac_key(b->keys);
	return sealed_head_write(&parts, object);
}

int seal_builder_finish(struct seal_builder *b, const struct seal_finish *finish, uint8_t **ret,
			size_t *ret_size, struct error *err)
{
	_cleanup_free_ uint8_t *object = NULL;
	_cleanup_seal_ struct seal *check = NULL;
	size_t size;
	int r = check_finish(b, finish, err);

	if (r < 0)
		return r;
	size = (size_t)seal_object_size(b->length, finish->slot_count);
	object = calloc(1, size);
	if (!object)
		return error_set(err, -ENOMEM, "no memory for a seal of %zu bytes", size);
	r = lay_out(b, finish, object);
	if (r < 0)
		return error_set(err, r, "cannot make a seal");
	r = seal_parse_head("the new seal", object, size, size, &check, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(object);
	*ret_size = size;
	return 0;
}
