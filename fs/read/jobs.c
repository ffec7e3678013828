/*
 * Single jobs of the background. Trusts range.c and chunk.c for checked plaintext. Must never wait
 * for room, hold more than the one buffer in work, or poison a file by decrypting ahead.
 */
#include "fs/read/jobs.h"

#include "crypto/base/clock.h"
#include "fs/read/pagecache.h"
#include "fs/read/read_internal.h"

#include <string.h>

void job_give_back(const struct job *job, size_t served)
{
	buffer_cache_unpin(job->file->engine->chunks, job->buffer, served);
	buffer_cache_unreserve(job->file->engine->chunks, 1);
}

static void decrypt_one(struct read_file *f, uint64_t chunk)
{
	struct buffer_cache *cache = f->engine->chunks;
	struct buffer *b;
	bool load;

	if (buffer_cache_reserve(cache, 1, 0) < 0)
		return;
	b = buffer_cache_pin(cache, f, chunk, &load);
	if (load)
		buffer_cache_loaded(cache, b, file_load_ahead(f, chunk, b), NULL);
	job_give_back(&(struct job){.file = f, .buffer = b}, 0);
}

static int fill_one(struct read_file *f, uint64_t chunk)
{
	struct pagecache *cache = f->engine->pagecache;
	struct read_result result = {0};
	int r = read_file_background(f, chunk * SEAL_CHUNK_SIZE, SEAL_CHUNK_SIZE, true, &result);

	if (r == 0)
		r = pagecache_push(cache, f, chunk, result.pieces[0].data, result.pieces[0].size,
				   true);
	else
		pagecache_give_up(cache, f, chunk);
	read_result_clear(&result);
	return r;
}

static int push_rest(const struct job *job)
{
	struct read_file *f = job->file;
	struct pagecache *cache = f->engine->pagecache;
	struct buffer *b = job->buffer;
	int r = 0;
	bool healthy = !atomic_load(&f->payload.abandoned);

	if (healthy)
		r = pagecache_take(cache, f, b->index, true, monotonic_ms());
	if (healthy && r == 0)
		r = pagecache_push(cache, f, b->index, b->data, b->filled, false);
	/* What the kernel has is the first that makes room. */
	job_give_back(job, healthy && r == 0 ? b->filled : 0);
	return r;
}

/* A gguf_read. */
static int read_header(void *arg, uint64_t offset, uint8_t *buf, size_t size)
{
	struct read_file *f = arg;
	struct read_result result = {0};
	int r = read_file_background(f, offset, size, false, &result);

	for (size_t i = 0; i < result.count; i++) {
		memcpy(buf, result.pieces[i].data, result.pieces[i].size);
		buf += result.pieces[i].size;
	}
	read_result_clear(&result);
	return r;
}

static void find_map(struct read_file *f)
{
	struct gguf_map *map = NULL;

	if (gguf_map_parse(read_header, f, f->payload.length, &map) == 0)
		readers_set_map(f->engine->readers, &f->payload, map);
}

int job_do(const struct job *job)
{
	switch (job->kind) {
	case JOB_DECRYPT:
		decrypt_one(job->file, job->chunk);
		return 0;
	case JOB_REST:
		return push_rest(job);
	case JOB_FILL:
		return fill_one(job->file, job->chunk);
	case JOB_MAP:
		find_map(job->file);
		return 0;
	case JOB_NONE:
		break;
	}
	return 0;
}
