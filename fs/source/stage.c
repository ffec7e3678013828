/*
 * The copies in a stage. Job: know which chunks of which object are here, keep what is in use from
 * being evicted, and take in what the writer brings. Trusts no copy: an object's label, version and
 * size only decide whether it is worth reading. Must never take up more room than it was given, and
 * never fail a reader.
 */
#include "fs/source/stage.h"

#include "fs/source/stage_writer.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

/* So many bad chunks of a file are an accident; more, and only what was written since the start is
 * believed: the rest is fetched again in large pieces and not chunk by chunk. */
#define DAMAGED_MAX 16

static struct stage_file *find(const struct stage *s, const char *label)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->files[i]->label, label) == 0)
			return s->files[i];
	return NULL;
}

void stage_hold(struct stage *s, struct stage_file *f)
{
	pthread_mutex_lock(&s->lock);
	f->refs++;
	pthread_mutex_unlock(&s->lock);
}

void stage_release(struct stage *s, struct stage_file *f)
{
	pthread_mutex_lock(&s->lock);
	f->refs--;
	stage_free_if_unused(s, f);
	pthread_mutex_unlock(&s->lock);
}

struct stage_file *stage_acquire(struct stage *s, const char *label, const char *version)
{
	struct stage_file *f;

	pthread_mutex_lock(&s->lock);
	f = find(s, label);
	if (f && f->in_use && strcmp(f->version, version) == 0)
		f->refs++;
	else
		f = NULL;
	pthread_mutex_unlock(&s->lock);
	return f;
}

