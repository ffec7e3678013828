/*
 * The set of a mount. Job: the steps of crypto/FORMAT.md section 11.6 in their order, and only
 * newer versions. Trusts nothing of the object before its owner and key were checked. Must never
 * request the set's key again while it has it, nor take more memory than the allowance has.
 */
#include "fs/models/mounted_set.h"

#include "crypto/base/clock.h"
#include "crypto/failure.h"
#include "crypto/sealed_head.h"
#include "crypto/set_state.h"
#include "crypto/slot_text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* A set of some hundred members comes with one request. */
#define FIRST_READ_MAX ((size_t)256 << 10)
#define TRIES_MAX 3
/* Clocks of two machines. */
#define CLOCK_SLACK_S 600

enum { NOT_MEASURED, MEASURED, MEASURED_EARLIER };

struct mounted_set {
	atomic_uint holds;
	atomic_int measured; /* one of these */
	char *version;	     /* of the object */
	struct set *set;
	struct secret *key;
	struct oms_summary *oms;
	pthread_mutex_t lock; /* guards what follows */
	char *recipients;     /* slots_text() */
	struct allowance *allowance;
	size_t taken;
};

static void mounted_set_free(struct mounted_set *s)
{
	if (!s)
		return;
	secret_free(s->key);
	free(s->recipients);
	pthread_mutex_destroy(&s->lock);
	set_free(s->set);
	free(s->version);
	free(s->oms);
	allowance_give(s->allowance, s->taken);
	free(s);
}

DEFINE_CLEANUP(struct mounted_set *, mounted_set_free)

struct mounted_set *mounted_set_hold(struct mounted_set *s)
{
	if (s)
		atomic_fetch_add(&s->holds, 1);
	return s;
}

void mounted_set_drop(struct mounted_set *s, struct measured *m)
{
	if (!s || atomic_fetch_sub(&s->holds, 1) > 1)
		return;
	if (m)
		measured_drop(m, s);
	mounted_set_free(s);
}

const struct set *mounted_set_get(const struct mounted_set *s)
{
	return s->set;
}

const struct oms_summary *mounted_set_oms(const struct mounted_set *s)
{
	return s->oms;
}

static const char *label_of(const struct mounted_set *s)
{
	return set_head(s->set)->name;
}

/* Without permission to list, a HEAD does not show what is missing; a listing shows more. */
static int explain_refusal(const struct set_policy *p, int code, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	struct source_room room = {.allowance = p->allowance};
	struct error why = {0};
	int r = source_list(p->source, &room, &l, &why);

	if (r < 0 && err)
		*err = why;
	return r < 0 ? r : code;
}

static int no_set(const struct set_policy *p, const struct mounted_set *was, struct error *err)
{
	_cleanup_free_ char *label = source_describe(p->source, SET_OBJECT_NAME);

	if (was) {
		error_hint(err, "put it back, or unmount");
		return error_set(err, -ENOENT,
				 "%s is gone: the mount shows version %" PRIu64
				 " of the set \"%s\"",
				 label ? label : SET_OBJECT_NAME, set_header(was->set)->version,
				 set_header(was->set)->name);
	}
	error_hint(err, "make one with 'sealctl set create', or mount without set=require");
	return error_set(err, -ENOENT, "there is no set: %s is missing",
			 label ? label : SET_OBJECT_NAME);
}

/* 0: *ret is empty if there is no set, and none is needed. */
static int find_object(const struct set_policy *p, const struct mounted_set *was,
		       struct source_object *ret, struct error *err)
{
	int r = source_stat(p->source, SET_OBJECT_NAME, ret, err);

	if (r == -ENOENT) {
		error_clear(err);
		return was || p->required ? no_set(p, was, err) : 0;
	}
	return r == -EACCES || r == -EKEYREJECTED ? explain_refusal(p, r, err) : r;
}

static int take(struct mounted_set *s, size_t bytes, struct error *err)
{
	int r = allowance_take(s->allowance, bytes);

	if (r < 0)
		return allowance_refuse(s->allowance, bytes, err, "%s with %" PRIu32 " members",
					label_of(s), set_header(s->set)->member_count);
	s->taken += bytes;
	return 0;
}

/* first: the object's first bytes, `size` of them. The table is kept once, in pieces. */
static int load_table(struct mounted_set *s, const struct set_policy *p,
		      const struct set_keys *keys, const uint8_t *first, size_t size,
		      struct error *err)
{
	const struct set_header *h = set_header(s->set);
	size_t offset = (size_t)set_table_offset(s->set);
	size_t have = size > offset ? size - offset : 0;
	_cleanup_free_ uint8_t *table = NULL;
	int r = take(s, 2 * (size_t)h->table_size + h->member_count * sizeof(struct set_member),
		     err);

