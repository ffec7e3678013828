/*
 * Who can open what. Job: read heads, count recipients. Nothing is verified: that takes a key.
 * Trusts nothing that it reads.
 */
#include "tools/rewrap/recipients_list.h"

#include "crypto/set.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"
#include "tools/rewrap/rewrap.h"

#include <errno.h>
#include <string.h>

static int find_who(struct recipients_list *l, const struct seal_slot *slot,
		    struct recipients_who **ret)
{
	struct recipients_who *more;

	for (size_t i = 0; i < l->count; i++)
		if (slot_same_recipient(&l->all[i].slot, slot)) {
			*ret = &l->all[i];
			return 0;
		}
	more = reallocarray(l->all, l->count + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->all = more;
	l->all[l->count] = (struct recipients_who){.slot = *slot};
	*ret = &l->all[l->count++];
	return 0;
}

static bool has(const struct sealed_head *h, const struct seal_slot *slot)
{
	for (unsigned i = 0; i < h->slot_count; i++)
		if (slot_same_recipient(&h->slots[i], slot))
			return true;
	return false;
}

static bool is_member(const struct sealed_head *h, const struct set *set)
{
	for (unsigned i = 0; set && i < h->slot_count; i++) {
		const uint8_t *id = slot_set_id(&h->slots[i]);

		if (id && memcmp(id, set_header(set)->id, SET_ID_SIZE) == 0)
			return true;
	}
	return false;
}

/* set: the one in the same place; NULL: none. */
static int count(struct recipients_list *l, const struct sealed_head *h, const struct set *set)
{
	const struct sealed_head *s = is_member(h, set) ? set_head(set) : NULL;
	struct recipients_who *who;
	int r = 0;

	l->objects++;
	for (unsigned i = 0; r == 0 && i < h->slot_count; i++) {
		r = find_who(l, &h->slots[i], &who);
		if (r == 0)
			who->objects++;
	}
	for (unsigned i = 0; r == 0 && s && i < s->slot_count; i++) {
		if (has(h, &s->slots[i]))
			continue;
		r = find_who(l, &s->slots[i], &who);
		if (r == 0)
			who->through_set++;
	}
	return r;
}

static void enter(struct recipients_list *l, const char *label, const struct sealed_head *head,
		  bool is_set, int code, const struct error *err)
{
	struct recipients_entry e = {
		.label = label, .head = head, .is_set = is_set, .code = code, .error = err};

	l->entry(l->arg, &e);
}

static int read_set_head(struct source *source, const char *label, struct set **ret,
			 struct error *err)
{
	_cleanup_(source_object_clear) struct source_object o = {0};
	uint8_t head[SET_HEAD_MAX];
	size_t size;
	int r = source_stat(source, SET_OBJECT_NAME, &o, err);

	if (r < 0)
		return r;
	size = (size_t)MIN(o.size, (uint64_t)sizeof(head));
	r = source_read(source, SET_OBJECT_NAME, o.version, 0, size, head, err);
	return r < 0 ? r : set_parse_head(label, head, size, o.size, ret, err);
}

/* must: its absence is a failure, too. */
static int add_set(struct recipients_list *l, struct source *source, bool must, struct set **ret)
{
	_cleanup_free_ char *label = source_describe(source, SET_OBJECT_NAME);
	struct error failure = {0};
	int r = label ? read_set_head(source, label, ret, &failure) : -ENOMEM;

	if (r == -ENOENT && !must)
		return 0;
	enter(l, label ? label : SET_OBJECT_NAME, r == 0 ? set_head(*ret) : NULL, true, r,
	      &failure);
	return r == 0 ? count(l, set_head(*ret), NULL) : 0;
}

static int add_seal(struct recipients_list *l, struct source *source, const struct source_object *o,
		    const struct set *set)
{
	_cleanup_free_ char *label = source_describe(source, o->name);
	_cleanup_seal_ struct seal *seal = NULL;
	struct error failure = {0};
	int r = label ? target_read_head(source, o, label, &seal, &failure) : -ENOMEM;

	enter(l, label ? label : "?", r == 0 ? seal_head(seal) : NULL, false, r, &failure);
	return r == 0 ? count(l, seal_head(seal), set) : 0;
}

static void add_skipped(void *arg, const char *label, const struct error *err)
{
	enter(arg, label, NULL, false, err->code, err);
}

static int add_place(struct recipients_list *l, struct source *source, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing listing = {0};
	_cleanup_(progress_freep) struct progress *progress = NULL;
	_cleanup_set_ struct set *set = NULL;
	size_t seals = 0;
	int r = source_list(source, NULL, &listing, err);

	if (r == 0)
		r = add_set(l, source, false, &set);
	for (size_t i = 0; i < listing.count; i++)
		seals += rewrap_is_seal(listing.objects[i].name);
	if (r == 0)
		rewrap_each_skipped(source, &listing, add_skipped, l);
	if (r == 0 && seals == 0 && listing.skipped_count == 0 && !set) {
		_cleanup_free_ char *label = source_describe(source, "");

		return error_set(err, -ENOENT, "there is no sealed object in %s",
				 label ? label : "?");
	}
	progress = progress_new("seals (counted as kB)", seals * 1000, l->quiet);
	for (size_t i = 0; r == 0 && i < listing.count; i++) {
		if (!rewrap_is_seal(listing.objects[i].name))
			continue;
		r = add_seal(l, source, &listing.objects[i], set);
		if (r == 0)
			r = interrupt_check(err);
		progress_add(progress, 1000);
	}
	return r;
}

int recipients_list_add(struct recipients_list *l, const struct target *t, struct error *err)
{
	_cleanup_(source_object_clear) struct source_object o = {0};
	_cleanup_set_ struct set *set = NULL;
	int r;

	if (!t->name)
		return add_place(l, t->source, err);
	if (strcmp(t->name, SET_OBJECT_NAME) == 0)
		return add_set(l, t->source, true, &set);
	r = source_stat(t->source, t->name, &o, err);
	return r < 0 ? r : add_seal(l, t->source, &o, NULL);
}

void recipients_list_clear(struct recipients_list *l)
{
	free(l->all);
	*l = (struct recipients_list){0};
}
