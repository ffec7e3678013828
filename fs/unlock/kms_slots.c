/*
 * KMS slots. Job: ask the keys that may be asked, the likely ones first, and keep why each failed.
 * Trusts no slot: a slot does not decide whom we ask. Must never send an attested request to a key
 * that the user did not mean.
 */
#include "crypto/base/log.h"
#include "crypto/failure.h"
#include "fs/aws/kms.h"
#include "fs/aws/kms_arn.h"
#include "fs/unlock/kms_recipient.h"
#include "fs/unlock/unlock_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In this order; within a rank in the order of the slots. */
enum { RANK_OWN_REGION, RANK_REPLICA, RANK_ELSEWHERE };

/* A key that could be asked with a slot's blob. */
struct candidate {
	unsigned slot, rank;
	bool done;
	bool is_key; /* arn is valid */
	struct kms_arn arn;
	struct kms_slot kms; /* with the ARN to ask */
};

struct candidates {
	struct candidate *all;
	unsigned count;
	char partition[ENDPOINT_REGION_MAX];
	char own_region[ENDPOINT_REGION_MAX]; /* "": not known */
	/* Regions that did not answer. */
	char silent[UNLOCK_KMS_ASKED_MAX][ENDPOINT_REGION_MAX];
	unsigned silent_count;
};

static bool is_pinned(const struct unlock *u, const char *text, const struct kms_arn *arn)
{
	for (size_t i = 0; i < u->pin_count; i++)
		if (kms_pin_matches(u->pins[i], text, arn))
			return true;
	return u->pin_count == 0;
}

/* A related key of a multi-Region key opens what any of them wrapped. */
static void add_replica(const struct attempt *a, struct candidates *c, const struct candidate *home)
{
	struct candidate *replica = &c->all[c->count];

	if (!home->is_key || !home->arn.multi_region || !c->own_region[0] ||
	    strcmp(home->arn.partition, c->partition) != 0)
		return;
	*replica = *home;
	replica->rank = RANK_REPLICA;
	if (kms_arn_in_region(home->kms.arn, c->own_region, replica->kms.arn,
			      sizeof(replica->kms.arn)) < 0 ||
	    kms_arn_parse(replica->kms.arn, &replica->arn) < 0)
		return;
	/* A slot of its own has its turn anyway. */
	for (unsigned n = 0; n < a->head->slot_count; n++) {
		struct kms_slot other;

		if (slot_parse_kms(&a->head->slots[n], &other, NULL) == 0 &&
		    strcmp(other.arn, replica->kms.arn) == 0)
			return;
	}
	c->count++;
}

static int find_candidates(struct attempt *a, struct candidates *c, struct error *err)
{
	const char *partition = NULL;

	if (aws_partition(a->u->aws, &partition) < 0)
		return error_set(err, -ECANCELED, "%s: stopped", a->name);
	(void)snprintf(c->partition, sizeof(c->partition), "%s", partition);
	if (aws_default_region(a->u->aws, c->own_region, NULL) < 0)
		c->own_region[0] = '\0';
	c->all = calloc(2 * (size_t)a->head->slot_count, sizeof(*c->all));
	if (!c->all)
		return -ENOMEM;
	for (unsigned n = 0; n < a->head->slot_count; n++) {
		struct candidate *one = &c->all[c->count];

		/* The parser has checked its shape. */
		if (slot_parse_kms(&a->head->slots[n], &one->kms, NULL) < 0)
			continue;
		one->slot = n;
		one->is_key = kms_arn_parse(one->kms.arn, &one->arn) == 0;
		one->rank = one->is_key && strcmp(one->arn.region, c->own_region) == 0
				    ? RANK_OWN_REGION
				    : RANK_ELSEWHERE;
		c->count++;
		if (one->rank != RANK_OWN_REGION)
			add_replica(a, c, one);
	}
	return 0;
}

static bool is_silent(const struct candidates *c, const char *region)
{
	for (unsigned i = 0; i < c->silent_count; i++)
		if (strcmp(c->silent[i], region) == 0)
			return true;
	return false;
}

/* NULL: all had their turn. Regions that did not answer come last. */
static struct candidate *next_candidate(struct candidates *c)
{
	struct candidate *best = NULL;
	unsigned best_rank = 0;

	for (unsigned i = 0; i < c->count; i++) {
		struct candidate *one = &c->all[i];
		unsigned rank = one->rank;

		if (is_silent(c, one->arn.region))
			rank += RANK_ELSEWHERE + 1;
		if (!one->done && (!best || rank < best_rank)) {
			best = one;
			best_rank = rank;
		}
	}
	return best;
}

/* NULL when the key may be asked, else why not. */
static const char *find_objection(const struct attempt *a, const struct candidates *c,
				  const struct candidate *one)
{
	if (!one->is_key)
		return "not the ARN of a KMS key";
	if (strcmp(one->arn.partition, c->partition) != 0)
		return "not of this region's partition";
	if (!is_pinned(a->u, one->kms.arn, &one->arn))
		return "no kms-key names it";
	if (a->asked >= UNLOCK_KMS_ASKED_MAX)
		return "enough others were asked: see kms-key";
	if (a->asked > 0 && !unlock_take_token(a->u, &a->u->further))
		return "too many requests for other keys were refused: see kms-key";
	return NULL;
}

