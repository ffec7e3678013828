/*
 * Decrypting ahead. Job: one thread that uses the time in which nobody waits for an answer. Trusts
 * load.c for checked plaintext. Must never poison a file, wait for room, or hold its lock while a
 * chunk is loaded.
 */
#include "fs/read/ahead.h"

#include "fs/read/file.h"

#include <errno.h>
#include <signal.h>

struct place {
	struct read_file *file; /* NULL: unused */
	uint64_t next;		/* chunk after the furthest one asked for */
	uint64_t run;		/* chunks that it has moved forward */
	uint64_t done;		/* chunk after the last one that was taken here */
	uint64_t used;
};

struct ahead {
	struct read_engine *engine;
	bool enabled;
	uint64_t distance;   /* chunks */
	atomic_bool waiting; /* for nobody to wait for an answer */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct place places[AHEAD_PLACES];
	uint64_t notes;
	const struct read_file *busy; /* a chunk of it is in work */
	pthread_t thread;
	bool started, stopping;
};

int ahead_new(struct read_engine *e, const struct read_engine_options *options, struct ahead **ret)
{
	struct ahead *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->engine = e;
	t->enabled = options->ahead && e->worker_count > 1;
	t->distance = MIN((uint64_t)buffer_cache_count(e->chunks) / 2, AHEAD_CHUNKS_MAX);
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->changed, NULL);
	*ret = t;
	return 0;
}

void ahead_stop(struct ahead *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void ahead_free(struct ahead *t)
{
	if (!t)
		return;
	ahead_stop(t);
	if (t->started)
		pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->changed);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* Who asked last and has chunks left to decrypt; NULL. Under the lock. */
static struct place *find_work(struct ahead *t)
{
	struct place *best = NULL;

	for (unsigned i = 0; i < AHEAD_PLACES; i++) {
		struct place *p = &t->places[i];

		if (!p->file || p->run < AHEAD_RUN_MIN || atomic_load(&p->file->poisoned))
			continue;
		p->done = MAX(p->done, p->next);
		if (p->done < MIN(p->next + t->distance, p->file->chunk_count) &&
		    (!best || p->used > best->used))
			best = p;
	}
	return best;
}

static void load_one(struct read_file *f, uint64_t chunk)
{
	struct buffer_cache *cache = f->engine->chunks;
	struct buffer *b;
	bool load;

	if (buffer_cache_reserve(cache, 1, 0) < 0)
		return;
	b = buffer_cache_pin(cache, f, chunk, &load);
	if (load)
		buffer_cache_loaded(cache, b, file_load_ahead(f, chunk, b), NULL);
	buffer_cache_unpin(cache, b, 0);
	buffer_cache_unreserve(cache, 1);
}

/* Called and left with the lock held, which is not held in between. */
static void work_locked(struct ahead *t, struct place *p)
{
	struct read_file *f = p->file;
	uint64_t chunk = p->done++;

	t->busy = f;
	pthread_mutex_unlock(&t->lock);
	load_one(f, chunk);
	pthread_mutex_lock(&t->lock);
	t->busy = NULL;
	pthread_cond_broadcast(&t->changed);
}

static void *run(void *arg)
{
	struct ahead *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		struct place *p = find_work(t);

		/* Before looking, so that the last answer either is seen or wakes this thread. */
		atomic_store(&t->waiting, p != NULL);
		if (!p || atomic_load(&t->engine->answering) > 0) {
			pthread_cond_wait(&t->changed, &t->lock);
			continue;
		}
		atomic_store(&t->waiting, false);
		work_locked(t, p);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* Under the lock. */
static void start_thread(struct ahead *t)
{
	sigset_t all, old;

	if (t->started || t->stopping)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	t->started = pthread_create(&t->thread, NULL, run, t) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Under the lock. */
static struct place *find_place(struct ahead *t, struct read_file *f, uint64_t first)
{
	struct place *oldest = &t->places[0];

	for (unsigned i = 0; i < AHEAD_PLACES; i++) {
		struct place *p = &t->places[i];

		if (p->file == f && first <= p->next + AHEAD_SLACK &&
		    first + AHEAD_SLACK >= p->next)
			return p;
		if (p->used < oldest->used)
			oldest = p;
	}
	*oldest = (struct place){.file = f, .next = first};
	return oldest;
}

void ahead_note(struct ahead *t, struct read_file *f, uint64_t offset, uint64_t size)
{
	uint64_t first = offset / SEAL_CHUNK_SIZE,
		 end = (offset + size + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE;
	struct place *p;

	/* The kernel asks for that much only on behalf of those who read much. */
	if (!t->enabled || f->by_extents || size < SEAL_CHUNK_SIZE)
		return;
	pthread_mutex_lock(&t->lock);
	p = find_place(t, f, first);
	p->used = ++t->notes;
	if (end > p->next) {
		p->run += MIN(end - p->next, end - first);
		p->next = end;
	}
	if (p->run >= AHEAD_RUN_MIN) {
		start_thread(t);
		atomic_store(&t->waiting, true); /* this request's answer wakes the thread */
	}
	pthread_mutex_unlock(&t->lock);
}

void ahead_go(struct ahead *t)
{
	if (!atomic_load(&t->waiting))
		return;
	pthread_mutex_lock(&t->lock);
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->lock);
}

void ahead_forget(struct ahead *t, const struct read_file *f)
{
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < AHEAD_PLACES; i++)
		if (t->places[i].file == f)
			t->places[i] = (struct place){0};
	while (t->busy == f)
		pthread_cond_wait(&t->changed, &t->lock);
	pthread_mutex_unlock(&t->lock);
}
