/*
 * Listings. Job: count every object before memory is allocated for it, and hand out each name once,
 * in order. Trusts no backend to keep to a number of objects: whoever writes the bucket decides it.
 */
#include "fs/source/source_backend.h"

#include <errno.h>
#include <string.h>

int source_listing_skip(struct source_listing *l, const char *name, const char *why)
{
	size_t n = strlen(name), suffix = strlen(SEAL_SUFFIX);
	struct source_skipped *s;

	if (n < suffix || strcmp(name + n - suffix, SEAL_SUFFIX) != 0)
		return 0;
	if (l->skipped_count >= SOURCE_SKIPPED_MAX) {
		l->skipped_count++;
		return 0;
	}
	s = reallocarray(l->skipped, l->skipped_count + 1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	l->skipped = s;
	s[l->skipped_count] = (struct source_skipped){strdup(name), why};
	if (!s[l->skipped_count].name)
		return -ENOMEM;
	l->skipped_count++;
	return 0;
}

size_t source_listing_skipped_kept(const struct source_listing *l)
{
	return MIN(l->skipped_count, (size_t)SOURCE_SKIPPED_MAX);
}

/* Nothing is kept from here on; the rest is only counted, for the message. */
static void refuse_objects(struct source_listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		source_object_clear(&l->objects[i]);
	free(steal_ptr(l->objects));
	l->count = 0;
	l->refused = true;
	allowance_give(l->room.allowance, l->taken + l->more);
	l->taken = l->more = 0;
}

static int take(struct source_listing *l, size_t bytes, size_t more)
{
	int r = allowance_take(l->room.allowance, bytes + more);

	if (r < 0) {
		refuse_objects(l);
		return r;
	}
	l->taken += bytes;
	l->more += more;
	return 0;
}

/* The array doubles whenever the count is a power of two. */
static int make_room(struct source_listing *l)
{
	size_t room = l->count ? 2 * l->count : 1, old = l->count * sizeof(*l->objects);
	struct source_object *objects;

	if ((l->count & (l->count - 1)) != 0)
		return 0;
	if (take(l, room * sizeof(*objects), 0) < 0)
		return -ENOBUFS;
	objects = reallocarray(l->objects, room, sizeof(*objects));
	if (!objects)
		return -ENOMEM;
	l->objects = objects;
	l->taken -= old;
	allowance_give(l->room.allowance, old);
	return 0;
}

int source_listing_add(struct source_listing *l, const char *name, uint64_t size, int64_t mtime_ns,
		       const char *version)
{
	size_t worst = 0, more = l->room.more ? l->room.more(l->room.arg, name, &worst) : 0;
	size_t bytes = strlen(name) + strnlen(version, SOURCE_VERSION_MAX) + 2 + ALLOWANCE_OVERHEAD;
	int r;

	if (l->seen >= SOURCE_OBJECTS_MAX)
		return -E2BIG;
	l->seen++;
	/* The array may be twice as large as what is used, and exists twice while it grows. */
	l->seen_bytes += bytes + more + 3 * sizeof(struct source_object);
	l->worst_bytes += worst;
	r = l->refused ? -ENOBUFS : make_room(l);
	if (r == 0)
		r = take(l, bytes, more);
	if (r == 0)
		r = source_object_make(&l->objects[l->count], name, version, size, mtime_ns);
	l->count += r == 0;
	return r == -ENOBUFS ? 0 : r;
}

static int compare_names(const void *a, const void *b)
{
	const struct source_object *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static bool in_order(const struct source_listing *l)
{
	for (size_t i = 1; i < l->count; i++)
		if (compare_names(&l->objects[i - 1], &l->objects[i]) > 0)
			return false;
	return true;
}

/* qsort() needs as much memory again. */
static int sort(struct source_listing *l)
{
	size_t bytes = l->count * sizeof(*l->objects);
	int r;

	if (in_order(l))
		return 0;
	r = take(l, bytes, 0);
	if (r < 0)
		return r;
	qsort(l->objects, l->count, sizeof(*l->objects), compare_names);
	l->taken -= bytes;
	allowance_give(l->room.allowance, bytes);
	return 0;
}

static bool names_are_distinct(const struct source_listing *l)
{
	for (size_t i = 1; i < l->count; i++)
		if (compare_names(&l->objects[i - 1], &l->objects[i]) == 0)
			return false;
	return true;
}

size_t source_listing_worst(const struct source_listing *l)
{
	return l->seen_bytes + l->worst_bytes;
}

static int check_listing(const struct source_listing *l, int code, const char *label,
			 struct error *err)
{
	if (code == -E2BIG)
		return error_set(err, code, "%s holds more than %zu objects", label,
				 SOURCE_OBJECTS_MAX);
	if (code == 0 && l->refused)
		return allowance_refuse(l->room.allowance, source_listing_worst(l), err,
					"the listing of %s with %zu objects", label, l->seen);
	if (code == 0 && !names_are_distinct(l))
		return error_set(err, -EREMOTEIO, "%s: the listing repeats a name", label);
	return code;
}

int source_list(struct source *s, const struct source_room *room, struct source_listing *ret,
		struct error *err)
{
	_cleanup_free_ char *label = source_describe(s, "");
	struct source_listing l = {0};
	int r;

	if (room)
		l.room = *room;
	r = s->ops->list(s, &l, err);
	atomic_fetch_add(&s->answers, 1);
	if (r == 0 && !l.refused && sort(&l) == -ENOMEM)
		r = -ENOMEM;
	r = check_listing(&l, r, label ? label : "the source", err);
	if (r < 0)
		source_listing_clear(&l);
	else
		*ret = l;
	return r;
}

void source_listing_clear(struct source_listing *l)
{
	if (!l->refused)
		refuse_objects(l);
	for (size_t i = 0; i < source_listing_skipped_kept(l); i++)
		free(l->skipped[i].name);
	free(l->skipped);
	*l = (struct source_listing){0};
}
