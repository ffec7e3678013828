/*
 * Background work. Job: pick the most useful work, and do it. Must never delay a READ: no lock is
 * held during a job, and a failure only ends that work.
 */
#include "fs/read/background.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "crypto/base/thread.h"
#include "fs/read/jobs.h"
#include "fs/read/pagecache.h"
#include "fs/read/read_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define NICE 10
/* A smaller file fits the buffers, in whatever order it is read. */
#define MAP_FILE_MIN (UINT64_C(128) << 20)

/* Quick jobs never wait for a network, patient ones may. */
enum { QUICK, PATIENT, CREWS };

struct crew {
	struct background *owner;
	struct job (*pick)(struct background *t, uint64_t now_ms);
	pthread_cond_t work;
	pthread_t threads[BACKGROUND_CREW];
	unsigned count;
};

struct background {
	struct read_engine *engine;
	enum read_fill mode; /* OFF: nothing is pushed */
	bool ahead;
	uint64_t distance;   /* chunks */
	atomic_bool waiting; /* a thread waits until no reader waits for an answer */
	atomic_uint_least64_t last_read_ms;

	pthread_mutex_t lock; /* guards what follows, and each buffer's `offered` */
	pthread_cond_t done;
	struct crew crews[CREWS];
	struct read_file *files;	  /* with patient work */
	struct job rests[REST_QUEUE_MAX]; /* from the oldest on */
	size_t rest_count;
	uint64_t refused_until_ms;
	bool decrypt_wanted, decrypting;
	unsigned pushing; /* threads at work, but for decrypting ahead */
	bool stopping, complained;
};

/* The rests of f, or all. Under the lock. */
static void drop_rests(struct background *t, const struct read_file *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->rest_count; i++)
		if (f && t->rests[i].file != f)
			t->rests[kept++] = t->rests[i];
		else
			job_give_back(&t->rests[i], 0);
	t->rest_count = kept;
}

static bool is_over(struct read_file *f)
{
	return f->background.ended || atomic_load(&f->payload.abandoned) ||
	       atomic_load(&f->kept_out) == READ_KEEPS_ALL_OUT;
}

/* Under the lock, like all functions that pick. */
static struct job pick_decrypt(struct background *t)
{
	struct payload *p;
	uint64_t chunk;

	if (!t->decrypt_wanted || t->decrypting)
		return (struct job){0};
	/* Before looking, so that the last answer either is seen or wakes a thread. */
	atomic_store(&t->waiting, true);
	if (atomic_load(&t->engine->answering) > 0)
		return (struct job){0};
	atomic_store(&t->waiting, false);
	while (readers_decrypt_next(t->engine->readers, t->distance, &p, &chunk))
		if (!is_over(read_file_of(p)))
			return (struct job){
				.kind = JOB_DECRYPT, .file = read_file_of(p), .chunk = chunk};
	t->decrypt_wanted = false;
	return (struct job){0};
}

static struct job pick_quick(struct background *t, uint64_t now_ms)
{
	struct job job;

	if (t->rest_count == 0)
		return pick_decrypt(t);
	job = t->rests[0];
	t->rest_count--;
	memmove(t->rests, t->rests + 1, t->rest_count * sizeof(job));
	return job;
}

static struct job pick_patient(struct background *t, uint64_t now_ms)
{
	bool pause = t->mode == READ_FILL_ALL ||
		     now_ms - atomic_load(&t->last_read_ms) >= FILL_AUTO_PAUSE_MS;
	struct job job = {0};

	for (struct read_file *f = t->files; f; f = f->background.next) {
		struct background_file *s = &f->background;
		int r = -EAGAIN;

		if (is_over(f))
			continue;
		if (s->map_wanted) {
			s->map_wanted = false;
			return (struct job){.kind = JOB_MAP, .file = f};
		}
		if (!s->wanted || atomic_load(&f->kept_out) != READ_KEEPS_NOTHING_OUT)
			continue;
		if (pause)
			r = pagecache_choose(t->engine->pagecache, f, now_ms, &job.chunk);
		if (r == 0)
			return (struct job){.kind = JOB_FILL, .file = f, .chunk = job.chunk};
		if (r == -ENOSPC)
			return (struct job){.wait_ms = FILL_FULL_MS};
		s->wanted = r != -ENODATA;
		if (s->wanted)
			job.wait_ms = FILL_AUTO_PAUSE_MS;
	}
	return job;
}

