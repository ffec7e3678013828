/*
 * The models of a mount that are in memory. Job: one thread that begins fills, completes them, and
 * frees what leaves, so that no thread that answers requests waits for memory or for the keeper.
 */
#include "fs/resident/resident_internal.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "crypto/base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LOOK_MS 500
#define FOREVER_MS 3600000

static void note_why(struct resident *r, int code, const struct error *err)
{
	r->why = err && err->code ? *err : (struct error){.code = code};
	r->retry_ms = monotonic_ms() + RESIDENT_RETRY_MS;
}

void resident_fail(struct resident *r, int code, const struct error *err)
{
	if (r->state != RESIDENT_FILLING)
		return;
	note_why(r, code, err);
	r->state = RESIDENT_LEAVING;
	/* The end of the daemon is no failure. */
	if (code != -ECANCELED)
		log_warning("\"%s\": not made resident: %s", r->label, error_text(&r->why, code));
}

/* Without the lock. */
static void let_go(struct resident *r, struct image *image, uint32_t id, bool tables)
{
	struct residents *s = r->set;

	if (id != 0 && !s->stopping)
		s->options.detach(s->options.arg, id);
	image_free(image);
	if (tables)
		read_file_unuse(r->file);
}

static void end(struct resident *r)
{
	struct residents *s = r->set;
	bool was_complete = r->id != 0, tables = r->tables;
	struct image *image = steal_ptr(r->image);
	uint32_t id = r->id;

	r->held = true;
	r->id = 0;
	r->leave = r->tables = false;
	free(steal_ptr(r->chunks));
	pthread_mutex_unlock(&s->lock);
	let_go(r, image, id, tables);
	if (was_complete)
		log_notice("\"%s\": no longer resident", r->label);
	pthread_mutex_lock(&s->lock);
	if (image)
		s->bytes -= resident_size(r);
	if (s->active == r)
		s->active = NULL;
	r->present = 0;
	r->held = false;
	r->state = RESIDENT_NOT;
	/* What was refused comes through the page cache for now. */
	read_file_keep_out(r->file, r->why.code ? READ_KEEPS_NOTHING_OUT : READ_KEEPS_FILL_OUT);
	pthread_cond_broadcast(&s->changed);
}

/* Without the lock. */
static int prepare(struct resident *r, struct error *err)
{
	int code = read_file_use(r->file, NULL, 0, err);

	if (code < 0)
		return code;
	r->tables = true;
	r->chunks = calloc(r->chunk_count, 1);
	return r->chunks ? image_new(r->length, &r->image, err) : -ENOMEM;
}

/* False: it has to wait for what leaves. */
static bool start(struct resident *r)
{
	struct residents *s = r->set;
	struct error err = {0};
	int code;

	r->held = true;
	code = room_make(r, &err);
	r->held = code != -EAGAIN && code != -EBUSY;
	if (!r->held) {
		pthread_cond_broadcast(&s->changed);
		return code == -EAGAIN;
	}
	pthread_mutex_unlock(&s->lock);
	if (code == 0)
		code = prepare(r, &err);
	if (code == 0)
		read_file_keep_out(r->file, READ_KEEPS_ALL_OUT);
	if (code < 0 && code != -ECANCELED)
		log_warning("\"%s\": not made resident: %s; it is served through the page cache",
			    r->label, error_text(&err, code));
	pthread_mutex_lock(&s->lock);
	r->held = false;
	if (r->image)
		s->bytes += resident_size(r);
	if (code == 0 && r->state == RESIDENT_WAITING) {
		s->active = r;
		r->state = RESIDENT_FILLING;
		r->began_ms = monotonic_ms();
		code = fill_start(r, &err);
	}
	if (code < 0) {
		note_why(r, code, &err);
		r->state = RESIDENT_LEAVING;
	}
	return true;
}

