/*
 * Sets in a directory or bucket. Job: read one, and write the next version on condition that nobody
 * else did. Trusts what it reads as far as owner keys, set key and the record of what was seen go.
 * Must never write a set that drops what another writer added, nor use the keys of a set whose
 * owner was not checked.
 */
#include "tools/set/set_store.h"

#include "crypto/base/log.h"
#include "crypto/set_state.h"
#include "fs/formats/gguf_name.h"
#include "tools/set/replace.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <string.h>

#define TRIES_MAX 20

static int read_once(struct source *source, const char *name, size_t max, uint8_t **ret,
		     size_t *ret_size, char **ret_version, struct error *err)
{
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_free_ char *version = NULL;
	int r = source_stat(source, name, &o, err);

	if (r < 0)
		return r;
	if (o.size > max) {
		_cleanup_free_ char *label = source_describe(source, name);

		return error_set(err, -EPROTO,
				 "\"%s\": malformed: it has %" PRIu64
				 " bytes; at most %zu are read",
				 label ? label : name, o.size, max);
	}
	bytes = malloc((size_t)o.size + 1);
	version = strdup(o.version);
	if (!bytes || !version)
		return -ENOMEM;
	r = source_read(source, name, o.version, 0, (size_t)o.size, bytes, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(bytes);
	*ret_size = (size_t)o.size;
	if (ret_version)
		*ret_version = steal_ptr(version);
	return 0;
}

/* Another writer may replace it between a look and a read. */
int set_store_read(struct source *source, const char *name, size_t max, uint8_t **ret,
		   size_t *ret_size, char **ret_version, struct error *err)
{
	struct error failure = {0};
	int r = -ESTALE;

	for (unsigned i = 0; r == -ESTALE && i < TRIES_MAX; i++) {
		error_clear(&failure);
		r = read_once(source, name, max, ret, ret_size, ret_version, &failure);
	}
	if (r < 0 && err && !err->code)
		*err = failure;
	return r;
}

static void forget(struct set_store *s)
{
	set_free(s->set);
	set_keys_free(s->keys);
	free(s->version);
	s->set = NULL;
	s->keys = NULL;
	s->version = NULL;
}

void set_store_clear(struct set_store *s)
{
	forget(s);
	free(s->label);
	*s = (struct set_store){0};
}

static int parse(struct set_store *s, const uint8_t *bytes, size_t size, struct error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	int r = set_parse_head(s->label, bytes, size, size, &s->set, err);

	if (r == 0)
		r = set_check_owner(s->set, s->access.owners, err);
	if (r == 0 && s->access.id)
		r = set_check_id(s->set, s->access.id, err);
	if (r == 0 && s->access.unlock)
		r = unlock_set_key(s->access.unlock, s->set, s->label, &key, err);
	if (r == 0 && s->access.unlock)
		r = set_unlock(s->set, key, &s->keys, err);
	if (r == 0)
		r = set_load_table(s->set, s->keys, bytes + set_table_offset(s->set), err);
	/* Expiry is for mounts: a writer is what renews it. */
	return r < 0 ? r : set_check_version(s->set, s->access.min_version, 0, err);
}

/* What nobody vouches for must not be recorded. */
int set_store_check_state(const struct set_store *s, struct error *err)
{
	struct set_seen seen;
	int r;

	if (!s->access.state)
		return 0;
	if (!s->keys && (!s->access.owners || owner_keys_count(s->access.owners) == 0)) {
		error_hint(err, "give --owner-key, --key-file or --kms");
		return error_set(err, -EINVAL,
				 "--set-state needs the owner's key, or a key that opens the set");
	}
	r = set_state_of(s->set, &seen);
	return r < 0 ? r : set_state_accept(s->access.state, &seen, s->label, err);
}

/* 1: another writer has replaced it since it was read, and may have recorded so. */
static int load_once(struct set_store *s, struct error *err)
{
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_free_ uint8_t *bytes = NULL;
	struct error failure = {0};
	size_t size = 0;
	int r;

	forget(s);
	r = set_store_read(s->source, SET_OBJECT_NAME, SET_HEAD_MAX + SET_TABLE_MAX, &bytes, &size,
			   &s->version, &failure);
	if (r == -ENOENT && (s->access.id || s->access.min_version > 0)) {
		error_hint(err, "put it back: --set-id and --min-version are for a set that is "
				"there");
		return error_set(err, r, "there is no set: %s is missing", s->label);
	}
	if (r == -ENOENT) {
		s->version = strdup("");
		return s->version ? 0 : -ENOMEM;
	}
	if (r < 0) {
		*err = failure;
		return error_set(err, r, "cannot read %s", s->label);
	}
	r = parse(s, bytes, size, err);
	if (r < 0)
		return r;
	r = set_store_check_state(s, &failure);
	if (r == -EBADMSG && source_stat(s->source, SET_OBJECT_NAME, &o, NULL) == 0 &&
	    strcmp(o.version, s->version) != 0)
		return 1;
	if (r < 0)
		*err = failure;
	return r;
}

int set_store_load(struct set_store *s, struct source *source, const struct set_access *access,
		   struct error *err)
{
	int r = 1;

	s->source = source;
	s->access = *access;
	if (!s->label)
		s->label = source_describe(source, SET_OBJECT_NAME);
	if (!s->label)
		return -ENOMEM;
	for (unsigned i = 0; r == 1 && i < TRIES_MAX; i++)
		r = load_once(s, err);
	return r == 1 ? error_set(err, -EBUSY, "%s: other writers are too fast", s->label) : r;
}

int set_store_need(struct set_store *s, struct source *source, const struct set_access *access,
		   struct error *err)
{
	int r = set_store_load(s, source, access, err);

	if (r < 0 || s->set)
		return r;
	error_set(err, -ENOENT, "there is no set: %s does not exist", s->label);
	error_hint(err, "sealctl set create makes one");
	return -ENOENT;
}

int set_store_begin(struct set_store *s, const struct recipients *recipients, struct error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	int r;

	if (RAND_bytes(s->id, sizeof(s->id)) != 1)
		return error_set(err, -EIO, "no random bytes for a set id");
	r = s->access.state ? set_state_check(s->access.state, err) : 0;
	if (r == 0)
		r = recipients_make(recipients, s->id, &key, s->slots, &s->slot_count, err);
	if (r == 0)
		r = set_keys_make(s->id, key, &s->keys);
	return r;
}

static bool is_listed(const char *path, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(path, list[i]) == 0)
			return true;
	return false;
}

