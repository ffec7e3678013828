/*
 * Fuzz target: the parser of set objects. The input is a set object. What parses must also hold the
 * promises that set.h makes to callers; a broken one aborts.
 */
#include "crypto/base/digest.h"
#include "crypto/base/printable.h"
#include "crypto/facts.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "crypto/set_internal.h"
#include "crypto/set_writer.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_head(const struct set *s)
{
	const struct set_header *h = set_header(s);
	const struct sealed_head *head = set_head(s);

	promise(h->version >= 1 && h->version <= SET_VERSION_MAX);
	promise(h->member_count >= 1 && h->member_count <= SET_MEMBERS_MAX);
	promise(h->table_size <= SET_TABLE_MAX);
	promise(h->expires == 0 || (h->expires > h->created && h->expires <= SEAL_TIME_MAX));
	promise(name_problem(h->name, strlen(h->name)) == NULL);
	promise(facts_problem(h->facts, strlen(h->facts)) == NULL);
	promise(head->slot_count >= 1 && head->slot_count <= SEAL_SLOTS_MAX);
	for (unsigned i = 0; i < head->slot_count; i++)
		promise(!slot_problem(&head->slots[i]) && !slot_set_id(&head->slots[i]));
	promise(set_check_owner(s, NULL, NULL) == 0);
	promise(!set_member(s, 0) && !set_find(s, "a"));
}

static void check_members(const struct set *s)
{
	const struct set_header *h = set_header(s);
	uint8_t content[SHA256_SIZE];

	for (size_t i = 0; i < h->member_count; i++) {
		const struct set_member *m = set_member(s, i);
		_cleanup_free_ char *pending = set_pending_name(m);

		promise(m && set_find(s, m->path) == m);
		promise(model_path_problem(m->path, strlen(m->path)) == NULL);
		promise(i == 0 || strcmp(set_member(s, i - 1)->path, m->path) < 0);
		promise(pending && set_name_is_pending(pending));
	}
	promise(!set_member(s, h->member_count));
	promise(set_content_digest(set_member(s, 0), h->member_count, content) == 0);
	promise(memcmp(content, h->content, sizeof(content)) == 0);
}

static void check_error(int r, const struct error *err)
{
	enum seal_failure failure = seal_failure_of(err);

	promise(r == -EPROTO || (r == -EBADMSG && failure == SEAL_BAD_TABLES));
	promise(failure == SEAL_MALFORMED || failure == SEAL_UNSUPPORTED ||
		failure == SEAL_BAD_TABLES);
	promise(utf8_valid(err->message, strlen(err->message)));
}

/* The same with digests that fit the table, so that its entries are looked at. */
static void try_table(const struct set *s, const uint8_t *data, size_t size)
{
	size_t at = (size_t)set_table_offset(s);
	_cleanup_free_ uint8_t *copy = malloc(size);
	_cleanup_set_ struct set *fixed = NULL;
	struct error err = {0};
	int r;

	promise(copy);
	memcpy(copy, data, size);
	promise(digest_buffer(DIGEST_SHA256, copy + at, size - at, copy + SET_TABLE_HASH_AT) == 0);
	promise(set_parse_head("fixed", copy, size, size, &fixed, NULL) == 0);
	r = set_load_table(fixed, NULL, copy + at, &err);
	if (r < 0)
		check_error(r, &err);
	else
		check_members(fixed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_set_ struct set *s = NULL;
	struct error err = {0};
	int r = set_parse_head("fuzz\n\"", data, size, size, &s, &err);

	if (r < 0) {
		check_error(r, &err);
		return 0;
	}
	check_head(s);
	r = set_load_table(s, NULL, data + set_table_offset(s), &err);
	if (r < 0)
		check_error(r, &err);
	else
		check_members(s);
	try_table(s, data, size);
	return 0;
}