/* 1: there is one already. 0: room for one has been reserved. */
static int attach_known(struct stage *s, const char *label, const char *version, uint64_t size)
{
	struct stage_file *f;
	int r = -ENOSPC;

	pthread_mutex_lock(&s->lock);
	f = find(s, label);
	if (f && (strcmp(f->version, version) != 0 || f->size != size ||
		  stage_file_open(s->dir_fd, f) < 0)) {
		stage_detach(s, f);
		f = NULL;
	}
	if (f) {
		f->in_use = true;
		r = 1;
	} else if (!stage_is_paused(s) && stage_reserve(s, NULL, stage_file_overhead(size))) {
		r = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void attach_new(struct stage *s, const char *label, const char *version, uint64_t size)
{
	struct stage_file *f = NULL, **files;
	int r = stage_file_create(s->dir_fd, label, version, size, &f);

	pthread_mutex_lock(&s->lock);
	files = r == 0 ? reallocarray(s->files, s->count + 1, sizeof(struct stage_file *)) : NULL;
	if (files) {
		f->in_use = true;
		s->files = files;
		s->files[s->count++] = f;
	} else {
		s->used -= stage_file_overhead(size);
	}
	pthread_mutex_unlock(&s->lock);
	if (files)
		return;
	if (f)
		stage_file_unlink(s->dir_fd, f->id);
	stage_file_free(f);
	stage_trouble(s, r < 0 ? r : -ENOMEM);
}

void stage_attach(struct stage *s, const char *label, const char *version, uint64_t size)
{
	if (size == 0 || size > SEAL_LENGTH_MAX)
		return;
	pthread_mutex_lock(&s->attach_lock);
	if (attach_known(s, label, version, size) == 0)
		attach_new(s, label, version, size);
	pthread_mutex_unlock(&s->attach_lock);
}

static bool is_present(const struct stage_file *f, uint64_t chunk)
{
	return f->extents[chunk / STAGE_CHUNKS].present >> chunk % STAGE_CHUNKS & 1;
}

size_t stage_pin(struct stage *s, struct stage_file *f, uint64_t offset, size_t size,
		 bool *ret_present)
{
	uint64_t chunk = offset / SEAL_CHUNK_SIZE, end = offset + size, at;
	struct stage_extent *e = &f->extents[chunk / STAGE_CHUNKS];
	bool present = false;

	/* Beyond what we know of: the origin answers. */
	*ret_present = false;
	if (offset >= f->size || end > f->size)
		return size;
	pthread_mutex_lock(&s->lock);
	present = !f->dead && is_present(f, chunk);
	at = ++chunk * SEAL_CHUNK_SIZE;
	while (at < end && (!present || at % SEAL_EXTENT_SIZE != 0) &&
	       is_present(f, chunk) == present)
		at = ++chunk * SEAL_CHUNK_SIZE;
	if (present) {
		e->pins++;
		e->tick = ++s->tick;
		e->touched = true;
	}
	pthread_mutex_unlock(&s->lock);
	*ret_present = present;
	return (size_t)(MIN(at, end) - offset);
}

void stage_unpin(struct stage *s, struct stage_file *f, uint64_t offset)
{
	pthread_mutex_lock(&s->lock);
	f->extents[offset / SEAL_EXTENT_SIZE].pins--;
	pthread_mutex_unlock(&s->lock);
}

/* The chunks of an extent that a range of it touches. */
static uint16_t chunk_mask(uint64_t offset, size_t size)
{
	uint64_t first = offset / SEAL_CHUNK_SIZE, last = (offset + size - 1) / SEAL_CHUNK_SIZE;
	unsigned mask = (2U << (last - first)) - 1;

	return (uint16_t)(mask << first % STAGE_CHUNKS);
}

static void punch_chunks(const struct stage_file *f, size_t index, uint16_t chunks)
{
	for (unsigned i = 0; i < STAGE_CHUNKS; i++)
		if (chunks >> i & 1)
			(void)stage_file_punch(f, stage_chunk_offset(index, i), SEAL_CHUNK_SIZE);
}

/* The chunks of one extent are not here any more. Returns how many were. */
static unsigned forget_chunks(struct stage *s, struct stage_file *f, size_t index, uint16_t chunks)
{
	struct stage_extent *e = &f->extents[index];
	uint64_t bytes;

	pthread_mutex_lock(&s->lock);
	chunks &= e->present;
	e->present &= (uint16_t)~chunks;
	e->stored &= e->present;
	e->leaving |= chunks;
	pthread_mutex_unlock(&s->lock);
	if (!chunks)
		return 0;
	(void)stage_file_record(f, index, &s->lock);
	punch_chunks(f, index, chunks);
	bytes = stage_file_chunk_bytes(f, index, chunks);
	pthread_mutex_lock(&s->lock);
	e->leaving &= (uint16_t)~chunks;
	s->used -= bytes;
	f->bytes -= bytes;
	atomic_store(&s->counters.staged_bytes, s->used);
	pthread_mutex_unlock(&s->lock);
	return (unsigned)__builtin_popcount(chunks);
}

static bool is_hopeless(struct stage *s, struct stage_file *f, unsigned damaged)
{
	bool hopeless;

	pthread_mutex_lock(&s->lock);
	hopeless = f->damaged <= DAMAGED_MAX && f->damaged + damaged > DAMAGED_MAX;
	f->damaged += damaged;
	pthread_mutex_unlock(&s->lock);
	return hopeless;
}

static void forget_older(struct stage *s, struct stage_file *f)
{
	for (size_t i = 0; i < f->extent_count; i++) {
		uint16_t older;

		pthread_mutex_lock(&s->lock);
		older = f->extents[i].present & (uint16_t)~f->extents[i].stored;
		pthread_mutex_unlock(&s->lock);
		(void)forget_chunks(s, f, i, older);
	}
}

void stage_distrust(struct stage *s, struct stage_file *f, uint64_t offset, size_t size)
{
	unsigned damaged = 0;

	while (size > 0) {
		size_t piece = MIN(size, (size_t)(SEAL_EXTENT_SIZE - offset % SEAL_EXTENT_SIZE));

		damaged += forget_chunks(s, f, (size_t)(offset / SEAL_EXTENT_SIZE),
					 chunk_mask(offset, piece));
		offset += piece;
		size -= piece;
	}
	if (is_hopeless(s, f, damaged))
		forget_older(s, f);
}

/*
 * Which of the chunks are to be written; room for them is reserved and the extent pinned. *size
 * becomes less when there is room for a part only: a small stage would never hold anything of large
 * extents. 0: none, or not now.
 */
static uint16_t begin_store(struct stage *s, struct stage_file *f, uint64_t offset, size_t *size)
{
	size_t index = (size_t)(offset / SEAL_EXTENT_SIZE);
	struct stage_extent *e = &f->extents[index];
	uint64_t skipped = 0;

	for (;;) {
		uint16_t wanted = chunk_mask(offset, *size),
			 missing = wanted & (uint16_t)~e->present;
		uint64_t bytes = stage_file_chunk_bytes(f, index, missing);
		size_t fits;

		skipped = MAX(skipped, bytes);
		if (!missing || f->dead || (wanted & e->leaving))
			return 0;
		e->pins++;
		if (stage_reserve(s, f, bytes)) {
			atomic_fetch_add(&s->counters.skipped_bytes, skipped - bytes);
			f->bytes += bytes;
			return missing;
		}
		e->pins--;
		fits = s->limit > s->used ? (size_t)MIN((s->limit - s->used) / SEAL_CHUNK_SIZE,
							(uint64_t)STAGE_CHUNKS)
					  : 0;
		if (fits == 0 || fits * SEAL_CHUNK_SIZE >= *size) {
			atomic_fetch_add(&s->counters.skipped_bytes, skipped);
			return 0;
		}
		*size = fits * SEAL_CHUNK_SIZE;
	}
}

static void end_store(struct stage *s, struct stage_file *f, uint64_t offset, uint16_t stored,
		      int result)
{
	size_t index = (size_t)(offset / SEAL_EXTENT_SIZE);
	struct stage_extent *e = &f->extents[index];
	uint64_t bytes = stage_file_chunk_bytes(f, index, stored);

	e->pins--;
	if (result == 0) {
		e->present |= stored;
		e->stored |= stored;
		e->tick = ++s->tick;
		atomic_fetch_add(&s->counters.written_bytes, bytes);
	} else {
		f->bytes -= bytes;
		s->used -= bytes;
		atomic_fetch_add(&s->counters.skipped_bytes, bytes);
	}
	atomic_store(&s->counters.staged_bytes, s->used);
}

void stage_store(struct stage *s, struct stage_file *f, uint64_t offset, size_t size, uint8_t *data)
{
	uint16_t chunks;
	int r;

	if (stage_is_paused(s)) {
		atomic_fetch_add(&s->counters.skipped_bytes, size);
		return;
	}
	pthread_mutex_lock(&s->lock);
	chunks = begin_store(s, f, offset, &size);
	pthread_mutex_unlock(&s->lock);
	if (!chunks)
		return;
	r = stage_file_write(f, offset, size, data);
	if (r == 0)
		r = stage_file_sync(f);
	if (r < 0)
		punch_chunks(f, (size_t)(offset / SEAL_EXTENT_SIZE), chunks);
	pthread_mutex_lock(&s->lock);
	end_store(s, f, offset, chunks, r);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		r = stage_file_record(f, (size_t)(offset / SEAL_EXTENT_SIZE), &s->lock);
	if (r < 0)
		stage_trouble(s, r);
}

/* Half of what the disk has for us: what is free, and what we have already. */
static uint64_t default_limit(const struct stage *s)
{
	struct statvfs fs;

	if (fstatvfs(s->dir_fd, &fs) < 0)
		return STAGE_SIZE_MIN;
	return MAX(((uint64_t)fs.f_bavail * fs.f_frsize + s->used) / 2, STAGE_SIZE_MIN);
}

static int stage_read(struct stage *s, const struct stage_options *options, struct error *err)
{
	int r = stage_folder_open(s->path, &s->dir_fd, &s->lock_fd, err);

	if (r == 0)
		r = stage_folder_scan(s);
	if (r < 0)
		return error_set(err, r, "cannot read stage %s: %s", s->path, strerror(-r));
	s->limit = options->size_bytes ? options->size_bytes : default_limit(s);
	atomic_store(&s->counters.limit_bytes, s->limit);
	/* It may have been larger last time. */
	pthread_mutex_lock(&s->lock);
	(void)stage_reserve(s, NULL, 0);
	atomic_store(&s->counters.staged_bytes, s->used);
	pthread_mutex_unlock(&s->lock);
	return stage_writer_new(s, options->memory_bytes, &s->writer);
}

int stage_open(const struct stage_options *options, struct stage **ret, struct error *err)
{
	_cleanup_(stage_freep) struct stage *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dir_fd = s->lock_fd = -1;
	s->notice = options->notice;
	s->notice_arg = options->arg;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->attach_lock, NULL);
	s->path = strdup(options->dir);
	if (!s->path)
		return -ENOMEM;
	r = stage_read(s, options, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

static void save_ticks(struct stage *s)
{
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; k < s->files[i]->extent_count; k++)
			if (s->files[i]->extents[k].touched)
				(void)stage_file_record(s->files[i], k, &s->lock);
}

void stage_free(struct stage *s)
{
	if (!s)
		return;
	stage_writer_free(s->writer);
	save_ticks(s);
	for (size_t i = 0; i < s->count; i++)
		stage_file_free(s->files[i]);
	free(s->files);
	closep(&s->dir_fd);
	closep(&s->lock_fd);
	pthread_mutex_destroy(&s->attach_lock);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}
