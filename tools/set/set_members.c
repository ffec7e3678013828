/*
 * Members of a set. Job: find a member's seal, give it a slot of the set, put a pending one in its
 * place. Trusts the set as far as set_store.c checked it. Must never put a seal where the set no
 * longer names it, nor remove the only seal of a member.
 */
#include "tools/set/set_members.h"

#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/target.h"
#include "tools/set/replace.h"

#include <errno.h>
#include <string.h>

#define TRIES_MAX 20

/* -ENOENT: no such object. */
static int read_member(const struct set_store *s, const struct set_member *m, const char *object,
		       struct seal **ret, struct error *err)
{
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_free_ char *label = source_describe(s->source, object);
	_cleanup_seal_ struct seal *seal = NULL;
	struct error failure = {0};
	int r = label ? source_stat(s->source, object, &o, &failure) : -ENOMEM;

	if (r == -ENOENT)
		return r;
	if (r == 0)
		r = target_read_head(s->source, &o, label, &seal, &failure);
	if (r == 0)
		r = set_check_member(s->set, m, seal, &failure);
	if (r < 0) {
		*err = failure;
		return error_set(err, r, "cannot read %s", object);
	}
	*ret = steal_ptr(seal);
	return 0;
}

int set_members_find(const struct set_store *s, const struct set_member *m, struct seal **ret,
		     char **ret_object, struct error *err)
{
	_cleanup_free_ char *name = set_seal_name(m), *pending = set_pending_name(m);
	struct error first = {0}, second = {0};
	int r, r2;

	if (!name || !pending)
		return -ENOMEM;
	r = read_member(s, m, name, ret, &first);
	if (r == 0) {
		*ret_object = steal_ptr(name);
		return 0;
	}
	if (r != -ENOENT && r != -EBADMSG)
		return error_set(err, r, "%s", error_text(&first, r));
	r2 = read_member(s, m, pending, ret, &second);
	if (r2 == 0) {
		*ret_object = steal_ptr(pending);
		return 0;
	}
	if (r == -ENOENT && r2 == -ENOENT)
		return set_missing_member(s->set, m, err);
	*err = r == -ENOENT ? second : first;
	return r == -ENOENT ? r2 : r;
}

/* The slots of a seal with that of the set. -EEXIST: it has one. */
static int add_slot(const struct set_store *s, const struct seal *seal, const struct secret *key,
		    const uint8_t * not, struct seal_slot slots[SEAL_SLOTS_MAX + 1],
		    unsigned *ret_count, struct error *err)
{
	unsigned count = 0;
	int r;

	for (unsigned i = 0; i < seal_slot_count(seal); i++) {
		const struct seal_slot *slot = seal_slot(seal, i);
		const uint8_t *id = slot_set_id(slot);

		if (id && memcmp(id, set_keys_id(s->keys), SET_ID_SIZE) == 0)
			return -EEXIST;
		if (!id || !not || memcmp(id, not, SET_ID_SIZE) != 0)
			slots[count++] = *slot;
	}
	r = slot_make_set(s->keys, seal_core(seal)->file_id, key, &slots[count++]);
	if (r == 0 && count > SEAL_SLOTS_MAX)
		r = error_set(err, -EINVAL,
			      "it has %d recipients already, and no room for the set's slot",
			      SEAL_SLOTS_MAX);
	*ret_count = count;
	return r;
}

static int rewrite(struct set_store *s, const struct source_object *o, struct seal *seal,
		   const uint8_t * not, struct error *err)
{
	struct seal_slot slots[SEAL_SLOTS_MAX + 1];
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	unsigned count = 0;
	int r = unlock_data_key(s->access.unlock, seal, seal_head(seal)->name, &key, err);

	if (r == 0)
		r = seal_unlock(seal, key, &keys, err);
	if (r == 0)
		r = add_slot(s, seal, key, not, slots, &count, err);
	if (r < 0)
		return r == -EEXIST ? 0 : r;
	return replace_seal_slots(s->source, o, seal, keys, slots, count, err);
}