	if (r < 0)
		return r;
	table = malloc(h->table_size);
	if (!table)
		return -ENOMEM;
	have = MIN(have, (size_t)h->table_size);
	memcpy(table, first + size - have, have);
	if (have < h->table_size)
		r = source_read(p->source, SET_OBJECT_NAME, s->version, offset + have,
				h->table_size - have, table + have, err);
	if (r == 0)
		r = set_load_table(s->set, keys, table, err);
	allowance_give(s->allowance, h->table_size);
	s->taken -= h->table_size;
	return r;
}

/* All versions of a set have one key. */
static int find_key(struct mounted_set *s, const struct set_policy *p,
		    const struct mounted_set *was, struct set_keys **ret, struct error *err)
{
	int r = was && set_key_fits(s->set, was->key)
			? secret_new_from(secret_data(was->key), secret_size(was->key), &s->key)
			: unlock_set_key(p->unlock, s->set, label_of(s), &s->key, err);

	return r < 0 ? r : set_unlock(s->set, s->key, ret, err);
}

static int open_object(struct mounted_set *s, const struct set_policy *p,
		       const struct mounted_set *was, const struct source_object *o,
		       struct error *err)
{
	_cleanup_free_ char *label = source_describe(p->source, SET_OBJECT_NAME);
	size_t size = (size_t)MIN(o->size, (uint64_t)FIRST_READ_MAX);
	_cleanup_free_ uint8_t *first = malloc(size + 1);
	_cleanup_set_keys_ struct set_keys *keys = NULL;
	int r;

	s->version = strdup(o->version);
	if (!label || !first || !s->version)
		return -ENOMEM;
	r = source_read(p->source, SET_OBJECT_NAME, s->version, 0, size, first, err);
	if (r == 0)
		r = set_parse_head(label, first, size, o->size, &s->set, err);
	if (r == 0)
		r = set_check_owner(s->set, p->owners, err);
	if (r == 0 && p->id)
		r = set_check_id(s->set, p->id, err);
	if (r == 0)
		r = find_key(s, p, was, &keys, err);
	if (r == 0)
		r = load_table(s, p, keys, first, size, err);
	if (r == 0) {
		s->recipients = slots_text(set_head(s->set)->slots, set_head(s->set)->slot_count);
		r = s->recipients ? 0 : -ENOMEM;
	}
	/* It opens members' slots; what the set must not be, it is not for its key. */
	if (r == 0 && !was)
		r = unlock_add_set(p->unlock, keys);
	if (r == 0 && !was)
		steal_ptr(keys);
	return r;
}

/* 1: it is the same, with other recipients perhaps. */
static int compare(const struct mounted_set *s, const struct mounted_set *was, struct error *err)
{
	const struct set_header *now = set_header(s->set), *before = set_header(was->set);

	if (memcmp(now->id, before->id, sizeof(now->id)) != 0) {
		error_hint(err, "to show another set, mount again");
		return error_set(
			err, -EBADMSG,
			"%s: it is the set \"%s\" now, and not the set \"%s\" that the mount "
			"shows",
			label_of(s), now->name, before->name);
	}
	if (now->version < before->version)
		return seal_fail(err, SEAL_OLD_SET, label_of(s),
				 "it has version %" PRIu64 ", and the mount shows version %" PRIu64,
				 now->version, before->version);
	if (now->version > before->version)
		return 0;
	if (memcmp(set_head(s->set)->core, set_head(was->set)->core, SEAL_CORE_SIZE) == 0)
		return 1;
	error_hint(err, "have its owner write a newer version");
	return error_set(err, -EBADMSG,
			 "%s: version %" PRIu64 " has another content than the version %" PRIu64
			 " that the mount shows",
			 label_of(s), now->version, before->version);
}

/* An expiry means nothing to a clock that was never set. */
static int check_time(const struct mounted_set *s, struct error *err)
{
	const struct set_header *h = set_header(s->set);
	uint64_t now = (uint64_t)MAX(clock_now_s(), (int64_t)0);

	if (h->expires > 0 && now + CLOCK_SLACK_S < h->created) {
		error_hint(err, "set the clock");
		return error_set(err, -EKEYEXPIRED,
				 "%s: whether the set has expired is unknown: this machine's clock "
				 "is before the time at which the set was made",
				 label_of(s));
	}
	return set_check_version(s->set, 0, now, err);
}

static int check_freshness(const struct mounted_set *s, const struct set_policy *p,
			   struct error *err)
{
	const struct set_header *h = set_header(s->set);
	int r = check_time(s, err);

