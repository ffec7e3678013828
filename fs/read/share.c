/*
 * Loading the chunks of one request. Job: have idle workers take some of them, if there are any,
 * and the request's own thread the rest. Trusts the request to hold its pins until it is told the
 * outcome. Must never wait for a worker that has not begun: only threads that are free at this
 * moment are asked, and each takes chunks until none is left.
 */
#include "fs/read/share.h"

#include <errno.h>

struct sharing {
	const struct shared_load *load;
	atomic_size_t next; /* chunk of the request that is taken next */
	atomic_bool failed;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t done;
	unsigned helpers;
	int code; /* the first failure */
	struct error err;
};

static void fail(struct sharing *s, int code, const struct error *err)
{
	pthread_mutex_lock(&s->lock);
	if (s->code == 0) {
		s->code = code;
		s->err = *err;
	}
	pthread_mutex_unlock(&s->lock);
	atomic_store(&s->failed, true);
}

static void take_chunks(struct sharing *s)
{
	const struct shared_load *l = s->load;
	struct buffer_cache *cache = l->file->engine->chunks;
	size_t i;

	while ((i = atomic_fetch_add(&s->next, 1)) < l->count) {
		struct error err = {0};
		int r;

		if (!l->load[i])
			continue;
		if (atomic_load(&s->failed)) {
			buffer_cache_loaded(cache, l->buffers[i], -ECANCELED, NULL);
			continue;
		}
		r = file_load_chunk(l->file, l->first + i, l->whole_extent, l->buffers[i], &err);
		if (r < 0)
			fail(s, r, &err);
		buffer_cache_loaded(cache, l->buffers[i], r, &err);
	}
}

static void run_helper(void *arg)
{
	struct sharing *s = arg;

	take_chunks(s);
	pthread_mutex_lock(&s->lock);
	if (--s->helpers == 0)
		pthread_cond_signal(&s->done);
	pthread_mutex_unlock(&s->lock);
}

/*
 * Handing a chunk over costs some 50 us of waking up. A hash by OpenSSL costs 300 us a chunk, and
 * O_DIRECT reads of 1 MiB, one at a time, on two processors went from 0.84 to 1.22 GB/s; where
 * the tag is all there is to check (110 us by ipsec-mb) they went from 2.30 down to 2.04. With
 * readahead there are enough requests, and nothing is handed over: 1.24 and 1.21 GB/s.
 */
static bool is_worth_sharing(const struct read_file *f, unsigned loading)
{
	return f->check == CHUNK_CHECK_VERITY && loading < f->engine->worker_count;
}

/* loading: requests that load at this moment, with this one. */
static void ask_helpers(struct sharing *s, unsigned loading)
{
	struct read_engine *e = s->load->file->engine;
	size_t owned = 0;

	for (size_t i = 0; i < s->load->count; i++)
		owned += s->load->load[i];
	for (; loading < e->worker_count && owned > 1; loading++, owned--) {
		pthread_mutex_lock(&s->lock);
		s->helpers++;
		pthread_mutex_unlock(&s->lock);
		if (pool_submit_idle(e->workers, run_helper, s) == 0)
			continue;
		pthread_mutex_lock(&s->lock);
		s->helpers--;
		pthread_mutex_unlock(&s->lock);
		break;
	}
}

static void await_helpers(struct sharing *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->helpers > 0)
		pthread_cond_wait(&s->done, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

int share_load(const struct shared_load *l, struct error *err)
{
	struct read_engine *e = l->file->engine;
	unsigned loading = atomic_fetch_add(&e->loading, 1) + 1;
	struct sharing s = {.load = l};

	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.done, NULL);
	if (is_worth_sharing(l->file, loading))
		ask_helpers(&s, loading);
	take_chunks(&s);
	atomic_fetch_sub(&e->loading, 1);
	await_helpers(&s);
	pthread_cond_destroy(&s.done);
	pthread_mutex_destroy(&s.lock);
	if (s.code < 0 && err && !err->code)
		*err = s.err;
	return s.code;
}
