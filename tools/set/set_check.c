/*
 * Checking a place against its set. Job: one sentence for each exchange, removal and addition.
 * Trusts the set as far as set_store.c checked it, and nothing else that it reads.
 */
#include "tools/set/set_check.h"

#include "crypto/failure.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/set/set_members.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int compare_object(const void *name, const void *object)
{
	return strcmp(name, ((const struct source_object *)object)->name);
}

static int check_payload_there(const struct set_store *s, const struct source_listing *l,
			       const struct set_member *m, const struct seal *seal,
			       struct error *err)
{
	_cleanup_free_ char *seal_name = set_seal_name(m), *name = NULL, *label = NULL;
	const struct source_object *o;
	int r = seal_name ? seal_payload_name(seal, seal_name, &name) : -ENOMEM;

	if (r < 0)
		return r;
	label = source_describe(s->source, name);
	o = bsearch(name, l->objects, l->count, sizeof(*l->objects), compare_object);
	if (!o)
		return error_set(err, -ENOENT, "the payload %s is missing", label ? label : name);
	if (o->size == m->length)
		return 0;
	return seal_fail(err, SEAL_BAD_PAYLOAD_SIZE, label ? label : name,
			 "it has %" PRIu64 " bytes, the set states %" PRIu64, o->size, m->length);
}

/* The data key, through the set. */
static int check_slot(const struct set_store *s, const struct seal *seal, struct error *err)
{
	const struct sealed_head *h = seal_head(seal);
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	int r = -ENOKEY;

	if (!s->keys)
		return 0;
	for (unsigned i = 0; r == -ENOKEY && i < h->slot_count; i++)
		r = slot_open_set(&h->slots[i], s->keys, seal_core(seal)->file_id, &key);
	if (r == -ENOKEY) {
		seal_fail(err, SEAL_NO_RECIPIENT, h->name, "it has no slot of the set");
		error_hint(err, "sealctl set add gives it one");
		return r;
	}
	if (r == -EBADMSG)
		return seal_fail(err, SEAL_WRONG_KEY, h->name,
				 "the slot of the set was not wrapped for this file");
	return r < 0 ? r : seal_unlock(seal, key, &keys, err);
}

static void check_member(const struct set_store *s, const struct source_listing *l,
			 const struct set_member *m, set_finding *finding, void *arg)
{
	_cleanup_free_ char *object = NULL, *label = NULL;
	_cleanup_seal_ struct seal *seal = NULL;
	struct error failure = {0};
	int r = set_members_find(s, m, &seal, &object, &failure);

	if (r == 0)
		r = check_payload_there(s, l, m, seal, &failure);
	if (r == 0)
		r = check_slot(s, seal, &failure);
	if (r == 0)
		return;
	label = source_describe(s->source, m->path);
	finding(arg, label ? label : "?", r, &failure);
}

static bool has_own_slot(const struct seal *seal)
{
	for (unsigned i = 0; i < seal_slot_count(seal); i++)
		if (!slot_set_id(seal_slot(seal, i)))
			return true;
	return false;
}

int set_check_one(const struct set_store *s, const struct set_member *m, bool alone,
		  struct error *err)
{
	_cleanup_free_ char *object = NULL, *name = set_seal_name(m), *payload = NULL;
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_seal_ struct seal *seal = NULL;
	int r = name ? set_members_find(s, m, &seal, &object, err) : -ENOMEM;

	if (r == 0)
		r = seal_payload_name(seal, name, &payload);
	if (r == 0)
		r = source_stat(s->source, payload, &o, err);
	if (r == 0 && o.size != m->length)
		r = seal_fail(err, SEAL_BAD_PAYLOAD_SIZE, payload,
			      "it has %" PRIu64 " bytes, the set states %" PRIu64, o.size,
			      m->length);
	if (r == 0 && alone && !has_own_slot(seal))
		r = error_set(err, -EACCES, "%s can be opened through the set only", object);
	return r < 0 ? r : check_slot(s, seal, err);
}

static void check_addition(const struct set_store *s, const char *name, set_finding *finding,
			   void *arg)
{
	_cleanup_free_ char *path = strndup(name, strlen(name) - strlen(SEAL_SUFFIX));
	_cleanup_free_ char *label = source_describe(s->source, name);
	struct error failure = {0};

	if (path && set_find(s->set, path))
		return;
	error_set(&failure, -EKEYREJECTED,
		  "%s is sealed here, and version %" PRIu64 " of the set does not name it",
		  label ? label : "?", set_header(s->set)->version);
	error_hint(&failure, "sealctl set add makes it a member; mounts of the set do not show it");
	finding(arg, label ? label : "?", -EKEYREJECTED, &failure);
}

int set_check(const struct set_store *s, const struct source_listing *l, set_finding *finding,
	      void *arg, struct error *err)
{
	const struct set_member *m;
	int r = 0;

	for (size_t i = 0; r == 0 && (m = set_member(s->set, i)); i++) {
		r = interrupt_check(err);
		if (r == 0)
			check_member(s, l, m, finding, arg);
	}
	for (size_t i = 0; r == 0 && i < l->count; i++)
		if (name_is_seal(l->objects[i].name))
			check_addition(s, l->objects[i].name, finding, arg);
	return r;
}
