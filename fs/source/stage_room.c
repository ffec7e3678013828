/*
 * Room in a stage. Job: keep the sum of all copies below stage-size by giving back what was not
 * used for longest. Trusts its own count, which the scan at the start takes from the disk. Must
 * never take from under a reader what it has pinned.
 */
#include "fs/source/stage.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* After that long a disk that was full or failed is tried again. */
#define PAUSE_S 300

void stage_free_if_unused(struct stage *s, struct stage_file *f)
{
	if (!f->dead || f->refs > 0)
		return;
	s->used -= f->bytes;
	atomic_store(&s->counters.staged_bytes, s->used);
	stage_file_free(f);
}

void stage_detach(struct stage *s, struct stage_file *f)
{
	size_t i = 0;

	while (s->files[i] != f)
		i++;
	s->files[i] = s->files[--s->count];
	stage_file_unlink(s->dir_fd, f->id);
	f->dead = true;
	stage_free_if_unused(s, f);
}

struct victim {
	struct stage_file *file;
	size_t extent;
	uint64_t tick;
};

/* True: something of it is here. */
static bool look_for_oldest(struct stage_file *f, struct victim *v)
{
	bool any = false;

	for (size_t i = 0; i < f->extent_count; i++) {
		const struct stage_extent *e = &f->extents[i];

		any = any || e->present || e->pins > 0 || e->leaving;
		if (e->present && e->pins == 0 && !e->leaving && (!v->file || e->tick < v->tick))
			*v = (struct victim){f, i, e->tick};
	}
	return any;
}

static void evict(struct stage *s, const struct victim *v)
{
	struct stage_file *f = v->file;
	struct stage_extent *e = &f->extents[v->extent];
	uint64_t bytes = stage_file_chunk_bytes(f, v->extent, e->present);
	int r;

	if (stage_file_open(s->dir_fd, f) < 0) {
		stage_detach(s, f);
		return;
	}
	e->present = e->stored = 0;
	e->leaving = UINT16_MAX;
	f->refs++;
	pthread_mutex_unlock(&s->lock);
	(void)stage_file_record(f, v->extent, &s->lock);
	r = stage_file_punch(f, v->extent * (uint64_t)SEAL_EXTENT_SIZE, SEAL_EXTENT_SIZE);
	pthread_mutex_lock(&s->lock);
	e->leaving = 0;
	f->refs--;
	atomic_fetch_add(&s->counters.evicted_bytes, bytes);
	if (r == 0) {
		f->bytes -= bytes;
		s->used -= bytes;
	} else if (!f->dead) {
		/* A file system without holes: the whole file has to go. */
		stage_detach(s, f);
		return;
	}
	stage_free_if_unused(s, f);
}

/*
 * False: there is nothing to give back. An object never pushes out its own extents: one that is
 * larger than the stage would be written anew with each pass, and never be found here.
 */
static bool make_room(struct stage *s, const struct stage_file *except)
{
	struct victim v = {0};

	for (size_t i = 0; i < s->count; i++) {
		struct stage_file *f = s->files[i];

		if (f == except)
			continue;
		if (!look_for_oldest(f, &v) && !f->in_use && f->refs == 0) {
			stage_detach(s, f);
			return true;
		}
	}
	if (v.file)
		evict(s, &v);
	return v.file != NULL;
}

bool stage_reserve(struct stage *s, const struct stage_file *f, uint64_t bytes)
{
	while (s->used + bytes > s->limit)
		if (!make_room(s, f))
			return false;
	s->used += bytes;
	atomic_store(&s->counters.staged_bytes, s->used);
	return true;
}

static uint64_t now_s(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

void stage_trouble(struct stage *s, int code)
{
	_cleanup_free_ char *text = NULL;

	atomic_store(&s->paused_until_s, now_s() + PAUSE_S);
	if (atomic_exchange(&s->trouble_told, true) || !s->notice)
		return;
	if (asprintf(&text,
		     "stage %s: %s; models are read without it, nothing more is staged for now",
		     s->path, strerror(-code)) >= 0)
		s->notice(s->notice_arg, text);
}

bool stage_is_paused(struct stage *s)
{
	uint64_t until_s = atomic_load(&s->paused_until_s);

	return until_s > 0 && now_s() < until_s;
}
