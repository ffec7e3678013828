/*
 * Rewrapping. Job: one object after the other, each in one step on condition that nobody else
 * changed it. Trusts no object before its owner (if pinned), key and slot MAC were checked. Must
 * never write a seal that its own key does not open, nor touch a payload.
 */
#include "tools/rewrap/rewrap.h"

#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/set/replace.h"

#include <errno.h>
#include <string.h>

/* The place at work. */
struct round {
	struct rewrap *w;
	struct source *source;
	bool whole;	      /* everything in it; else one object */
	struct set_store set; /* what is in it; set.set: NULL: none */
	bool opened;	      /* unlock knows its key, or could not have it */
};

int rewrap_open(struct cli *cli, const char *operand, struct target *ret, struct error *err)
{
	if (strcmp(name_last_component(operand), SET_OBJECT_NAME) == 0)
		return target_open_object(cli, operand, ret, err);
	return target_open(cli, operand, ret, err);
}

/* Losing to another writer is neither damage nor a fault. */
static int name_race(int code, struct error *err)
{
	if (code != -ESTALE && code != -EEXIST)
		return code;
	error_clear(err);
	error_hint(err, "run it again");
	return error_set(err, -EBUSY,
			 "another writer changed it at the same time: nothing of it was written");
}

static void report(struct rewrap *w, const char *label, const struct plan_slots *p, int code,
		   const struct error *err)
{
	struct rewrap_report r = {.label = label,
				  .plan = p,
				  .code = code,
				  .error = err,
				  .result = code < 0		   ? REWRAP_FAILED
					    : p && plan_is_done(p) ? REWRAP_ALREADY
								   : REWRAP_DONE};

	w->report(w->arg, &r);
}

/* What would fail for every other object, too. */
static bool stops(int code)
{
	return code == -EINTR || code == -ECANCELED || code == -ENOMEM ||
	       (code != -EBUSY && error_exit_code(code) == EXIT_CODE_UNREACHABLE);
}

/* The set's keys, for its slots and for those of its members. -ENOKEY: nothing given opens it. */
static int open_set(struct round *r, struct secret **ret_key, struct error *err)
{
	_cleanup_set_keys_ struct set_keys *keys = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	int e = unlock_set_key(r->w->access.unlock, r->set.set, r->set.label, &key, err);

	if (e == 0 && !r->set.keys)
		e = set_unlock(r->set.set, key, &r->set.keys, err);
	if (e == 0 && !r->opened)
		e = set_keys_copy(r->set.keys, &keys);
	if (e == 0 && keys) {
		e = unlock_add_set(r->w->access.unlock, keys);
		keys = e == 0 ? NULL : keys;
		r->opened = true;
	}
	if (e == 0 && ret_key)
		*ret_key = steal_ptr(key);
	return e;
}

static int rewrap_set(struct round *r, struct plan_slots *p, struct error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	int e;

	plan_slots(&r->w->wish, set_head(r->set.set), true, p);
	if (plan_is_done(p))
		return 0;
	e = open_set(r, &key, err);
	if (e == 0)
		e = plan_wrap(p, set_header(r->set.set)->id, key, err);
	if (e < 0 || plan_is_done(p))
		return e;
	return set_store_put_slots(&r->set, p->slots, p->count, err);
}

static int rewrite(struct round *r, const struct source_object *o, struct seal *seal,
		   struct plan_slots *p, struct error *err)
{
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_secret_ struct secret *key = NULL;
	int e = unlock_data_key(r->w->access.unlock, seal, seal_head(seal)->name, &key, err);

	if (e == 0)
		e = seal_unlock(seal, key, &keys, err);
	if (e == 0)
		e = plan_wrap(p, seal_core(seal)->file_id, key, err);
	if (e < 0 || plan_is_done(p))
		return e;
	return replace_seal_slots(r->source, o, seal, keys, p->slots, p->count, err);
}

/* Whether the set of this place opens the seal. */
static bool is_opened_by_set(const struct round *r, const struct seal *seal)
{
	for (unsigned i = 0; r->set.set && i < seal_slot_count(seal); i++) {
		const uint8_t *id = slot_set_id(seal_slot(seal, i));

		if (id && memcmp(id, set_header(r->set.set)->id, SET_ID_SIZE) == 0)
			return true;
	}
	return false;
}

static bool has_set_slot(const struct seal *seal)
{
	for (unsigned i = 0; i < seal_slot_count(seal); i++)
		if (slot_set_id(seal_slot(seal, i)))
			return true;
	return false;
}

/* A member that is named alone may be one that nothing but its set opens. */
static void look_for_set(struct round *r)
{
	struct set_access look = {.owners = r->w->access.owners};
	struct error ignored = {0};

	if (set_store_load(&r->set, r->source, &look, &ignored) < 0)
		set_free(steal_ptr(r->set.set));
}

static int rewrap_seal(struct round *r, const struct source_object *o, const char *label,
		       const char *found_name, struct plan_slots *p, struct error *err)
{
	_cleanup_seal_ struct seal *seal = NULL;
	bool by_set;
	int e = target_read_head(r->source, o, label, &seal, err);

	/* A pending seal lies under a name of its own. */
	if (e == 0 && !set_name_is_pending(o->name))
		e = seal_check_name(seal, found_name, err);
	if (e == 0)
		e = seal_check_owner(seal, r->w->access.owners, err);
	if (e < 0)
		return e;
	if (!r->whole && has_set_slot(seal))
		look_for_set(r);
	by_set = is_opened_by_set(r, seal);
	plan_slots(&r->w->wish, seal_head(seal), !(by_set && r->whole), p);
	if (plan_is_done(p))
		return 0;
	/* If the set cannot be opened, perhaps the seal can. */
	if (by_set && !r->opened)
		(void)open_set(r, NULL, NULL);
	return rewrite(r, o, seal, p, err);
}

