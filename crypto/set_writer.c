/*
 * The writer of set objects, and of new slots in existing seals. Job: lay out bytes. Trusts
 * its callers' members. Must never give out an object that the parser would refuse.
 */
#include "crypto/set_writer.h"

#include "crypto/base/digest.h"
#include "crypto/kdf.h"
#include "crypto/seal_internal.h"
#include "crypto/set_internal.h"

#include <errno.h>
#include <string.h>

int set_keys_make(const uint8_t id[SET_ID_SIZE], const struct secret *set_key,
		  struct set_keys **ret)
{
	uint8_t header[SEAL_CORE_SIZE] = {0};

	put_le16(header + SET_FORMAT_AT, SET_FORMAT_VERSION);
	put_le16(header + SET_FORMAT_AT + 2, SET_SUITE);
	memcpy(header + SET_ID_AT, id, SET_ID_SIZE);
	return set_keys_derive(set_key, header, ret);
}

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct set_member *)a)->path, ((const struct set_member *)b)->path);
}

static void fill_descriptions(struct set_member *members, size_t count)
{
	char path[SEAL_PATH_MAX + sizeof(SET_DESCRIPTION_SUFFIX)];
	struct set_member key = {.path = path};

	for (size_t i = 0; i < count; i++) {
		const struct set_member *d;

		(void)snprintf(path, sizeof(path), "%s" SET_DESCRIPTION_SUFFIX, members[i].path);
		d = bsearch(&key, members, count, sizeof(*members), compare_members);
		if (d)
			memcpy(members[i].description, d->sha256, SHA256_SIZE);
		else
			memset(members[i].description, 0, SHA256_SIZE);
	}
}

void set_sort_members(struct set_member *members, size_t count)
{
	if (count > 1)
		qsort(members, count, sizeof(*members), compare_members);
	fill_descriptions(members, count);
}

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t size)
{
	memcpy(p, data, size);
	return p + size;
}

static uint8_t *store_entry(uint8_t *p, const struct set_member *m)
{
	size_t size = strlen(m->path);

	put_le16(p, (uint16_t)size);
	p = put_bytes(p + 2, m->path, size);
	p = put_bytes(p, m->file_id, sizeof(m->file_id));
	p = put_bytes(p, m->core_digest, sizeof(m->core_digest));
	put_le64(p, m->length);
	p = put_bytes(p + 8, m->sha256, sizeof(m->sha256));
	p = put_bytes(p, m->sha384, sizeof(m->sha384));
	p = put_bytes(p, m->verity, sizeof(m->verity));
	return put_bytes(p, m->description, sizeof(m->description));
}

/* Bytes; SIZE_MAX: more than a table may have. */
static size_t table_size(const struct set_member *members, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		size += SET_ENTRY_FIXED + strnlen(members[i].path, SEAL_PATH_MAX + 1);
		if (size > SET_TABLE_MAX)
			return SIZE_MAX;
	}
	return size;
}

static int fill_header(const struct set_make *m, const uint8_t *table, size_t size, uint8_t *h)
{
	size_t name_size = strnlen(m->name, SET_NAME_ROOM);
	size_t facts_size = strnlen(m->facts, SEAL_FACTS_MAX);
	int r;

	memcpy(h, SET_MAGIC, sizeof(SET_MAGIC) - 1);
	put_le16(h + SET_FORMAT_AT, SET_FORMAT_VERSION);
	put_le16(h + SET_FORMAT_AT + 2, SET_SUITE);
	memcpy(h + SET_ID_AT, m->id, SET_ID_SIZE);
	put_le64(h + SET_VERSION_AT, m->version);
	put_le64(h + SET_VERSION_AT + 8, m->created);
	put_le64(h + SET_VERSION_AT + 16, m->expires);
	put_le32(h + SET_COUNT_AT, (uint32_t)m->member_count);
	put_le32(h + SET_COUNT_AT + 4, (uint32_t)size);
	memcpy(h + SET_COMMITMENT_AT, secret_data(m->keys->derived) + KDF_SET_COMMITMENT_AT, 32);
	put_le16(h + SET_NAME_SIZE_AT, (uint16_t)name_size);
	put_le16(h + SET_NAME_SIZE_AT + 2, (uint16_t)facts_size);
	memcpy(h + SET_NAME_AT, m->name, name_size);
	memcpy(h + SET_FACTS_AT, m->facts, facts_size);
	r = digest_buffer(DIGEST_SHA256, table, size, h + SET_TABLE_HASH_AT);
	return r < 0 ? r : set_content_digest(m->members, m->member_count, h + SET_CONTENT_AT);
}

/* The result must be what a reader takes. */
static int check_object(const uint8_t *object, size_t size, const struct set_keys *keys,
			struct error *err)
{
	_cleanup_set_ struct set *s = NULL;
	int r = set_parse_head("the new set", object, size, size, &s, err);

	if (r == 0)
		r = set_load_table(s, keys, object + set_table_offset(s), err);
	return r == -EPROTO ? -EINVAL : r;
}