static void pass_over(struct attempt *a, const char *arn, const char *why)
{
	size_t at = strlen(a->not_asked), room = sizeof(a->not_asked) - at;
	int n = snprintf(a->not_asked + at, room, "%s%s (%s)", at ? ", " : "", arn, why);

	a->passed_over++;
	log_debug("%s: %s is not asked: %s", a->name, arn, why);
	if (n < 0 || (size_t)n >= room)
		a->not_asked[at] = '\0';
}

/* Of "KMS Decrypt with ARN: 400 AccessDeniedException: User: …" what is between. */
static void note(struct attempt *a, const char *where, const struct error *err, int code)
{
	struct kms_note *n = &a->notes[a->note_count++];
	const char *text = error_text(err, code), *begin = strstr(text, ": ");
	size_t size;

	if (begin && strncmp(text, "KMS ", 4) == 0)
		text = begin + 2;
	size = text[0] >= '1' && text[0] <= '9' ? strcspn(text, ":") : strlen(text);
	(void)snprintf(n->where, sizeof(n->where), "%s", where);
	(void)snprintf(n->why, sizeof(n->why), "%.*s", (int)size, text);
}

static int decrypt(struct attempt *a, const struct candidate *one, struct secret **ret,
		   struct error *err)
{
	const struct kms_slot *k = &one->kms;

	if (a->u->recipients)
		return kms_recipient_decrypt(a->u->aws, a->u->recipients, k, a->id, ret, err);
	return kms_decrypt(a->u->aws, k->arn, a->id, k->blob, k->blob_size, ret, err);
}

/* 0, or why not; *ret is the seal's key. */
static int ask(struct attempt *a, const struct candidate *one, struct secret **ret)
{
	struct secret *key = NULL;
	struct error err = {0};
	char where[WHERE_MAX];
	int e = decrypt(a, one, &key, &err);

	a->asked++;
	a->tried++;
	(void)snprintf(where, sizeof(where), "slot %u (%s)", one->slot, one->kms.arn);
	if (e == 0)
		e = attempt_take(a, key, where, ret, &err);
	if (e == 0)
		return 0;
	note(a, where, &err, e);
	/* attempt_take() names the object itself. */
	if (seal_failure_of(&err) == SEAL_FAILURE_NONE)
		error_prefix(&err, e, "%s: %s", a->name, where);
	attempt_failed(a, &err, e);
	return e;
}

static int ask_all(struct attempt *a, struct candidates *c, struct secret **ret)
{
	struct candidate *one;

	while ((one = next_candidate(c))) {
		const char *objection = find_objection(a, c, one);
		int e;

		one->done = true;
		if (objection) {
			/* Nobody named a replica that is only guessed. */
			if (one->rank != RANK_REPLICA)
				pass_over(a, one->kms.arn, objection);
			continue;
		}
		e = ask(a, one, ret);
		if (e == 0)
			return 0;
		if (error_exit_code(e) == EXIT_CODE_UNREACHABLE && !is_silent(c, one->arn.region) &&
		    c->silent_count < UNLOCK_KMS_ASKED_MAX)
			memcpy(c->silent[c->silent_count++], one->arn.region,
			       sizeof(one->arn.region));
	}
	return -ENOKEY;
}

int attempt_kms(struct attempt *a, struct secret **ret, struct error *err)
{
	_cleanup_free_ struct candidates *c = NULL;
	bool any = false;
	int r;

	for (unsigned n = 0; n < a->head->slot_count; n++)
		any |= a->head->slots[n].type == SEAL_SLOT_KMS;
	if (!any || !a->u->aws)
		return -ENOKEY;
	c = calloc(1, sizeof(*c));
	r = c ? find_candidates(a, c, err) : -ENOMEM;
	if (r == 0)
		r = ask_all(a, c, ret);
	if (r == 0 && a->asked > 1)
		unlock_return_tokens(a->u, &a->u->further, a->asked - 1);
	if (c)
		free(c->all);
	return r;
}

/* Room that is left in the message; *ret_at: where. */
static size_t room(struct error *e, char **ret_at)
{
	size_t at = strlen(e->message);

	*ret_at = e->message + at;
	return sizeof(e->message) - at;
}

int attempt_report(const struct attempt *a, struct error *err)
{
	struct error e = a->worst;
	bool first = true;
	size_t size;
	char *at;

	for (unsigned i = 0; i < a->note_count; i++) {
		if (strstr(a->worst.message, a->notes[i].where))
			continue;
		size = room(&e, &at);
		(void)snprintf(at, size, "%s%s: %s", first ? "; also asked: " : ", ",
			       a->notes[i].where, a->notes[i].why);
		first = false;
	}
	size = room(&e, &at);
	if (a->passed_over > 0)
		(void)snprintf(at, size, "; %u KMS keys were not asked: %s", a->passed_over,
			       a->not_asked);
	if (err && !err->code)
		*err = e;
	return e.code;
}
