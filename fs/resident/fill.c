/*
 * Filling. Job: load the chunks of one model into its image on all cores, in order from where a
 * reader is; a reader that needs a chunk loads it itself. Trusts fs/read for checked plaintext. A
 * chunk counts as present only after its check, and one failure ends the fill.
 */
#include "fs/resident/resident_internal.h"

#include <errno.h>

void fill_chunk(struct resident *r, uint64_t chunk)
{
	struct residents *s = r->set;
	uint64_t offset = chunk * SEAL_CHUNK_SIZE;
	struct error err = {0};
	int code;

	r->chunks[chunk] = CHUNK_LOADING;
	pthread_mutex_unlock(&s->lock);
	code = read_file_load(r->file, chunk, image_to_fill(r->image, offset), &err);
	if (code == 0)
		image_filled(r->image, offset,
			     (size_t)MIN((uint64_t)SEAL_CHUNK_SIZE, r->length - offset));
	pthread_mutex_lock(&s->lock);
	r->chunks[chunk] = code == 0 ? CHUNK_PRESENT : CHUNK_ABSENT;
	r->present += code == 0;
	if (code < 0)
		resident_fail(r, code, &err);
	pthread_cond_broadcast(&s->changed);
}

static bool is_wanted(const struct resident *r, uint64_t extent)
{
	uint64_t first = extent * EXTENT_CHUNKS;

	for (uint64_t i = first; i < MIN(first + EXTENT_CHUNKS, r->chunk_count); i++)
		if (r->chunks[i] == CHUNK_ABSENT)
			return true;
	return false;
}

/* False: none is left. */
static bool next_extent(struct resident *r, uint64_t *ret)
{
	uint64_t count = (r->chunk_count + EXTENT_CHUNKS - 1) / EXTENT_CHUNKS;

	for (uint64_t n = 0; n < count; n++) {
		uint64_t extent = (r->cursor + n) % count;

		if (!is_wanted(r, extent))
			continue;
		r->cursor = extent + 1;
		*ret = extent;
		return true;
	}
	return false;
}

static bool goes_on(const struct resident *r)
{
	return r->state == RESIDENT_FILLING && !r->set->stopping;
}

static void fill_extent(struct resident *r, uint64_t extent)
{
	uint64_t first = extent * EXTENT_CHUNKS;

	for (uint64_t i = first; i < MIN(first + EXTENT_CHUNKS, r->chunk_count); i++)
		if (goes_on(r) && r->chunks[i] == CHUNK_ABSENT)
			fill_chunk(r, i);
}

static void run_worker(void *arg)
{
	struct resident *r = arg;
	struct residents *s = r->set;
	struct error err = {0};
	uint64_t extent;

	pthread_mutex_lock(&s->lock);
	while (goes_on(r) && next_extent(r, &extent)) {
		if (room_remains(s)) {
			fill_extent(r, extent);
			continue;
		}
		error_set(&err, -ENOMEM, "memory has become short while it was decrypted");
		resident_fail(r, -ENOMEM, &err);
	}
	r->workers--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

int fill_start(struct resident *r, struct error *err)
{
	struct residents *s = r->set;
	int code = 0;

	while (r->workers < s->worker_count && code == 0) {
		code = pool_submit(s->workers, run_worker, r);
		r->workers += code == 0;
	}
	if (r->workers > 0)
		return 0;
	return error_set(err, code, "no thread can be started to decrypt it");
}