static int compare_members(const void *a, const void *b)
{
	return strcmp(((const struct set_member *)a)->path, ((const struct set_member *)b)->path);
}

/* The members of the next version: the current ones with the changes. */
static int merge(const struct set_store *s, const struct set_change *c, struct set_member **ret,
		 size_t *ret_count, struct error *err)
{
	size_t old_count = s->set ? set_header(s->set)->member_count : 0, count = 0;
	struct set_member *all = calloc(old_count + c->put_count + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	if (c->put_count > 1)
		qsort(c->put, c->put_count, sizeof(*c->put), compare_members);
	for (size_t i = 0; i < c->drop_count; i++)
		if (!s->set || !set_find(s->set, c->drop[i])) {
			free(all);
			return error_set(err, -ENOENT, "%s has no member \"%s\"", s->label,
					 c->drop[i]);
		}
	for (size_t i = 0; i < old_count; i++) {
		const struct set_member *m = set_member(s->set, i);

		if (!(c->put_count > 0 &&
		      bsearch(m, c->put, c->put_count, sizeof(*c->put), compare_members)) &&
		    !is_listed(m->path, c->drop, c->drop_count))
			all[count++] = *m;
	}
	for (size_t i = 0; i < c->put_count; i++)
		all[count++] = c->put[i];
	*ret = all;
	*ret_count = count;
	return 0;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* paths: sorted. */
static int check_shards(const char *const *paths, size_t count, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		char name[SEAL_PATH_MAX + 1], *p = name;
		struct gguf_shard shard;

		if (strlen(paths[i]) > SEAL_PATH_MAX || !gguf_parse_shard(paths[i], &shard))
			continue;
		memcpy(name, paths[i], strlen(paths[i]) + 1);
		for (unsigned k = 1; k <= shard.count; k++) {
			char digits[8];

			(void)snprintf(digits, sizeof(digits), "%05u", k % 100000);
			memcpy(name + shard.number_at, digits, 5);
			if (!bsearch(&p, paths, count, sizeof(*paths), compare_texts))
				return error_set(err, -EINVAL,
						 "%s is one of %u shards, and %s is missing: a set "
						 "has all parts of a split GGUF or none",
						 paths[i], shard.count, name);
		}
	}
	return 0;
}

int set_store_check_shards(const struct set_store *s, const char *const *paths, size_t count,
			   struct error *err)
{
	size_t old = s->set ? set_header(s->set)->member_count : 0;
	_cleanup_free_ const char **all = calloc(old + count + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < old; i++)
		all[i] = set_member(s->set, i)->path;
	for (size_t i = 0; i < count; i++)
		all[old + i] = paths[i];
	qsort(all, old + count, sizeof(*all), compare_texts);
	return check_shards(all, old + count, err);
}

static int check_member_shards(const struct set_make *m, struct error *err)
{
	_cleanup_free_ const char **all = calloc(m->member_count + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < m->member_count; i++)
		all[i] = m->members[i].path;
	qsort(all, m->member_count, sizeof(*all), compare_texts);
	return check_shards(all, m->member_count, err);
}

static int make_next(const struct set_store *s, const struct set_change *c, uint8_t **ret,
		     size_t *ret_size, struct error *err)
{
	const struct set_header *old = s->set ? set_header(s->set) : NULL;
	const struct sealed_head *head = s->set ? set_head(s->set) : NULL;
	struct set_make m = {.id = old ? old->id : s->id,
			     .name = old && !c->name ? old->name : c->name,
			     .facts = c->facts ? c->facts
				      : old    ? old->facts
					       : "",
			     .version = old ? old->version + 1 : 1,
			     .created = c->now,
			     .expires = c->has_expires ? c->expires
					: old	       ? old->expires
						       : 0,
			     .slots = head ? head->slots : s->slots,
			     .slot_count = head ? head->slot_count : s->slot_count,
			     .keys = s->keys,
			     .signer = c->signer};
	int r = merge(s, c, &m.members, &m.member_count, err);

	if (r < 0)
		return r;
	if (m.member_count == 0)
		r = error_set(err, -EINVAL,
			      "the set would have no member left; remove the object %s itself if "
			      "that is meant",
			      s->label);
	else if (m.expires != 0 && m.expires <= m.created)
		r = error_set(err, -EINVAL,
			      "the set would expire before it is made: give "
			      "--expires");
	else
		r = check_member_shards(&m, err);
	if (r == 0)
		r = set_make(&m, ret, ret_size, err);
	free(m.members);
	return r;
}

/* Another writer's version is there now. */
static int reload(struct set_store *s, const struct set_change *c, struct error *err)
{
	_cleanup_set_keys_ struct set_keys *old = steal_ptr(s->keys);
	bool was_there = s->set != NULL, moved;
	int r = set_store_load(s, s->source, &s->access, err);

	if (r < 0)
		return r;
	if (!s->set)
		return error_set(err, -ESTALE, "%s was removed by another writer", s->label);
	moved = memcmp(set_keys_id(old), set_header(s->set)->id, SET_ID_SIZE) != 0;
	if (moved && (was_there || !c->moved)) {
		error_hint(err, "compare its id (sealctl set list) with the one that you expect");
		return error_set(err, -ESTALE, "%s was replaced by another set meanwhile",
				 s->label);
	}
	log_notice("another writer changed the set; making the change to its version %" PRIu64,
		   set_header(s->set)->version);
	return moved ? c->moved(c->arg, old, err) : 0;
}

/* What was written is what there is now. */
static int keep(struct set_store *s, const uint8_t *bytes, size_t size, struct error *err)
{
	struct set_seen seen;
	int r;

	s->written = true;
	set_free(steal_ptr(s->set));
	r = set_parse_head(s->label, bytes, size, size, &s->set, err);
	if (r == 0)
		r = set_load_table(s->set, s->keys, bytes + set_table_offset(s->set), err);
	if (r < 0 || !s->access.state)
		return r;
	r = set_state_of(s->set, &seen);
	if (r == 0)
		r = set_state_written(s->access.state, &seen, s->replaces ? s->replaced : NULL,
				      err);
	return r < 0 ? error_prefix(err, r, "%s is written", s->label) : 0;
}

int set_store_commit(struct set_store *s, const struct set_change *c, struct error *err)
{
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		_cleanup_free_ uint8_t *bytes = NULL;
		struct error failure = {0};
		size_t size = 0;
		int r = make_next(s, c, &bytes, &size, err);

		if (r < 0)
			return r;
		r = replace_object(s->source, SET_OBJECT_NAME, s->version, bytes, size, &failure);
		if (r == 0)
			return keep(s, bytes, size, err);
		if (r != -ESTALE && r != -EEXIST)
			return error_set(err, r, "%s", error_text(&failure, r));
		r = reload(s, c, err);
		if (r < 0)
			return r;
	}
	return error_set(err, -EBUSY, "%s: other writers came first %d times", s->label, TRIES_MAX);
}

int set_store_put_slots(struct set_store *s, const struct seal_slot *slots, unsigned slot_count,
			struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int r = set_replace_slots(s->set, s->keys, slots, slot_count, &bytes, &size, err);

	if (r == 0)
		r = replace_object(s->source, SET_OBJECT_NAME, s->version, bytes, size, err);
	if (r == 0)
		r = keep(s, bytes, size, err);
	return r;
}