static int one_seal(struct round *r, const struct source_object *o, const char *found_name,
		    struct error *err)
{
	_cleanup_free_ char *label = source_describe(r->source, o->name);
	_cleanup_free_ struct plan_slots *p = calloc(1, sizeof(*p));
	struct error failure = {0};
	int e = label && p ? rewrap_seal(r, o, label, found_name, p, &failure) : -ENOMEM;

	e = name_race(e, &failure);
	report(r->w, label ? label : "?", p, e, &failure);
	if (e < 0 && stops(e))
		return error_set(err, e, "%s", error_text(&failure, e));
	return interrupt_check(err);
}

static int the_set(struct round *r, struct error *err)
{
	_cleanup_free_ struct plan_slots *p = calloc(1, sizeof(*p));
	struct error failure = {0};
	int e = p ? name_race(rewrap_set(r, p, &failure), &failure) : -ENOMEM;

	report(r->w, r->set.label, p, e, &failure);
	return e < 0 && stops(e) ? error_set(err, e, "%s", error_text(&failure, e)) : 0;
}

bool rewrap_is_seal(const char *name)
{
	return name_is_seal(name) || set_name_is_pending(name);
}

void rewrap_each_skipped(struct source *source, const struct source_listing *l,
			 void (*fn)(void *arg, const char *label, const struct error *err),
			 void *arg)
{
	size_t kept = source_listing_skipped_kept(l), more = l->skipped_count - kept;

	for (size_t i = 0; i < kept; i++) {
		_cleanup_free_ char *label = source_describe(source, l->skipped[i].name);
		struct error failure = {0};

		error_set(&failure, -EILSEQ, "%s: a mount does not show it: %s",
			  label ? label : "?", l->skipped[i].why);
		fn(arg, label ? label : "?", &failure);
	}
	if (more > 0) {
		_cleanup_free_ char *label = source_describe(source, "");
		struct error failure = {0};

		error_set(&failure, -EILSEQ, "%zu more seals have names that a mount does not show",
			  more);
		fn(arg, label ? label : "?", &failure);
	}
}

static void report_skipped(void *arg, const char *label, const struct error *err)
{
	struct round *r = arg;

	report(r->w, label, NULL, err->code, err);
}

static int all_seals(struct round *r, const struct source_listing *l, struct error *err)
{
	_cleanup_(progress_freep) struct progress *progress = NULL;
	size_t count = 0;
	int e = 0;

	for (size_t i = 0; i < l->count; i++)
		count += rewrap_is_seal(l->objects[i].name);
	rewrap_each_skipped(r->source, l, report_skipped, r);
	if (count == 0 && l->skipped_count == 0 && !r->set.set) {
		_cleanup_free_ char *label = source_describe(r->source, "");

		return error_set(err, -ENOENT, "there is no sealed object in %s",
				 label ? label : "?");
	}
	progress = progress_new("seals (counted as kB)", count * 1000, r->w->quiet);
	unlock_batch_begin(r->w->access.unlock);
	for (size_t i = 0; e == 0 && i < l->count; i++) {
		if (!rewrap_is_seal(l->objects[i].name))
			continue;
		e = one_seal(r, &l->objects[i], l->objects[i].name, err);
		progress_add(progress, 1000);
	}
	unlock_batch_end(r->w->access.unlock);
	return e;
}

/* A set that is not as it should be is reported, and does not keep the seals from their turn. */
static int load_set(struct round *r, bool must, struct error *err)
{
	struct set_access look = r->w->access;
	struct error failure = {0};
	int e;

	look.unlock = NULL;
	e = must ? set_store_need(&r->set, r->source, &look, &failure)
		 : set_store_load(&r->set, r->source, &look, &failure);
	if (e == 0)
		return 0;
	set_free(steal_ptr(r->set.set));
	report(r->w, r->set.label ? r->set.label : SET_OBJECT_NAME, NULL, e, &failure);
	return stops(e) ? error_set(err, e, "%s", error_text(&failure, e)) : 0;
}

static int rewrap_place(struct round *r, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	int e = load_set(r, false, err);

	if (e == 0 && r->set.set)
		e = the_set(r, err);
	/* After the set, so that a seal's version is that of now. */
	if (e == 0)
		e = source_list(r->source, NULL, &l, err);
	return e < 0 ? e : all_seals(r, &l, err);
}

static int rewrap_object(struct round *r, const struct target *t, struct error *err)
{
	_cleanup_(source_object_clear) struct source_object o = {0};
	int e;

	if (strcmp(t->name, SET_OBJECT_NAME) == 0) {
		e = load_set(r, true, err);
		return e < 0 || !r->set.set ? e : the_set(r, err);
	}
	e = source_stat(r->source, t->name, &o, err);
	return e < 0 ? e : one_seal(r, &o, target_found_name(t, t->name), err);
}

int rewrap_target(struct rewrap *w, const struct target *t, struct error *err)
{
	struct round r = {.w = w, .source = t->source, .whole = !t->name};
	int e = t->name ? rewrap_object(&r, t, err) : rewrap_place(&r, err);

	set_store_clear(&r.set);
	return e;
}