int set_members_admit(struct set_store *s, const char *object, const char *path,
		      const uint8_t * not, struct set_member *ret, struct error *err)
{
	_cleanup_free_ char *label = source_describe(s->source, object), *seal_name = NULL;
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_seal_ struct seal *seal = NULL;
	int r;

	if (!label || asprintf(&seal_name, "%s" SEAL_SUFFIX, path) < 0) {
		seal_name = NULL;
		return -ENOMEM;
	}
	r = source_stat(s->source, object, &o, err);
	if (r == 0)
		r = target_read_head(s->source, &o, label, &seal, err);
	if (r == 0)
		r = seal_check_name(seal, seal_name, err);
	if (r == 0)
		r = seal_check_owner(seal, s->access.owners, err);
	if (r == 0)
		r = rewrite(s, &o, seal, not, err);
	if (r == 0)
		r = set_member_of(seal, path, ret);
	return r < 0 ? error_prefix(err, r, "%s", label) : 0;
}

/* Whoever can write here can give anything the name of a pending seal. */
static int check_pending(const struct set *set, const struct set_member *m, const char *pending,
			 const uint8_t *bytes, size_t size, struct error *err)
{
	_cleanup_seal_ struct seal *seal = NULL;
	int r = seal_parse_head(pending, bytes, size, size, &seal, err);

	if (r == 0)
		r = set_check_member(set, m, seal, err);
	if (r < 0)
		error_hint(err, "remove it: no writer of the set made it");
	return r;
}

/* version: of PATH.seal, seen before the set that names m was read. */
static int promote(struct source *source, const struct set *set, const struct set_member *m,
		   const char *version, struct error *err)
{
	_cleanup_free_ char *name = set_seal_name(m), *pending = set_pending_name(m);
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int r;

	if (!name || !pending)
		return -ENOMEM;
	r = set_store_read(source, pending, REPLACE_SEAL_MAX, &bytes, &size, NULL, err);
	if (r == 0)
		r = check_pending(set, m, pending, bytes, size, err);
	if (r == 0)
		r = source_put_if(source, name, version, bytes, size, err);
	return r < 0 ? r : source_remove(source, pending, err);
}

static int compare_object(const void *name, const void *object)
{
	return strcmp(name, ((const struct source_object *)object)->name);
}

/* The member that a pending seal is of, if the set names that seal. */
static const struct set_member *named(const struct set *set, const char *pending)
{
	size_t tail = strlen(strrchr(pending, '.')) + 1 + SEAL_PAYLOAD_ID_DIGITS;
	_cleanup_free_ char *path = strndup(pending, strlen(pending) - tail), *name = NULL;
	const struct set_member *m = path && set ? set_find(set, path) : NULL;

	name = m ? set_pending_name(m) : NULL;
	return name && strcmp(name, pending) == 0 ? m : NULL;
}

bool set_members_pending_is_named(const struct set *set, const char *pending)
{
	return named(set, pending) != NULL;
}

/* 1: another writer was in the way; look again. */
static int finish_one(struct source *source, const struct source_listing *l, const struct set *set,
		      const struct set_member *m, struct error *err)
{
	_cleanup_free_ char *name = set_seal_name(m);
	const struct source_object *o;
	struct error failure = {0};
	int r;

	if (!name)
		return -ENOMEM;
	o = bsearch(name, l->objects, l->count, sizeof(*l->objects), compare_object);
	r = promote(source, set, m, o ? o->version : "", &failure);
	if (r == -ESTALE || r == -EEXIST)
		return 1;
	if (r < 0 && r != -ENOENT) {
		*err = failure;
		return r;
	}
	return 0;
}

/* The order counts: the listing has the seals' versions, and the set is read after it. */
static int finish_all(struct source *source, const struct set_access *access, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	_cleanup_set_store_ struct set_store now = {0};
	int r = source_list(source, NULL, &l, err), again = 0;

	if (r == 0)
		r = set_store_load(&now, source, access, err);
	for (size_t i = 0; r >= 0 && i < l.count; i++) {
		const struct set_member *m = set_name_is_pending(l.objects[i].name)
						     ? named(now.set, l.objects[i].name)
						     : NULL;

		if (!m)
			continue;
		r = interrupt_check(err);
		if (r == 0)
			r = finish_one(source, &l, now.set, m, err);
		again |= r == 1;
	}
	return r < 0 ? r : again;
}

int set_members_finish(const struct set_store *s, struct error *err)
{
	struct set_access access = s->access;
	int r = 1;

	/* s was opened and compared with what was seen. */
	access.unlock = NULL;
	access.state = NULL;
	for (unsigned i = 0; r == 1 && i < TRIES_MAX; i++)
		r = finish_all(s->source, &access, err);
	return r == 1 ? error_set(err, -EBUSY,
				  "%s: other writers are busy; their seals are still "
				  "pending",
				  s->label)
		      : r;
}
