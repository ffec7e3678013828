/*
 * The view of a set. Job: all members and nothing else, with what the set states about them; and a
 * member's seal, which may lie in one of two places while a writer is at work. Trusts the set,
 * which was checked; trusts no seal before it was compared with the set.
 */
#include "crypto/sealed_head.h"
#include "fs/formats/gguf_name.h"
#include "fs/view/nodes.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define MTIME_MAX_S ((uint64_t)INT64_MAX / 1000000000)

void view_member_seal_free(struct view_member_seal *s)
{
	if (!s)
		return;
	source_object_clear(&s->object);
	seal_free(s->seal);
	free(s);
}

static int read_head(struct source *source, const char *name, struct view_member_seal *s,
		     struct error *err)
{
	int r;

	source_object_clear(&s->object);
	r = source_stat(source, name, &s->object, err);
	if (r < 0)
		return r;
	s->head_size = (size_t)MIN(s->object.size, (uint64_t)sizeof(s->head));
	return source_read(source, name, s->object.version, 0, s->head_size, s->head, err);
}

/* -ENOENT: there is no such object. */
static int try_name(struct source *source, const struct set *set, const struct set_member *m,
		    const char *name, struct view_member_seal *s, struct error *err)
{
	_cleanup_free_ char *label = name ? source_describe(source, name) : NULL;
	int r = label ? read_head(source, name, s, err) : -ENOMEM;

	if (r == -ESTALE) {
		error_clear(err);
		r = read_head(source, name, s, err);
	}
	if (r == 0)
		r = seal_parse_head(label, s->head, s->head_size, s->object.size, &s->seal, err);
	if (r == 0)
		r = set_check_member(set, m, s->seal, err);
	if (r < 0)
		seal_free(steal_ptr(s->seal));
	return r;
}

static bool may_be_elsewhere(int code)
{
	return code == -ENOENT || code == -EPROTO || code == -EBADMSG;
}

int view_find_member(struct source *source, const struct set *set, const struct set_member *m,
		     struct view_member_seal **ret, struct error *err)
{
	_cleanup_(view_member_seal_freep) struct view_member_seal *s = calloc(1, sizeof(*s));
	_cleanup_free_ char *name = set_seal_name(m), *pending = set_pending_name(m);
	struct error first = {0}, second = {0};
	int r, other;

	if (!s || !name || !pending)
		return -ENOMEM;
	r = try_name(source, set, m, name, s, &first);
	if (may_be_elsewhere(r)) {
		other = try_name(source, set, m, pending, s, &second);
		if (other == 0 || r == -ENOENT || error_exit_code(other) == EXIT_CODE_UNREACHABLE) {
			r = other;
			first = second;
		}
	}
	if (r == -ENOENT)
		return set_missing_member(set, m, err);
	if (r < 0) {
		if (err && !err->code)
			*err = first;
		return r;
	}
	*ret = steal_ptr(s);
	return 0;
}

/* As a listing of its members' seals would be. */
static int list_members(const struct view_options *o, struct source_listing *l)
{
	const struct set_header *h = set_header(o->set);
	int64_t mtime_ns = (int64_t)MIN(h->created, MTIME_MAX_S) * 1000000000;
	size_t bytes = h->member_count * sizeof(*l->objects), worst;
	int r = allowance_take(o->allowance, bytes);

	if (r < 0)
		return r;
	l->room.allowance = o->allowance;
	l->taken = bytes;
	l->objects = calloc(h->member_count, sizeof(*l->objects));
	if (!l->objects)
		return -ENOMEM;
	while (r == 0 && l->count < h->member_count) {
		_cleanup_free_ char *name = set_seal_name(set_member(o->set, l->count));
		size_t more, own;

		if (!name)
			return -ENOMEM;
		more = view_file_bytes(name, &worst) + o->file_bytes;
		own = strlen(name) + 2 + ALLOWANCE_OVERHEAD;
		r = allowance_take(o->allowance, more + own);
		if (r < 0)
			return r;
		l->taken += own;
		l->more += more;
		r = source_object_make(&l->objects[l->count], name, "", 0, mtime_ns);
		l->count += r == 0;
	}
	return r;
}

static int take_statements(const struct view_options *o, struct view *v, struct error *err)
{
	const struct sealed_head *head = set_head(o->set);
	bool pinned = o->owners && owner_keys_count(o->owners) > 0;
	int owner = pinned ? owner_keys_owner(o->owners, head->signer_id) : 0;

	assert(v); /* view_build() made it */
	if (v->hidden_count > 0)
		return error_set(err, -EPROTO, "%s: a member cannot be shown: %s", head->name,
				 v->notes[0]);
	for (size_t i = 0; i < v->file_count; i++) {
		struct view_node *n = v->files[i];
		const struct set_member *m = set_find(o->set, n->path);

		if (!m)
			return -EPROTO;
		n->member = m;
		n->owner = owner;
		n->size = m->length;
		memcpy(n->facts.file_id, m->file_id, sizeof(n->facts.file_id));
		memcpy(n->facts.sha256, m->sha256, sizeof(n->facts.sha256));
		memcpy(n->facts.verity, m->verity, sizeof(n->facts.verity));
		memcpy(n->facts.core, m->core_digest, sizeof(n->facts.core));
	}
	return 0;
}

struct facts {
	const struct view_options *options;
	struct view *view;
};

/* For Ollama's store, which shows no other files. */
static int find_facts(void *arg, struct view_node *n, struct error *err)
{
	const struct facts *f = arg;
	_cleanup_(view_member_seal_freep) struct view_member_seal *s = NULL;
	int r;

	if (!n->description && !gguf_is_name(n->path))
		return 0;
	r = view_find_member(f->options->source, f->options->set, n->member, &s, err);
	if (r < 0)
		return r;
	assert(s);
	return view_keep_facts(f->view, n, seal_core(s->seal));
}

int view_read_set(const struct view_options *options, struct view **ret, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing listing = {0};
	_cleanup_(view_freep) struct view *v = NULL;
	struct facts facts = {.options = options};
	int r = list_members(options, &listing);

	if (r == -ENOBUFS)
		return allowance_refuse(options->allowance, allowance_left(options->allowance) + 1,
					err, "%s", set_head(options->set)->name);
	if (r == 0)
		r = view_build(&listing, &v, err);
	if (r < 0)
		return r;
	atomic_fetch_add(&v->taken, listing.more);
	listing.more = 0;
	r = take_statements(options, v, err);
	if (r == 0)
		r = view_pair_descriptions(v);
	facts.view = v;
	if (r == 0 && options->set_facts)
		r = view_examine_all(v, find_facts, &facts, err);
	if (r == 0)
		*ret = steal_ptr(v);
	return r;
}
