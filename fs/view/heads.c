/*
 * The heads of all seals. Job: plaintext sizes for stat(2), with one small read for each model,
 * several at once because a bucket answers in tens of milliseconds. Trusts nothing it reads. A bad
 * seal marks its own file as broken and hides nothing else; only a source that cannot be reached
 * fails the whole.
 */
#include "crypto/base/thread.h"
#include "crypto/failure.h"
#include "crypto/name.h"
#include "crypto/slot_text.h"
#include "fs/view/nodes.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS_MAX 16
/* Size of a reason, for the message that states how much memory is needed. */
#define BROKEN_BYTES 320
/* Likewise, what most facts and recipients take. */
#define STATED_BYTES 448

struct heads {
	const struct view_options *options;
	const struct source_listing *listing;
	struct view *view;
};

/* One examination of all files. */
struct round {
	struct view *view;
	view_examine *examine;
	void *arg;
	atomic_size_t next;
	atomic_bool failed;
	pthread_mutex_t lock; /* guards err and code */
	int code;
	struct error err;
};

static int compare_object(const void *key, const void *item)
{
	return strcmp(key, ((const struct source_object *)item)->name);
}

static int check_payload(const struct heads *h, const struct view_node *n, const struct seal *seal,
			 struct error *err)
{
	_cleanup_free_ char *name = NULL, *label = NULL;
	const struct source_object *payload;
	int r = h->options->only ? 0 : seal_payload_name(seal, n->seal.name, &name);

	if (r < 0 || !name)
		return r;
	label = source_describe(h->options->source, name);
	payload = bsearch(name, h->listing->objects, h->listing->count, sizeof(*payload),
			  compare_object);
	if (!payload)
		return error_set(err, -ENOENT, "%s is missing: the model has a seal but no payload",
				 label ? label : name);
	if (payload->size != seal_core(seal)->length)
		return seal_fail(err, SEAL_BAD_PAYLOAD_SIZE, label ? label : name,
				 "it has %llu bytes, its seal says %llu",
				 (unsigned long long)payload->size,
				 (unsigned long long)seal_core(seal)->length);
	return 0;
}

static int read_head(const struct heads *h, const struct view_node *n, uint8_t *head, size_t *size,
		     struct error *err)
{
	*size = (size_t)MIN(n->seal.size, (uint64_t)SEAL_HEAD_MAX);
	return source_read(h->options->source, n->seal.name, n->seal.version, 0, *size, head, err);
}

/* Published again between the listing and now. */
static int follow_change(const struct heads *h, struct view_node *n, uint8_t *head, size_t *size,
			 struct error *err)
{
	struct source_object now;
	int r = source_stat(h->options->source, n->seal.name, &now, err);

	if (r < 0)
		return r;
	source_object_clear(&n->seal);
	n->seal = now;
	n->mtime_ns = now.mtime_ns;
	return read_head(h, n, head, size, err);
}

static bool is_pinned(const struct heads *h)
{
	return h->options->owners && owner_keys_count(h->options->owners) > 0;
}

int view_keep_facts(struct view *v, struct view_node *n, const struct seal_core *core)
{
	size_t size = strlen(core->facts);
	int r;

	if (size == 0)
		return 0;
	r = view_take(v, size + 1 + ALLOWANCE_OVERHEAD);
	if (r < 0)
		return r;
	n->stated = strdup(core->facts);
	return n->stated ? 0 : -ENOMEM;
}

static int keep_recipients(struct view *v, struct view_node *n, const struct seal *seal)
{
	char *text = slots_text(seal_head(seal)->slots, seal_slot_count(seal));
	int r = text ? view_take(v, strlen(text) + 1 + ALLOWANCE_OVERHEAD) : -ENOMEM;

	if (r == 0)
		n->recipients = steal_ptr(text);
	free(text);
	return r;
}

static int examine_head(void *arg, struct view_node *n, struct error *err)
{
	const struct heads *h = arg;
	_cleanup_free_ char *label = source_describe(h->options->source, n->seal.name);
	_cleanup_free_ uint8_t *head = malloc(SEAL_HEAD_MAX);
	_cleanup_seal_ struct seal *seal = NULL;
	const struct seal_core *core;
	size_t size;
	int r;

	n->owner = is_pinned(h) ? -1 : 0;
	if (!label || !head)
		return -ENOMEM;
	r = read_head(h, n, head, &size, err);
	if (r == -ESTALE) {
		error_clear(err);
		r = follow_change(h, n, head, &size, err);
	}
	if (r == 0)
		r = seal_parse_head(label, head, size, n->seal.size, &seal, err);
	if (r < 0)
		return r;
	core = seal_core(seal);
	n->size = core->length;
	memcpy(n->facts.file_id, core->file_id, sizeof(n->facts.file_id));
	memcpy(n->facts.sha256, core->sha256, sizeof(n->facts.sha256));
	memcpy(n->facts.verity, core->verity, sizeof(n->facts.verity));
	r = seal_core_hash(seal, n->facts.core);
	if (r == 0)
		r = view_keep_facts(h->view, n, core);
	if (r == 0)
		r = keep_recipients(h->view, n, seal);
	if (r == 0)
		r = seal_check_name(seal, n->seal.name, err);
	if (r == 0)
		r = seal_check_owner(seal, h->options->owners, err);
	if (r == 0 && is_pinned(h))
		n->owner = owner_keys_owner(h->options->owners, seal_signer_id(seal));
	return r < 0 ? r : check_payload(h, n, seal, err);
}

