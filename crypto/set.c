/*
 * The parser of set objects. Job: parse untrusted bytes in the order of crypto/FORMAT.md section
 * 11.6, steps 1 to 4 and 8, and give access to the result. Trusts nothing. Must never allocate by a
 * number that has not been bounded, nor accept a second encoding of anything.
 */
#include "crypto/set_internal.h"

#include "crypto/base/digest.h"
#include "crypto/facts.h"
#include "crypto/failure.h"
#include "crypto/name.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define OBJECT_MIN (SEAL_TABLE_ALIGN + SET_ENTRY_FIXED + 1)
#define CONTENT_LABEL "sealedfs set content v1" /* with its NUL */

#define malformed(s, err, ...) seal_fail(err, SEAL_MALFORMED, (s)->head->name, __VA_ARGS__)

static int parse_identity(const struct set *s, struct cursor *c, struct error *err)
{
	const uint8_t *magic = cursor_take(c, sizeof(SET_MAGIC) - 1);
	uint16_t version = cursor_le16(c), suite = cursor_le16(c);
	uint32_t flags = cursor_le32(c);
	int r;

	if (!magic || memcmp(magic, SET_MAGIC, sizeof(SET_MAGIC) - 1) != 0)
		return malformed(s, err, "it does not start with the magic \"" SET_MAGIC "\"");
	if (version == SET_FORMAT_VERSION && suite == SET_SUITE && flags == 0)
		return 0;
	r = seal_fail(err, SEAL_UNSUPPORTED, s->head->name,
		      "unsupported set: version %u, suite %u, flags %#" PRIx32, version, suite,
		      flags);
	error_hint(err, "it was made by a newer program; update this one");
	return r;
}

static void parse_numbers(struct set_header *h, struct cursor *c)
{
	cursor_copy(c, h->id, sizeof(h->id));
	h->version = cursor_le64(c);
	h->created = cursor_le64(c);
	h->expires = cursor_le64(c);
	h->member_count = cursor_le32(c);
	h->table_size = cursor_le32(c);
	cursor_copy(c, h->table_hash, sizeof(h->table_hash));
	cursor_copy(c, h->content, sizeof(h->content));
	cursor_copy(c, h->commitment, sizeof(h->commitment));
}

static int check_numbers(const struct set *s, struct error *err)
{
	const struct set_header *h = &s->header;

	if (h->version == 0 || h->version > SET_VERSION_MAX)
		return malformed(s, err, "the version %" PRIu64 " is out of range", h->version);
	if (h->created > SEAL_TIME_MAX || h->expires > SEAL_TIME_MAX ||
	    (h->expires != 0 && h->expires <= h->created))
		return malformed(s, err, "the times %" PRIu64 " and %" PRIu64 " are out of range",
				 h->created, h->expires);
	if (h->member_count == 0 || h->member_count > SET_MEMBERS_MAX)
		return malformed(s, err, "the number of members %" PRIu32 " is not 1 to %d",
				 h->member_count, SET_MEMBERS_MAX);
	if (h->table_size > SET_TABLE_MAX ||
	    h->table_size < (uint64_t)h->member_count * (SET_ENTRY_FIXED + 1))
		return malformed(s, err, "the member table's length %" PRIu32 " is out of range",
				 h->table_size);
	return 0;
}

static int check_size(const struct set *s, uint64_t object_size, struct error *err)
{
	uint64_t expected = sealed_head_size(s->head->slot_count) + s->header.table_size;

	if (object_size != expected)
		return malformed(s, err,
				 "it has %" PRIu64 " bytes, its header asks for %" PRIu64
				 " (truncated or extended)",
				 object_size, expected);
	return 0;
}

static int parse_texts(struct set *s, struct cursor *c, struct error *err)
{
	uint16_t name_size = cursor_le16(c), facts_size = cursor_le16(c);
	const uint8_t *name, *facts;
	const char *problem;

	cursor_zeros(c, SET_NAME_AT - SET_NAME_SIZE_AT - 4);
	name = sealed_head_text(c, MIN(name_size, (uint16_t)(SET_NAME_ROOM + 1)), SET_NAME_ROOM);
	facts = sealed_head_text(c, facts_size, SEAL_FACTS_MAX);
	cursor_zeros(c, SEAL_CORE_SIZE - SET_HEADER_END);
	if (c->failed || !name || !facts || c->pos != SEAL_CORE_SIZE)
		return malformed(s, err, "lengths or reserved bytes of the header are wrong");
	problem = name_problem(name, name_size);
	if (!problem && utf8_has_control(name, name_size))
		problem = "the name holds a control character";
	if (!problem)
		problem = facts_problem(facts, facts_size);
	if (problem)
		return malformed(s, err, "%s", problem);
	memcpy(s->header.name, name, name_size);
	memcpy(s->header.facts, facts, facts_size);
	return 0;
}