int set_make(const struct set_make *m, uint8_t **ret, size_t *ret_size, struct error *err)
{
	struct sealed_head_parts parts = {.label = SET_SIGNED_LABEL,
					  .signer = m->signer,
					  .slots = m->slots,
					  .slot_count = m->slot_count,
					  .mac_key = set_mac_key(m->keys)};
	uint8_t header[SEAL_CORE_SIZE] = {0};
	_cleanup_free_ uint8_t *object = NULL;
	size_t size, at;
	uint8_t *p;
	int r = sealed_head_check_slots(m->slots, m->slot_count, err);

	if (r < 0)
		return r;
	if (m->member_count == 0 || m->member_count > SET_MEMBERS_MAX)
		return error_set(err, -EINVAL, "a set has 1 to %d members, not %zu",
				 SET_MEMBERS_MAX, m->member_count);
	set_sort_members(m->members, m->member_count);
	size = table_size(m->members, m->member_count);
	if (size > SET_TABLE_MAX)
		return error_set(err, -EINVAL,
				 "the members' paths are too long for one set: "
				 "their table may have 64 MiB");
	at = (size_t)sealed_head_size(m->slot_count);
	object = calloc(1, at + size);
	if (!object)
		return error_set(err, -ENOMEM, "no memory for a set");
	p = object + at;
	for (size_t i = 0; i < m->member_count; i++)
		p = store_entry(p, &m->members[i]);
	r = fill_header(m, object + at, size, header);
	parts.core = header;
	if (r == 0)
		r = sealed_head_write(&parts, object);
	if (r == 0)
		r = check_object(object, at + size, m->keys, err);
	if (r < 0)
		return error_set(err, r, "cannot make a set");
	*ret = steal_ptr(object);
	*ret_size = at + size;
	return 0;
}

/* tail: what follows the slots. Header and signature are copied from head. */
static int replace_slots(const struct sealed_head *head, const uint8_t *mac_key,
			 const uint8_t *tail, size_t tail_size, const struct seal_slot *slots,
			 unsigned slot_count, uint8_t **ret, size_t *ret_size, struct error *err)
{
	struct sealed_head_parts parts = {
		.core = head->core, .slots = slots, .slot_count = slot_count, .mac_key = mac_key};
	size_t at = (size_t)sealed_head_size(slot_count);
	_cleanup_free_ uint8_t *object = NULL;
	int r = sealed_head_check_slots(slots, slot_count, err);

	if (r < 0)
		return r;
	object = calloc(1, at + tail_size);
	r = object ? sealed_head_write(&parts, object) : -ENOMEM;
	if (r < 0)
		return error_set(err, r, "cannot write recipients");
	sealed_head_copy_signature(head, object);
	memcpy(object + at, tail, tail_size);
	*ret = steal_ptr(object);
	*ret_size = at + tail_size;
	return 0;
}

int set_replace_slots(const struct set *s, const struct set_keys *keys,
		      const struct seal_slot *slots, unsigned slot_count, uint8_t **ret,
		      size_t *ret_size, struct error *err)
{
	size_t size = s->header.table_size;
	_cleanup_free_ uint8_t *table = malloc(size);
	uint8_t *p = table;
	int r;

	if (!table)
		return error_set(err, -ENOMEM, "no memory for a set");
	for (size_t i = 0; i < s->header.member_count; i++)
		p = store_entry(p, &s->members[i]);
	r = replace_slots(s->head, set_mac_key(keys), table, size, slots, slot_count, ret, ret_size,
			  err);
	if (r < 0)
		return r;
	r = check_object(*ret, *ret_size, keys, err);
	if (r < 0)
		free(steal_ptr(*ret));
	return r;
}

/* The result must be what a reader takes. */
static int check_seal(const uint8_t *object, size_t size, const struct seal_keys *keys,
		      struct error *err)
{
	_cleanup_seal_ struct seal *s = NULL;
	int r = seal_parse_head("the new seal", object, size, size, &s, err);

	return r < 0 ? r : sealed_head_check_mac(s->head, seal_mac_key(keys), err);
}

int seal_replace_slots(const struct seal *s, const struct seal_keys *keys,
		       const struct seal_slot *slots, unsigned slot_count, uint8_t **ret,
		       size_t *ret_size, struct error *err)
{
	int r;

	if (!s->tables)
		return error_set(err, -EINVAL, "a seal is rewritten with its tables");
	r = replace_slots(s->head, seal_mac_key(keys), s->tables, (size_t)seal_tables_size(s),
			  slots, slot_count, ret, ret_size, err);
	if (r < 0)
		return r;
	r = check_seal(*ret, *ret_size, keys, err);
	if (r < 0)
		free(steal_ptr(*ret));
	return r;
}

int set_member_of(const struct seal *seal, const char *path, struct set_member *ret)
{
	const struct seal_core *core = seal_core(seal);

	*ret = (struct set_member){.path = path, .length = core->length};
	memcpy(ret->file_id, core->file_id, sizeof(ret->file_id));
	memcpy(ret->sha256, core->sha256, sizeof(ret->sha256));
	memcpy(ret->sha384, core->sha384, sizeof(ret->sha384));
	memcpy(ret->verity, core->verity, sizeof(ret->verity));
	return digest_buffer(DIGEST_SHA384, seal->head->core, SEAL_CORE_SIZE, ret->core_digest);
}