/* Called and left with the lock held, which is not held in between. */
static void do_job(struct background *t, const struct job *job)
{
	bool decrypts = job->kind == JOB_DECRYPT;
	struct background_file *s = &job->file->background;
	int r;

	s->users++;
	t->decrypting |= decrypts;
	t->pushing += !decrypts;
	pthread_mutex_unlock(&t->lock);
	r = job_do(job);
	pthread_mutex_lock(&t->lock);
	if (r < 0 && job->kind == JOB_FILL)
		s->wanted = false;
	if (r < 0 && job->kind == JOB_REST) {
		t->refused_until_ms = monotonic_ms() + REST_REFUSED_MS;
		drop_rests(t, NULL);
	}
	s->users--;
	t->decrypting &= !decrypts;
	t->pushing -= !decrypts;
	pthread_cond_broadcast(&t->done);
}

static void *run(void *arg)
{
	struct crew *c = arg;
	struct background *t = c->owner;

	if (c == &t->crews[PATIENT] && t->mode != READ_FILL_ALL)
		(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		uint64_t now_ms = monotonic_ms();
		struct job job = c->pick(t, now_ms);

		if (job.kind != JOB_NONE)
			do_job(t, &job);
		else if (job.wait_ms > 0)
			(void)monotonic_cond_wait(&c->work, &t->lock, now_ms + job.wait_ms);
		else
			pthread_cond_wait(&c->work, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* Up to so many threads; they inherit SCHED_BATCH from a thread that answers requests: a push shall
 * not displace the reader that is being woken at this moment. Under the lock. */
static bool start_threads(struct background *t, struct crew *c, unsigned want)
{
	while (!t->stopping && c->count < want &&
	       thread_start(&c->threads[c->count], run, c, NULL) == 0)
		c->count++;
	return c->count > 0;
}

int background_new(struct read_engine *e, const struct read_engine_options *options,
		   struct background **ret)
{
	struct background *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->engine = e;
	t->mode = options->store ? options->fill : READ_FILL_OFF;
	t->ahead = options->ahead && e->worker_count > 1;
	t->distance = MIN((uint64_t)buffer_cache_count(e->chunks) / 2, AHEAD_CHUNKS_MAX);
	pthread_mutex_init(&t->lock, NULL);
	monotonic_cond_init(&t->done);
	for (unsigned i = 0; i < CREWS; i++) {
		t->crews[i].owner = t;
		t->crews[i].pick = i == QUICK ? pick_quick : pick_patient;
		monotonic_cond_init(&t->crews[i].work);
	}
	*ret = t;
	return 0;
}

void background_stop(struct background *t)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	drop_rests(t, NULL);
	for (unsigned i = 0; i < CREWS; i++)
		pthread_cond_broadcast(&t->crews[i].work);
	pthread_mutex_unlock(&t->lock);
}

void background_free(struct background *t)
{
	if (!t)
		return;
	background_stop(t);
	for (struct crew *c = t->crews; c < t->crews + CREWS; c++) {
		for (unsigned i = 0; i < c->count; i++)
			pthread_join(c->threads[i], NULL);
		pthread_cond_destroy(&c->work);
	}
	pthread_cond_destroy(&t->done);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

bool background_idle(struct background *t, unsigned wait_ms)
{
	uint64_t deadline_ms = monotonic_ms() + wait_ms;
	bool idle;

	pthread_mutex_lock(&t->lock);
	while (t->pushing > 0 && monotonic_cond_wait(&t->done, &t->lock, deadline_ms) == 0)
		;
	idle = t->pushing == 0;
	pthread_mutex_unlock(&t->lock);
	return idle;
}

/* There is patient work for f. Under the lock. */
static void list_file(struct background *t, struct read_file *f)
{
	struct crew *c = &t->crews[PATIENT];
	bool started;

	if (!f->background.listed) {
		f->background.listed = true;
		f->background.next = t->files;
		t->files = f;
	}
	started = start_threads(t, c, t->mode == READ_FILL_ALL ? BACKGROUND_CREW : 1);
	if (!started && !t->stopping && !t->complained)
		log_warning("fill=: nothing is put into the page cache: no thread can be started");
	t->complained = !started;
	pthread_cond_broadcast(&c->work);
}

static void want(struct background *t, struct read_file *f)
{
	if (f->background.wanted || pagecache_has_all(t->engine->pagecache, f))
		return;
	f->background.wanted = true;
	list_file(t, f);
}

void background_opened(struct background *t, struct read_file *f)
{
	pagecache_may_introduce(t->engine->pagecache, f);
	pthread_mutex_lock(&t->lock);
	if (t->mode == READ_FILL_ALL)
		want(t, f);
	pthread_mutex_unlock(&t->lock);
}

void background_shown(struct background *t, struct read_file *f, bool passed)
{
	pagecache_may_introduce(t->engine->pagecache, f);
	pthread_mutex_lock(&t->lock);
	if (t->mode == READ_FILL_ALL || (t->mode == READ_FILL_AUTO && passed))
		want(t, f);
	pthread_mutex_unlock(&t->lock);
}

/* Whoever is past the first chunk, and not just at the tail, is reading the model. Under the
 * lock. */
static void want_map(struct background *t, struct read_file *f, uint64_t chunk)
{
	struct background_file *s = &f->background;

	if (s->map_tried || f->payload.length < MAP_FILE_MIN || chunk == 0 ||
	    chunk + 1 >= f->payload.chunk_count)
		return;
	s->map_tried = s->map_wanted = true;
	list_file(t, f);
}

void background_note(struct background *t, struct read_file *f, uint64_t offset, uint64_t size,
		     uint64_t now_ms, const struct reader_note *note)
{
	struct background_file *s = &f->background;
	uint64_t read_bytes = atomic_fetch_add(&s->read_bytes, size) + size;
	bool decrypt = t->ahead && note->decrypt;

	atomic_store(&t->last_read_ms, now_ms);
	if (!f->payload.by_extents && !decrypt)
		return;
	pthread_mutex_lock(&t->lock);
	if (f->payload.by_extents)
		want_map(t, f, offset / SEAL_CHUNK_SIZE);
	if (f->payload.by_extents && t->mode == READ_FILL_AUTO &&
	    read_bytes >= FILL_AUTO_READ_BYTES)
		want(t, f);
	if (decrypt && start_threads(t, &t->crews[QUICK], 1)) {
		t->decrypt_wanted = true;
		if (!t->decrypting)
			atomic_store(&t->waiting, true); /* this request's answer wakes it */
	}
	pthread_mutex_unlock(&t->lock);
}

void background_go(struct background *t)
{
	if (!atomic_load(&t->waiting))
		return;
	pthread_mutex_lock(&t->lock);
	pthread_cond_signal(&t->crews[QUICK].work);
	pthread_mutex_unlock(&t->lock);
}

/* A quarter of the buffers, with those that the threads have. */
static size_t queue_max(struct background *t)
{
	size_t quarter = buffer_cache_count(t->engine->chunks) / 4;

	return quarter > BACKGROUND_CREW ? MIN((size_t)REST_QUEUE_MAX, quarter - BACKGROUND_CREW)
					 : 0;
}

bool background_offer(struct background *t, struct read_file *f, struct buffer *b)
{
	struct crew *c = &t->crews[QUICK];
	bool taken;

	if (t->mode == READ_FILL_OFF)
		return false;
	pthread_mutex_lock(&t->lock);
	taken = !t->stopping && !b->offered && t->rest_count < queue_max(t) &&
		monotonic_ms() >= t->refused_until_ms && start_threads(t, c, BACKGROUND_CREW);
	if (taken) {
		b->offered = true;
		t->rests[t->rest_count++] = (struct job){.kind = JOB_REST, .file = f, .buffer = b};
		pthread_cond_signal(&c->work);
	}
	pthread_mutex_unlock(&t->lock);
	return taken;
}

void background_drop(struct background *t)
{
	pthread_mutex_lock(&t->lock);
	drop_rests(t, NULL);
	pthread_mutex_unlock(&t->lock);
}

void background_forget(struct background *t, struct read_file *f)
{
	struct background_file *s = &f->background;

	pthread_mutex_lock(&t->lock);
	s->ended = true;
	drop_rests(t, f);
	while (s->users > 0)
		pthread_cond_wait(&t->done, &t->lock);
	for (struct read_file **p = &t->files; *p; p = &(*p)->background.next)
		if (*p == f) {
			*p = s->next;
			break;
		}
	/* Under the lock: pick_decrypt() looks at files that readers.c names. */
	readers_forget(t->engine->readers, &f->payload);
	pthread_mutex_unlock(&t->lock);
}
