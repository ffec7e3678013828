/*
 * The heads of all seals. Job: plaintext sizes for stat(2), with one small read for each model,
 * several at once because a bucket answers in tens of milliseconds. Trusts nothing it reads. A bad
 * seal marks its own file as broken and hides nothing else; only a source that cannot be reached
 * fails the whole.
 */
#include "crypto/failure.h"
#include "fs/view/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define THREADS_MAX 16

struct heads {
	const struct view_options *options;
	const struct source_listing *listing;
	struct view *view;
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
	int r = seal_payload_name(seal, n->seal.name, &name);

	if (r < 0)
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

static int examine(const struct heads *h, struct view_node *n, struct error *err)
{
	_cleanup_free_ char *label = source_describe(h->options->source, n->seal.name);
	_cleanup_free_ uint8_t *head = malloc(SEAL_HEAD_MAX);
	_cleanup_seal_ struct seal *seal = NULL;
	const struct seal_core *core;
	size_t size;
	int r;

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
	r = seal_check_name(seal, n->seal.name, err);
	if (r == 0)
		r = seal_check_owner(seal, h->options->owners, err);
	return r < 0 ? r : check_payload(h, n, seal, err);
}

static int mark_broken(struct view_node *n, int code, struct error *err)
{
	error_set(err, code, "%s: %s", n->seal.name, strerror(-code));
	n->broken = malloc(sizeof(*n->broken));
	if (!n->broken)
		return -ENOMEM;
	*n->broken = *err;
	return 0;
}

static void *run_thread(void *arg)
{
	struct heads *h = arg;

	while (!atomic_load(&h->failed)) {
		size_t i = atomic_fetch_add(&h->next, 1);
		struct error err = {0};
		int r;

		if (i >= h->view->file_count)
			break;
		r = examine(h, h->view->files[i], &err);
		if (r < 0 && r != -ENOMEM && error_exit_code(r) != EXIT_CODE_UNREACHABLE)
			r = mark_broken(h->view->files[i], r, &err);
		if (r == 0)
			continue;
		pthread_mutex_lock(&h->lock);
		if (h->code == 0) {
			h->code = r;
			h->err = err;
		}
		pthread_mutex_unlock(&h->lock);
		atomic_store(&h->failed, true);
	}
	return NULL;
}

static int read_heads(struct heads *h, struct error *err)
{
	size_t count = 0, want = MIN(h->view->file_count, (size_t)THREADS_MAX);
	pthread_t threads[THREADS_MAX];
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* This thread works too, so that it goes on when no other can be made. */
	while (count + 1 < want && pthread_create(&threads[count], NULL, run_thread, h) == 0)
		count++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	run_thread(h);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	if (h->code < 0 && err)
		*err = h->err;
	return h->code;
}

int view_read(const struct view_options *options, struct view **ret, struct error *err)
{
	_cleanup_(source_listing_clear) struct source_listing listing = {0};
	_cleanup_(view_freep) struct view *v = NULL;
	struct heads h = {.options = options, .listing = &listing};
	int r = source_list(options->source, &listing, err);

	if (r < 0)
		return r;
	r = view_build(&listing, &v, err);
	if (r < 0)
		return r;
	h.view = v;
	pthread_mutex_init(&h.lock, NULL);
	r = read_heads(&h, err);
	pthread_mutex_destroy(&h.lock);
	if (r == 0)
		r = view_pair_descriptions(v);
	if (r < 0)
		return r;
	for (size_t i = 0; i < v->file_count; i++)
		if (__builtin_add_overflow(v->total_size, v->files[i]->size, &v->total_size))
			v->total_size = UINT64_MAX;
	*ret = steal_ptr(v);
	return 0;
}
