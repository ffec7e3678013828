/*
 * Sealing into a set. Job: remember the sealed files, and make them visible with one write of the
 * set. Must never touch a seal or payload that the set of before names, as long as it is the set.
 */
#include "tools/set/set_seal.h"

#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "tools/common/interrupt.h"
#include "tools/set/set_members.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static bool has_keyfile(const struct sealed_head *h, const uint8_t *id)
{
	for (unsigned i = 0; i < h->slot_count; i++) {
		const uint8_t *found = slot_keyfile_id(&h->slots[i]);

		if (found && memcmp(found, id, SLOT_KEYFILE_ID_SIZE) == 0)
			return true;
	}
	return false;
}

/* Who is named here and could not open the result. */
static int check_recipients(const struct set_sealing *s, struct error *err)
{
	const struct recipient_options *o = s->options.recipients;

	for (unsigned i = 0; i < o->keyfile_count; i++) {
		struct keyfile *k = NULL;
		int r = keyfile_load(o->keyfiles[i], &k, err);
		bool found = r == 0 && has_keyfile(set_head(s->store.set), keyfile_id(k));

		keyfile_free(k);
		if (r < 0)
			return r;
		if (!found) {
			error_set(err, -EINVAL, "the key file %s is no recipient of the set",
				  o->keyfiles[i]);
			error_hint(err, "sealctl rewrap --add-key-file makes it one");
			return -EINVAL;
		}
	}
	return 0;
}

static int check_existing(const struct set_sealing *s, struct error *err)
{
	const struct set_store *store = &s->store;

	if (strcmp(set_header(store->set)->name, s->options.name) != 0)
		return error_set(err, -EINVAL,
				 "%s is the set \"%s\", and there can be one set in one place",
				 store->label, set_header(store->set)->name);
	if (sealed_head_is_signed(set_head(store->set)) && !s->req->signer)
		return error_set(err, -EINVAL, "%s is signed: give its owner's key with --sign",
				 store->label);
	return s->options.alone ? 0 : check_recipients(s, err);
}

static int make_access(struct set_sealing *s, struct set_access *ret, struct error *err)
{
	const struct recipient_options *o = s->options.recipients;
	struct unlock_options u = {.aws = o->kms_count > 0 ? s->req->aws : NULL,
				   .keyfiles = o->keyfiles,
				   .keyfile_count = o->keyfile_count,
				   .use_tpm = o->tpm_count > 0};
	int r = owner_keys_new(&s->owners);

	if (r == 0 && s->req->signer)
		r = owner_keys_add_signer(s->owners, s->req->signer);
	if (r == 0)
		r = unlock_new(&u, &s->unlock, err);
	*ret = s->options.pins;
	ret->owners = s->owners;
	ret->unlock = s->unlock;
	return r;
}

int set_sealing_begin(struct set_sealing *s, const struct set_seal_options *options,
		      const struct seal_request *req, struct recipients *recipients,
		      const struct plan *plan, struct error *err)
{
	_cleanup_free_ const char **names = calloc(plan->count + 1, sizeof(*names));
	struct set_access access;
	int r;

	s->options = *options;
	s->req = req;
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < plan->count; i++)
		names[i] = plan->entries[i].name;
	r = make_access(s, &access, err);
	if (r == 0)
		r = set_store_load(&s->store, req->dest, &access, err);
	if (r == 0 && s->store.set)
		r = check_existing(s, err);
	else if (r == 0)
		r = set_store_begin(&s->store, recipients, err);
	if (r == 0)
		r = set_store_check_shards(&s->store, names, plan->count, err);
	if (r == 0)
		recipients_use_set(recipients, s->store.keys, options->alone);
	return r;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

int set_sealing_add(struct set_sealing *s, const char *name, const struct seal_result *res)
{
	struct set_trace *t;
	struct set_member *m;

	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 64;

		m = reallocarray(s->members, room, sizeof(*m));
		if (m)
			s->members = m;
		t = reallocarray(s->traces, room, sizeof(*t));
		if (t)
			s->traces = t;
		if (!m || !t)
			return -ENOMEM;
		s->room = room;
	}
	t = &s->traces[s->count];
	m = &s->members[s->count++];
	*t = (struct set_trace){copy(name), copy(res->pending ? res->pending : res->seal_name),
				copy(res->payload_name), copy(res->old_payload)};
	*m = (struct set_member){.path = t->path, .length = res->length};
	memcpy(m->file_id, res->file_id, sizeof(m->file_id));
	memcpy(m->core_digest, res->core_digest, sizeof(m->core_digest));
	memcpy(m->sha256, res->digests.sha256, sizeof(m->sha256));
	memcpy(m->sha384, res->digests.sha384, sizeof(m->sha384));
	memcpy(m->verity, res->digests.verity, sizeof(m->verity));
	return t->path && t->object && t->payload ? 0 : -ENOMEM;
}

