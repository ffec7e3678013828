/*
 * One model. Job: count its open files by the way they are served, serve reads from its image, and
 * say when it is wanted. Must never answer an open with passthrough while another open file of the
 * inode goes through the page cache, nor the other way round: the kernel refuses such an open.
 */
#include "fs/resident/resident_internal.h"

#include "crypto/base/clock.h"

#include <errno.h>
#include <string.h>

int resident_new(struct residents *s, struct read_file *file, const char *label,
		 struct resident **ret)
{
	struct resident *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->set = s;
	r->file = file;
	r->label = label;
	r->length = read_file_length(file);
	r->chunk_count = (r->length + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE;
	pthread_mutex_lock(&s->lock);
	r->next = s->first;
	s->first = r;
	/* -EAGAIN: the mount is not ready yet. */
	if (s->allowed || s->obstacle.code == -EAGAIN)
		read_file_keep_out(file, READ_KEEPS_FILL_OUT);
	pthread_mutex_unlock(&s->lock);
	*ret = r;
	return 0;
}

/* Under the lock. */
static void leave(struct resident *r)
{
	if (r->state == RESIDENT_WAITING && !r->held)
		r->state = RESIDENT_NOT;
	else if (r->state == RESIDENT_COMPLETE && r->attached > 0)
		r->leave = true;
	else if (r->state != RESIDENT_NOT)
		r->state = RESIDENT_LEAVING;
	pthread_cond_broadcast(&r->set->changed);
}

bool resident_leave(struct resident *r)
{
	bool gone;

	pthread_mutex_lock(&r->set->lock);
	leave(r);
	gone = r->state == RESIDENT_NOT;
	pthread_mutex_unlock(&r->set->lock);
	return gone;
}

void resident_retire(struct resident *r)
{
	pthread_mutex_lock(&r->set->lock);
	r->retired = true;
	leave(r);
	pthread_mutex_unlock(&r->set->lock);
}

static void unlink_it(struct resident *r)
{
	struct resident **p = &r->set->first;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
}

void resident_free(struct resident *r)
{
	struct residents *s;

	if (!r)
		return;
	s = r->set;
	pthread_mutex_lock(&s->lock);
	leave(r);
	/* The manager frees its memory; once it has ended, we do. */
	while (r->held || r->workers > 0 || (r->state != RESIDENT_NOT && !s->stopping))
		pthread_cond_wait(&s->changed, &s->lock);
	unlink_it(r);
	if (s->active == r)
		s->active = NULL;
	pthread_mutex_unlock(&s->lock);
	image_free(r->image);
	if (r->tables)
		read_file_unuse(r->file);
	free(r->chunks);
	free(r);
}

uint32_t resident_opened(struct resident *r)
{
	uint32_t id;

	pthread_mutex_lock(&r->set->lock);
	/* Where some are attached, all must be. */
	id = r->attached > 0 || (r->state == RESIDENT_COMPLETE && r->cached == 0) ? r->id : 0;
	*(id ? &r->attached : &r->cached) += 1;
	r->used_ms = monotonic_ms();
	pthread_mutex_unlock(&r->set->lock);
	return id;
}

void resident_closed(struct resident *r, bool attached)
{
	pthread_mutex_lock(&r->set->lock);
	*(attached ? &r->attached : &r->cached) -= 1;
	if (r->cached + r->attached == 0)
		r->read_bytes = 0;
	r->used_ms = monotonic_ms();
	if (r->attached == 0 && r->leave)
		leave(r);
	pthread_mutex_unlock(&r->set->lock);
}

/* Under the lock. */
static int want(struct resident *r, struct error *err)
{
	struct residents *s = r->set;
	int code = s->allowed ? read_file_poisoned(r->file, err) : s->obstacle.code;

	if (!s->allowed && err)
		*err = s->obstacle;
	if (code < 0 || r->state != RESIDENT_NOT || s->stopping || r->retired || r->length == 0)
		return code;
	r->state = RESIDENT_WAITING;
	error_clear(&r->why);
	r->cursor = 0;
	r->turn = s->turn++;
	pthread_cond_broadcast(&s->changed);
	return 0;
}

int resident_want(struct resident *r, struct error *err)
{
	int code;

	pthread_mutex_lock(&r->set->lock);
	code = want(r, err);
	pthread_mutex_unlock(&r->set->lock);
	return code;
}

/* Under the lock. A reader has asked for this. */
static void note(struct resident *r, uint64_t offset, uint64_t size)
{
	r->read_bytes += size;
	if (r->state != RESIDENT_NOT || r->read_bytes < RESIDENT_READ_BYTES || !r->set->allowed ||
	    monotonic_ms() < r->retry_ms)
		return;
	if (want(r, NULL) == 0)
		r->cursor = (offset + size) / EXTENT_SIZE;
}

static bool has_image(const struct resident *r)
{
	return r->state == RESIDENT_COMPLETE || r->state == RESIDENT_FILLING;
}

/* Under the lock, and as one of its users. False: it leaves. */
static bool make_present(struct resident *r, uint64_t chunk)
{
	while (has_image(r) && r->chunks[chunk] != CHUNK_PRESENT) {
		if (r->chunks[chunk] == CHUNK_ABSENT) {
			/* The workers go on behind it. */
			r->cursor = chunk / EXTENT_CHUNKS + 1;
			fill_chunk(r, chunk);
		} else {
			pthread_cond_wait(&r->set->changed, &r->set->lock);
		}
	}
	return has_image(r);
}

bool resident_read(struct resident *r, uint64_t offset, uint64_t size, const uint8_t **ret)
{
	struct residents *s = r->set;
	uint64_t last = (offset + size - 1) / SEAL_CHUNK_SIZE;
	bool found;

	pthread_mutex_lock(&s->lock);
	note(r, offset, size);
	found = has_image(r);
	r->users += found;
	for (uint64_t i = offset / SEAL_CHUNK_SIZE; found && i <= last; i++)
		if (!make_present(r, i)) {
			found = false;
			r->users--;
			pthread_cond_broadcast(&s->changed);
		}
	if (found)
		*ret = image_data(r->image, offset);
	pthread_mutex_unlock(&s->lock);
	return found;
}

void resident_read_done(struct resident *r)
{
	pthread_mutex_lock(&r->set->lock);
	if (--r->users == 0 && r->state == RESIDENT_LEAVING)
		pthread_cond_broadcast(&r->set->changed);
	pthread_mutex_unlock(&r->set->lock);
}

void resident_look(struct resident *r, struct resident_look *ret)
{
	pthread_mutex_lock(&r->set->lock);
	*ret = (struct resident_look){
		.state = r->state,
		.bytes = MIN(r->present * SEAL_CHUNK_SIZE, r->length),
		.attached = r->attached,
		.why = r->why,
	};
	pthread_mutex_unlock(&r->set->lock);
}