static void complete(struct resident *r)
{
	struct residents *s = r->set;
	struct error err = {0};
	uint32_t id = 0;
	int code;

	r->held = true;
	pthread_mutex_unlock(&s->lock);
	code = image_seal(r->image, &err);
	if (code == 0)
		code = s->options.attach(s->options.arg, image_fd(r->image), &id, &err);
	read_file_unuse(r->file);
	pthread_mutex_lock(&s->lock);
	r->held = r->tables = false;
	r->id = code == 0 ? id : 0;
	s->active = NULL;
	if (code < 0) {
		/* Neither will another model. */
		s->allowed = false;
		s->obstacle = err;
		resident_fail(r, code, &err);
		return;
	}
	r->used_ms = monotonic_ms();
	if (r->state == RESIDENT_FILLING)
		r->state = RESIDENT_COMPLETE;
	log_notice("\"%s\": resident, %" PRIu64 " MiB in %" PRIu64 " ms%s", r->label,
		   r->length >> 20, r->used_ms - r->began_ms,
		   image_huge_pages() ? ""
				      : "; without huge pages, see shmem_enabled in sealedfs(8)");
}

/* Memory is wanted elsewhere: what nobody uses goes. */
static void make_way(struct residents *s)
{
	struct resident *victim = s->bytes > 0 && !room_remains(s) ? room_victim(s) : NULL;

	if (!victim)
		return;
	note_why(victim, -ENOMEM, NULL);
	error_clear(&victim->why);
	error_set(&victim->why, -ENOMEM, "memory had become short");
	victim->state = RESIDENT_LEAVING;
}

/* True: something was done, and the list may be another one. */
static bool step(struct residents *s)
{
	struct resident *next = NULL;

	for (struct resident *r = s->first; r; r = r->next) {
		if (r->state == RESIDENT_LEAVING && r->workers + r->users + r->attached == 0) {
			end(r);
			return true;
		}
		if (r->state == RESIDENT_FILLING && r->present == r->chunk_count &&
		    r->workers == 0) {
			complete(r);
			return true;
		}
		if (r->state == RESIDENT_WAITING && (!next || r->turn < next->turn))
			next = r;
	}
	if (!next || s->active)
		return false;
	return start(next);
}

static void *manage(void *arg)
{
	struct residents *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		if (step(s))
			continue;
		(void)monotonic_cond_wait(&s->changed, &s->lock,
					  monotonic_ms() + (s->bytes > 0 ? LOOK_MS : FOREVER_MS));
		make_way(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int residents_new(const struct residents_options *options, struct residents **ret,
		  struct error *err)
{
	_cleanup_(residents_freep) struct residents *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->options = *options;
	s->worker_count = cpu_count();
	pthread_mutex_init(&s->lock, NULL);
	monotonic_cond_init(&s->changed);
	error_set(&s->obstacle, -EAGAIN, "the mount is not ready yet");
	r = pool_new(s->worker_count, &s->workers);
	if (r == 0)
		r = thread_start(&s->manager, manage, s, err);
	if (r < 0)
		return r;
	s->managed = true;
	*ret = steal_ptr(s);
	return 0;
}

void residents_allow(struct residents *s, const struct error *obstacle)
{
	pthread_mutex_lock(&s->lock);
	s->allowed = !obstacle;
	s->obstacle = obstacle ? *obstacle : (struct error){0};
	for (const struct resident *r = s->first; obstacle && r; r = r->next)
		read_file_keep_out(r->file, READ_KEEPS_NOTHING_OUT);
	pthread_mutex_unlock(&s->lock);
	if (obstacle)
		log_error_object(LOG_WARNING, obstacle, obstacle->code,
				 "models are served through the page cache");
}

void residents_stop(struct residents *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

bool residents_idle(struct residents *s, unsigned wait_ms)
{
	uint64_t deadline = monotonic_ms() + wait_ms;
	bool idle;

	pthread_mutex_lock(&s->lock);
	do {
		idle = true;
		for (const struct resident *r = s->first; r; r = r->next)
			idle = idle && r->workers == 0 && !r->held;
	} while (!idle && monotonic_cond_wait(&s->changed, &s->lock, deadline) == 0);
	pthread_mutex_unlock(&s->lock);
	/* It waits for nothing now. */
	if (idle && s->managed) {
		pthread_join(s->manager, NULL);
		s->managed = false;
	}
	return idle;
}

void residents_free(struct residents *s)
{
	if (!s)
		return;
	residents_stop(s);
	if (s->managed)
		pthread_join(s->manager, NULL);
	pool_free(s->workers);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void residents_look(struct residents *s, struct residents_look *ret)
{
	*ret = (struct residents_look){.limit = s->options.limit, .huge_pages = image_huge_pages()};
	pthread_mutex_lock(&s->lock);
	ret->bytes = s->bytes;
	ret->obstacle = s->obstacle;
	pthread_mutex_unlock(&s->lock);
}