static int mark_broken(struct view *v, struct view_node *n, int code, struct error *err)
{
	size_t message, hint, bytes;
	int r;

	error_set(err, code, "%s: %s", n->seal.name, strerror(-code));
	message = strlen(err->message) + 1;
	hint = strlen(err->hint) + 1;
	bytes = sizeof(*n->broken) + message + hint;
	r = view_take(v, bytes + ALLOWANCE_OVERHEAD);
	if (r < 0)
		return r;
	n->broken = malloc(bytes);
	if (!n->broken)
		return -ENOMEM;
	n->broken->code = err->code;
	n->broken->hint = n->broken->text + message;
	memcpy(n->broken->text, err->message, message);
	memcpy(n->broken->text + message, err->hint, hint);
	return 0;
}

static void *run_thread(void *arg)
{
	struct round *e = arg;

	while (!atomic_load(&e->failed)) {
		size_t i = atomic_fetch_add(&e->next, 1);
		struct error err = {0};
		int r;

		if (i >= e->view->file_count)
			break;
		r = e->examine(e->arg, e->view->files[i], &err);
		if (r < 0 && r != -ENOMEM && error_exit_code(r) != EXIT_CODE_UNREACHABLE)
			r = mark_broken(e->view, e->view->files[i], r, &err);
		if (r == 0)
			continue;
		pthread_mutex_lock(&e->lock);
		if (e->code == 0) {
			e->code = r;
			if (r != -ENOBUFS)
				e->err = err;
		}
		pthread_mutex_unlock(&e->lock);
		atomic_store(&e->failed, true);
	}
	return NULL;
}

int view_examine_all(struct view *v, view_examine *examine, void *arg, struct error *err)
{
	struct round e = {
		.view = v, .examine = examine, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER};
	size_t count = 0, want = MIN(v->file_count, (size_t)THREADS_MAX);
	pthread_t threads[THREADS_MAX];

	/* This thread works too, so that work continues if no other can be made. */
	while (count + 1 < want && thread_start(&threads[count], run_thread, &e, NULL) == 0)
		count++;
	run_thread(&e);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	if (e.code < 0 && err)
		*err = e.err;
	return e.code;
}

static size_t bytes_for(void *arg, const char *name, size_t *worst)
{
	const struct view_options *options = arg;
	size_t bytes;

	if (!name_is_seal(name))
		return 0;
	bytes = view_file_bytes(name, worst) + options->file_bytes;
	*worst += BROKEN_BYTES + STATED_BYTES;
	return bytes;
}

static int build_and_examine(const struct view_options *options,
			     const struct source_listing *listing,
			     const struct view_earlier *earlier, struct view **ret,
			     struct error *err)
{
	_cleanup_(view_freep) struct view *v = NULL;
	struct heads h = {.options = options, .listing = listing};
	int r = view_build_after(listing, earlier, &v, err);

	if (r < 0)
		return r;
	h.view = v;
	r = view_examine_all(v, examine_head, &h, err);
	if (r == 0)
		*ret = steal_ptr(v);
	return r;
}

/* Junk below "a.gguf/" must not hide a good a.gguf, and a junk a.gguf nothing that is good. */
static int build_without_clashes(const struct view_options *options,
				 const struct source_listing *listing, struct view **ret,
				 struct error *err)
{
	_cleanup_(view_freep) struct view *first = NULL, *second = NULL;
	struct view_earlier earlier = {0};
	int r = build_and_examine(options, listing, &earlier, &first, err);

	if (r < 0)
		return r;
	assert(first);
	if (!first->clashes) {
		*ret = steal_ptr(first);
		return 0;
	}
	earlier.first = first;
	r = build_and_examine(options, listing, &earlier, &second, err);
	earlier.second = second;
	return r < 0 ? r : build_and_examine(options, listing, &earlier, ret, err);
}

static int make_view(const struct view_options *options, struct source_listing *listing,
		     struct view **ret, struct error *err)
{
	_cleanup_(view_freep) struct view *v = NULL;
	int r = build_without_clashes(options, listing, &v, err);

	if (r < 0)
		return r;
	assert(v); /* gcc 12 with -O3 does not see it */
	atomic_fetch_add(&v->taken, listing->more);
	listing->more = 0;
	r = view_pair_descriptions(v);
	if (r < 0)
		return r;
	*ret = steal_ptr(v);
	return 0;
}

/* A listing of one seal, or of none. */
static int find_one(const struct view_options *options, const struct source_room *room,
		    struct source_listing *ret, struct error *err)
{
	_cleanup_free_ char *name = NULL;
	int r;

	if (asprintf(&name, "%s" SEAL_SUFFIX, options->only) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	ret->room = *room;
	ret->objects = calloc(1, sizeof(*ret->objects));
	if (!ret->objects)
		return -ENOMEM;
	r = source_stat(options->source, name, ret->objects, err);
	if (r == -ENOENT) {
		error_clear(err);
		return 0;
	}
	ret->count = r == 0;
	return r;
}

int view_read(const struct view_options *options, struct view **ret, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing listing = {0};
	struct source_room room = {options->allowance, bytes_for, (void *)(uintptr_t)options};
	int r;

	if (options->set)
		return view_read_set(options, ret, err);
	if (options->only)
		r = find_one(options, &room, &listing, err);
	else
		r = source_list(options->source, &room, &listing, err);
	if (r == 0)
		r = make_view(options, &listing, ret, err);
	if (r == -ENOBUFS && !err->code) {
		size_t seen = listing.seen, worst = source_listing_worst(&listing);
		_cleanup_free_ char *label = source_describe(options->source, "");

		source_listing_clear(&listing);
		return allowance_refuse(options->allowance, worst, err,
					"the listing of %s with %zu objects",
					label ? label : "the source", seen);
	}
	return r;
}