	if (r == 0 && h->version < p->min_version)
		r = seal_fail(err, SEAL_OLD_SET, label_of(s),
			      "it has version %" PRIu64 ", and set-min-version is %" PRIu64,
			      h->version, p->min_version);
	return r;
}

static int note_version(const struct mounted_set *s, const struct set_policy *p, struct error *err)
{
	struct set_seen seen;
	int r = p->state ? set_state_of(s->set, &seen) : 0;

	return r < 0 || !p->state ? r : set_state_accept(p->state, &seen, label_of(s), err);
}

/* Somebody else than the sealer states the same files. Before the state notes the version. */
static int check_bundle(struct mounted_set *s, const struct set_policy *p, struct error *err)
{
	if (!p->oms)
		return 0;
	s->oms = calloc(1, sizeof(*s->oms));
	return s->oms ? oms_check_set(p->oms, p->oms_key, s->set, p->allowance, s->oms, err)
		      : -ENOMEM;
}

/* By a newer version, which who wrote it may have recorded already. */
static bool was_replaced(const struct mounted_set *s, const struct set_policy *p)
{
	_cleanup_(source_object_clear) struct source_object o = {0};

	return p->state && source_stat(p->source, SET_OBJECT_NAME, &o, NULL) == 0 &&
	       strcmp(o.version, s->version) != 0;
}

/* From a reading that found nothing else to be new. */
static void take_recipients(struct mounted_set *to, struct mounted_set *from)
{
	pthread_mutex_lock(&to->lock);
	if (from->recipients) {
		char *old = to->recipients;

		to->recipients = from->recipients;
		from->recipients = old;
	}
	pthread_mutex_unlock(&to->lock);
}

char *mounted_set_recipients(struct mounted_set *s)
{
	char *text;

	pthread_mutex_lock(&s->lock);
	text = s->recipients ? strdup(s->recipients) : NULL;
	pthread_mutex_unlock(&s->lock);
	return text;
}

static int read_once(const struct set_policy *p, struct mounted_set *was, struct mounted_set **ret,
		     struct error *err)
{
	_cleanup_(mounted_set_freep) struct mounted_set *s = calloc(1, sizeof(*s));
	_cleanup_(source_object_clear) struct source_object o = {0};
	int r;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->holds, 1);
	pthread_mutex_init(&s->lock, NULL);
	s->allowance = p->allowance;
	r = find_object(p, was, &o, err);
	if (r < 0)
		return r;
	*ret = NULL;
	if (!o.name)
		return 0;
	/* 1: it is what `was` is, but for its recipients perhaps. */
	r = was && strcmp(was->version, o.version) == 0;
	if (r == 0)
		r = open_object(s, p, was, &o, err);
	if (r == 0 && was)
		r = compare(s, was, err);
	if (r < 0)
		return r;
	if (r == 1) {
		assert(was);
		take_recipients(was, s);
		r = check_time(was, err);
		*ret = r == 0 ? mounted_set_hold(was) : NULL;
		return r;
	}
	r = check_freshness(s, p, err);
	if (r == 0)
		r = check_bundle(s, p, err);
	if (r == 0)
		r = note_version(s, p, err);
	if (r == 0)
		*ret = steal_ptr(s);
	return r == -EBADMSG && was_replaced(s, p) ? -ESTALE : r;
}

int mounted_set_read(const struct set_policy *p, struct mounted_set *was, struct mounted_set **ret,
		     struct error *err)
{
	int r = read_once(p, was, ret, err);

	/* It was replaced while it was being read. */
	for (unsigned tries = 1; r == -ESTALE && tries < TRIES_MAX; tries++) {
		error_clear(err);
		r = read_once(p, was, ret, err);
	}
	return r;
}

struct measured_model mounted_set_claim(const struct mounted_set *s)
{
	const struct set_header *h = set_header(s->set);
	struct measured_model claim = {
		.key = s,
		.event = {.mode = MEASURE_SET,
			  .name = h->name,
			  .set_version = h->version,
			  .set_members = h->member_count},
	};

	memcpy(claim.event.digests.set, h->content, sizeof(claim.event.digests.set));
	memcpy(claim.event.set_id, h->id, sizeof(claim.event.set_id));
	return claim;
}

void mounted_set_note_measured(struct mounted_set *s, struct measured *m)
{
	bool earlier;

	if (measured_has(m, s, &earlier))
		atomic_store(&s->measured, earlier ? MEASURED_EARLIER : MEASURED);
}

bool mounted_set_is_measured(const struct mounted_set *s, bool *ret_earlier)
{
	int measured = atomic_load(&s->measured);

	*ret_earlier = measured == MEASURED_EARLIER;
	return measured != NOT_MEASURED;
}
