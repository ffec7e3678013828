/*
 * Rests of chunks. Job: keep a short queue of decrypted chunks between those who answer requests
 * and the threads that push. Trusts the buffers to be checked plaintext: only loaded ones are
 * offered. Must never hold a lock, or more than one buffer a thread beside the queue, while it
 * pushes: a push waits for pages that a READ has locked, and that READ may wait for room.
 */
#include "fs/read/rest.h"

#include "fs/read/file.h"
#include "fs/read/monotonic.h"

#include <errno.h>
#include <signal.h>

struct rest_entry {
	struct read_file *file; /* NULL: nothing */
	struct buffer *buffer;
};

struct rest {
	struct read_engine *engine;
	size_t queue_max;

	pthread_mutex_t lock; /* guards what follows, and each buffer's `offered` */
	pthread_cond_t offered, done;
	struct rest_entry queue[REST_QUEUE_MAX]; /* from the oldest on */
	size_t count;
	struct rest_entry at_work[REST_THREADS];
	pthread_t threads[REST_THREADS];
	unsigned thread_count, working;
	uint64_t refused_until_ms;
	bool stopping;
};

int rest_new(struct read_engine *e, struct rest **ret)
{
	struct rest *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->engine = e;
	t->queue_max =
		MIN((size_t)REST_QUEUE_MAX, buffer_cache_count(e->chunks) / 4 - REST_THREADS);
	pthread_mutex_init(&t->lock, NULL);
	monotonic_cond_init(&t->offered);
	monotonic_cond_init(&t->done);
	*ret = t;
	return 0;
}

static void give_back(struct rest *t, struct buffer *b, size_t served)
{
	buffer_cache_unpin(t->engine->chunks, b, served);
	buffer_cache_unreserve(t->engine->chunks, 1);
}

/* All of f, or everything. Under the lock. */
static void drop(struct rest *t, const struct read_file *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->count; i++)
		if (f && t->queue[i].file != f)
			t->queue[kept++] = t->queue[i];
		else
			give_back(t, t->queue[i].buffer, 0);
	t->count = kept;
}

void rest_stop(struct rest *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	drop(t, NULL);
	pthread_cond_broadcast(&t->offered);
	pthread_mutex_unlock(&t->lock);
}

void rest_free(struct rest *t)
{
	if (!t)
		return;
	rest_stop(t);
	for (unsigned i = 0; i < t->thread_count; i++)
		pthread_join(t->threads[i], NULL);
	pthread_cond_destroy(&t->offered);
	pthread_cond_destroy(&t->done);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* NULL: of any file. Under the lock. */
static bool is_at_work(const struct rest *t, const struct read_file *f)
{
	for (size_t i = 0; i < REST_THREADS; i++)
		if (t->at_work[i].file && (!f || t->at_work[i].file == f))
			return true;
	return false;
}

bool rest_idle(struct rest *t, unsigned wait_ms)
{
	uint64_t deadline_ms = monotonic_ms() + wait_ms;
	bool idle;

	pthread_mutex_lock(&t->lock);
	while (is_at_work(t, NULL) && monotonic_cond_wait(&t->done, &t->lock, deadline_ms) == 0)
		;
	idle = !is_at_work(t, NULL);
	pthread_mutex_unlock(&t->lock);
	return idle;
}

void rest_forget(struct rest *t, const struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	drop(t, f);
	while (is_at_work(t, f))
		pthread_cond_wait(&t->done, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

/* The oldest of the queue into *e, which belongs to this thread. Under the lock. */
static void take(struct rest *t, struct rest_entry *e)
{
	*e = t->queue[0];
	t->count--;
	for (size_t i = 0; i < t->count; i++)
		t->queue[i] = t->queue[i + 1];
}

/* False: better none for a while. */
static bool push(struct rest *t, const struct rest_entry *e)
{
	struct buffer *b = e->buffer;
	bool healthy = !atomic_load(&e->file->poisoned);
	bool pushed = healthy && fill_rest(t->engine->fill, e->file, b->index, b->data, b->filled);

	/* What the kernel has is the first that makes room. */
	give_back(t, b, pushed ? b->filled : 0);
	return pushed || !healthy;
}

static void *run(void *arg)
{
	struct rest *t = arg;
	struct rest_entry *e;

	pthread_mutex_lock(&t->lock);
	e = &t->at_work[t->working++];
	while (!t->stopping) {
		bool pushed;

		if (t->count == 0) {
			pthread_cond_wait(&t->offered, &t->lock);
			continue;
		}
		take(t, e);
		pthread_mutex_unlock(&t->lock);
		pushed = push(t, e);
		pthread_mutex_lock(&t->lock);
		*e = (struct rest_entry){0};
		if (!pushed) {
			t->refused_until_ms = monotonic_ms() + REST_REFUSED_MS;
			drop(t, NULL);
		}
		pthread_cond_broadcast(&t->done);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* They inherit SCHED_BATCH from the thread that answers requests: a push shall not displace the
 * reader that is being woken at this moment. */
static void start_threads(struct rest *t)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (t->thread_count < REST_THREADS &&
	       pthread_create(&t->threads[t->thread_count], NULL, run, t) == 0)
		t->thread_count++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

bool rest_offer(struct rest *t, struct read_file *f, struct buffer *b)
{
	bool taken;

	pthread_mutex_lock(&t->lock);
	taken = !t->stopping && !b->offered && t->count < t->queue_max &&
		monotonic_ms() >= t->refused_until_ms;
	if (taken && t->thread_count < REST_THREADS)
		start_threads(t);
	taken = taken && t->thread_count > 0;
	if (taken) {
		b->offered = true;
		t->queue[t->count++] = (struct rest_entry){f, b};
		pthread_cond_signal(&t->offered);
	}
	pthread_mutex_unlock(&t->lock);
	return taken;
}