/* Another writer made the set first: our members move into theirs. old opens their slots. */
static int move(void *arg, const struct set_keys *old, struct error *err)
{
	struct set_sealing *s = arg;
	struct set_member unused;
	struct set_keys *keys = NULL;
	int r = check_existing(s, err);

	if (r == 0)
		r = set_keys_copy(old, &keys);
	if (r < 0)
		return r;
	r = unlock_add_set(s->unlock, keys);
	if (r < 0) {
		set_keys_free(keys);
		return r;
	}
	for (size_t i = 0; r == 0 && i < s->count; i++)
		r = set_members_admit(&s->store, s->traces[i].object, s->traces[i].path,
				      set_keys_id(old), &unused, err);
	return r;
}

/* Our seals that another writer's set has already replaced: nobody else removes them. */
static int remove_superseded(const struct set_sealing *s, struct error *err)
{
	const struct set_access look = {0};
	_cleanup_set_store_ struct set_store now = {0};
	int r = set_store_load(&now, s->req->dest, &look, err);

	for (size_t i = 0; r == 0 && i < s->count; i++) {
		const char *object = s->traces[i].object;

		if (!set_name_is_pending(object) || set_members_pending_is_named(now.set, object))
			continue;
		r = source_remove(s->req->dest, object, NULL);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static void remove_old(const struct set_sealing *s)
{
	for (size_t i = 0; i < s->count; i++) {
		const char *old = s->traces[i].old_payload;
		struct error err = {0};
		int r = 0;

		if (old && s->options.remove_old)
			r = source_remove(s->req->dest, old, &err);
		if (r < 0)
			log_error_object(LOG_WARNING, &err, r, "an old payload is still there");
	}
}

/* Nothing was sealed, and nothing else is to be stated. */
static bool is_as_before(const struct set_sealing *s)
{
	const struct set_seal_options *o = &s->options;

	return s->store.set && s->count == 0 && !o->has_expires &&
	       (!o->facts || strcmp(o->facts->text, set_header(s->store.set)->facts) == 0);
}

int set_sealing_commit(struct set_sealing *s, struct error *err)
{
	struct set_change c = {.name = s->options.name,
			       .facts = s->options.facts ? s->options.facts->text : NULL,
			       .signer = s->req->signer,
			       .now = s->req->sealed_at == SEALED_NOW ? (uint64_t)time(NULL)
								      : s->req->sealed_at,
			       .has_expires = s->options.has_expires,
			       .expires = s->options.expires,
			       .put = s->members,
			       .put_count = s->count,
			       .moved = move,
			       .arg = s};
	int r;

	/* The order of members may change; traces are found by the path. */
	r = is_as_before(s) ? 0 : set_store_commit(&s->store, &c, err);
	if (r < 0)
		return r;
	r = set_members_finish(&s->store, err);
	if (r == 0)
		r = remove_superseded(s, err);
	if (r == 0)
		remove_old(s);
	else
		error_hint(err, "the set is written and complete; sealctl set add puts what is "
				"pending in its place");
	return r;
}

static void undo(const struct set_sealing *s)
{
	interrupt_hold();
	if (s->req->aws)
		aws_resume(s->req->aws);
	for (size_t i = 0; i < s->count; i++) {
		const struct set_trace *t = &s->traces[i];
		struct error err = {0};
		int r = source_remove(s->req->dest, t->object, &err);

		if (r == 0)
			r = source_remove(s->req->dest, t->payload, &err);
		if (r < 0)
			log_error_object(LOG_WARNING, &err, r, "what was sealed is left behind");
	}
	interrupt_release();
}

void set_sealing_end(struct set_sealing *s, bool failed)
{
	if (failed && !s->store.written && s->count > 0)
		undo(s);
	for (size_t i = 0; i < s->count; i++) {
		free(s->traces[i].path);
		free(s->traces[i].object);
		free(s->traces[i].payload);
		free(s->traces[i].old_payload);
	}
	free(s->traces);
	free(s->members);
	set_store_clear(&s->store);
	unlock_free(s->unlock);
	owner_keys_free(s->owners);
	*s = (struct set_sealing){0};
}