/* A set is not a member of a set: opening it would need another one. */
static int check_slot_types(const struct set *s, struct error *err)
{
	for (unsigned i = 0; i < s->head->slot_count; i++)
		if (s->head->slots[i].type == SEAL_SLOT_SET)
			return malformed(s, err, "slot %u: a set is no member of a set", i);
	return 0;
}

int set_parse_head(const char *name, const uint8_t *bytes, size_t size, uint64_t object_size,
		   struct set **ret, struct error *err)
{
	_cleanup_set_ struct set *s = calloc(1, sizeof(*s));
	struct cursor c = cursor_init(bytes, size);
	int r;

	if (s)
		s->head = sealed_head_new(name);
	if (!s || !s->head)
		return error_set(err, -ENOMEM, "no memory for a set");
	if (object_size < OBJECT_MIN || object_size > SET_HEAD_MAX + SET_TABLE_MAX)
		return malformed(s, err, "it has %" PRIu64 " bytes, a set %d to %zu", object_size,
				 OBJECT_MIN, SET_HEAD_MAX + SET_TABLE_MAX);
	if (size < MIN(object_size, (uint64_t)SET_HEAD_MAX) || size > object_size)
		return malformed(s, err, "%zu bytes of it are here, which hold no head", size);
	r = parse_identity(s, &c, err);
	if (r < 0)
		return r;
	parse_numbers(&s->header, &c);
	r = sealed_head_parse_count(s->head, bytes, err);
	if (r == 0)
		r = check_numbers(s, err);
	if (r == 0)
		r = check_size(s, object_size, err);
	if (r == 0)
		r = parse_texts(s, &c, err);
	if (r == 0)
		r = sealed_head_parse(&s->head, &c, err);
	if (r == 0)
		r = check_slot_types(s, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

int set_parse_statement(const char *name, const uint8_t *bytes, size_t size, struct set **ret,
			struct error *err)
{
	_cleanup_set_ struct set *s = calloc(1, sizeof(*s));
	struct cursor c = cursor_init(bytes, size);
	int r;

	if (s)
		s->head = sealed_head_new(name);
	if (!s || !s->head)
		return error_set(err, -ENOMEM, "no memory for a set");
	if (size < SEAL_STATEMENT_SIZE)
		return malformed(s, err, "%zu bytes of it are here, its first %d are needed", size,
				 SEAL_STATEMENT_SIZE);
	r = parse_identity(s, &c, err);
	if (r < 0)
		return r;
	parse_numbers(&s->header, &c);
	r = check_numbers(s, err);
	if (r == 0)
		r = parse_texts(s, &c, err);
	if (r == 0)
		r = sealed_head_parse_signature(s->head, &c, err);
	if (r == 0 && size != SEAL_STATEMENT_SIZE &&
	    size - SEAL_STATEMENT_SIZE != s->header.table_size)
		r = malformed(s, err, "what follows its head is not its member table");
	if (r == 0 && size != SEAL_STATEMENT_SIZE)
		r = set_load_table(s, NULL, bytes + SEAL_STATEMENT_SIZE, err);
	if (r == 0)
		*ret = steal_ptr(s);
	return r;
}

void set_copy_statement(const struct set *s, uint8_t out[SEAL_STATEMENT_SIZE])
{
	memset(out, 0, SEAL_STATEMENT_SIZE);
	memcpy(out, s->head->core, SEAL_CORE_SIZE);
	sealed_head_copy_signature(s->head, out);
}

void set_free(struct set *s)
{
	if (!s)
		return;
	sealed_head_free(s->head);
	free(s->members);
	free(s->paths);
	free(s);
}

const struct set_header *set_header(const struct set *s)
{
	return &s->header;
}

const struct sealed_head *set_head(const struct set *s)
{
	return s->head;
}

uint64_t set_table_offset(const struct set *s)
{
	return sealed_head_size(s->head->slot_count);
}

/* paths: room for the path and its NUL. */
static const char *parse_entry(struct cursor *c, struct set_member *m, char *paths)
{
	uint16_t size = cursor_le16(c);
	const uint8_t *path = cursor_take(c, size);
	const char *problem = path ? model_path_problem(path, size) : "an entry is cut short";

	if (problem)
		return problem;
	memcpy(paths, path, size);
	paths[size] = '\0';
	m->path = paths;
	cursor_copy(c, m->file_id, sizeof(m->file_id));
	cursor_copy(c, m->core_digest, sizeof(m->core_digest));
	m->length = cursor_le64(c);
	cursor_copy(c, m->sha256, sizeof(m->sha256));
	cursor_copy(c, m->sha384, sizeof(m->sha384));
	cursor_copy(c, m->verity, sizeof(m->verity));
	cursor_copy(c, m->description, sizeof(m->description));
	if (c->failed)
		return "an entry is cut short";
	return m->length > SEAL_LENGTH_MAX ? "a member is over 16 TiB" : NULL;
}

static const char *parse_entries(struct set *s, struct cursor *c)
{
	char *paths = s->paths;

	for (size_t i = 0; i < s->header.member_count; i++) {
		const char *problem = parse_entry(c, &s->members[i], paths);

		if (problem)
			return problem;
		if (i > 0 && strcmp(s->members[i - 1].path, s->members[i].path) >= 0)
			return "the members are not in ascending order";
		paths += strlen(paths) + 1;
	}
	return cursor_done(c) ? NULL : "bytes follow the last member";
}

static int compare_member(const void *path, const void *member)
{
	const struct set_member *m = member;

	assert(m->path); /* set by parse_entry() before anything is searched */
	return strcmp(path, m->path);
}

const struct set_member *set_find(const struct set *s, const char *path)
{
	if (!s->members)
		return NULL;
	return bsearch(path, s->members, s->header.member_count, sizeof(*s->members),
		       compare_member);
}

const struct set_member *set_member(const struct set *s, size_t index)
{
	return s->members && index < s->header.member_count ? &s->members[index] : NULL;
}

/* Paths have no NUL, so the folders of one are found by cutting a copy. */
static const char *find_folder_conflict(const struct set *s)
{
	char folder[SEAL_PATH_MAX + 1];

	for (size_t i = 0; i < s->header.member_count; i++) {
		(void)snprintf(folder, sizeof(folder), "%s", s->members[i].path);
		for (char *slash; (slash = strrchr(folder, '/'));) {
			*slash = '\0';
			if (set_find(s, folder))
				return "a member is the folder of another";
		}
	}
	return NULL;
}

static const char *find_wrong_description(const struct set *s)
{
	static const uint8_t none[SHA256_SIZE];
	char path[SEAL_PATH_MAX + sizeof(SET_DESCRIPTION_SUFFIX)];

	for (size_t i = 0; i < s->header.member_count; i++) {
		const struct set_member *m = &s->members[i], *d;

		(void)snprintf(path, sizeof(path), "%s" SET_DESCRIPTION_SUFFIX, m->path);
		d = set_find(s, path);
		if (memcmp(m->description, d ? d->sha256 : none, sizeof(none)) != 0)
			return "a description's digest is not that of the description";
	}
	return NULL;
}

static int check_entries(const struct set *s, struct error *err)
{
	const char *problem = find_folder_conflict(s);
	uint8_t content[SHA256_SIZE];
	int r;

	if (!problem)
		problem = find_wrong_description(s);
	if (problem)
		return malformed(s, err, "%s", problem);
	r = set_content_digest(s->members, s->header.member_count, content);
	if (r < 0)
		return error_set(err, r, "cannot compute the content digest of a set");
	if (memcmp(content, s->header.content, sizeof(content)) != 0)
		return malformed(s, err, "the content digest is not that of the members");
	return 0;
}

int set_load_table(struct set *s, const struct set_keys *keys, const uint8_t *table,
		   struct error *err)
{
	struct cursor c = cursor_init(table, s->header.table_size);
	uint8_t digest[SHA256_SIZE];
	const char *problem;
	int r = digest_buffer(DIGEST_SHA256, table, s->header.table_size, digest);

	if (s->members || (keys && !set_keys_fit(s, keys)))
		return error_set(err, -EINVAL,
				 "the members of a set are loaded once, with its "
				 "keys");
	if (r < 0)
		return error_set(err, r, "cannot hash the member table of a set");
	if (memcmp(digest, s->header.table_hash, sizeof(digest)) != 0)
		return seal_fail(err, SEAL_BAD_TABLES, s->head->name,
				 "the members differ from those that were written");
	s->members = calloc(s->header.member_count, sizeof(*s->members));
	s->paths = malloc(s->header.table_size);
	if (!s->members || !s->paths)
		r = error_set(err, -ENOMEM, "no memory for the members of a set");
	problem = r == 0 ? parse_entries(s, &c) : NULL;
	if (problem)
		r = malformed(s, err, "%s", problem);
	if (r == 0)
		r = check_entries(s, err);
	if (r == 0)
		return 0;
	free(steal_ptr(s->members));
	free(steal_ptr(s->paths));
	return r;
}

static int add_member(struct digest *d, const struct set_member *m)
{
	uint8_t number[8];
	size_t size = strlen(m->path);
	int r;

	put_le16(number, (uint16_t)size);
	r = digest_update(d, number, 2);
	if (r == 0)
		r = digest_update(d, m->path, size);
	put_le64(number, m->length);
	if (r == 0)
		r = digest_update(d, number, sizeof(number));
	if (r == 0)
		r = digest_update(d, m->verity, sizeof(m->verity));
	return r < 0 ? r : digest_update(d, m->description, sizeof(m->description));
}

int set_content_digest(const struct set_member *members, size_t count, uint8_t out[SHA256_SIZE])
{
	_cleanup_digest_ struct digest *d = NULL;
	uint8_t number[8];
	int r = digest_new(DIGEST_SHA256, &d);

	put_le64(number, count);
	if (r == 0)
		r = digest_update(d, CONTENT_LABEL, sizeof(CONTENT_LABEL));
	if (r == 0)
		r = digest_update(d, number, sizeof(number));
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_member(d, &members[i]);
	return r < 0 ? r : digest_final(d, out);
}
