/*
 * The staged source. Job: answer from the stage what is there, from the origin what is not, and
 * offer that to the stage. Trusts neither: both are checked by who reads. Must never let the stage
 * decide what exists, nor make a reader fail or wait because of it.
 */
#include "fs/source/staged.h"

#include "fs/source/stage_writer.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define TELL_AGAIN_S 10

struct staged_source {
	struct source source;
	struct source *origin;
	struct stage *stage;
	struct source_ops ops;
	atomic_ullong told_s; /* when damage was last told of; 0: never */
};

static char *staged_describe(const struct source *base, const char *name)
{
	const struct staged_source *s = (const struct staged_source *)base;

	return s->origin->ops->describe(s->origin, name);
}

static int staged_list(struct source *base, struct source_listing *ret, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;

	return s->origin->ops->list(s->origin, ret, err);
}

static bool is_payload(const char *name)
{
	size_t n = strlen(name), suffix = strlen(SEAL_PAYLOAD_SUFFIX);

	return n > suffix && strcmp(name + n - suffix, SEAL_PAYLOAD_SUFFIX) == 0;
}

static int staged_stat(struct source *base, const char *name, struct source_object *ret,
		       struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;
	_cleanup_free_ char *label = is_payload(name) ? staged_describe(base, name) : NULL;
	int r = s->origin->ops->stat(s->origin, name, ret, err);

	if (r == 0 && label)
		stage_attach(s->stage, label, ret->version, ret->size);
	return r;
}

/* NULL: not staged. To be released. */
static struct stage_file *acquire(struct staged_source *s, const char *name, const char *version)
{
	_cleanup_free_ char *label = NULL;

	if (!version || !is_payload(name))
		return NULL;
	label = staged_describe(&s->source, name);
	return label ? stage_acquire(s->stage, label, version) : NULL;
}

/* What of a range is whole chunks. */
static void offer(struct staged_source *s, struct stage_file *f, uint64_t offset, size_t size,
		  const uint8_t *buf)
{
	uint64_t first = (offset + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE * SEAL_CHUNK_SIZE,
		 end = offset + size;

	if (end > f->size)
		return;
	if (end < f->size)
		end = end / SEAL_CHUNK_SIZE * SEAL_CHUNK_SIZE;
	if (first < end)
		(void)stage_writer_offer(s->stage->writer, f, first, (size_t)(end - first),
					 buf + (first - offset));
}

static void count(atomic_ullong *reads, atomic_ullong *bytes, size_t size)
{
	atomic_fetch_add(reads, 1);
	atomic_fetch_add(bytes, size);
}

/* Not for every chunk of a copy that is bad all over. */
static void tell_damage(struct staged_source *s, const struct stage_file *f, uint64_t offset,
			const char *what)
{
	_cleanup_free_ char *text = NULL;
	struct timespec now = {0};
	unsigned long long told;

	atomic_fetch_add(&s->stage->counters.damaged, 1);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	told = atomic_load(&s->told_s);
	if (!s->stage->notice || (told && (unsigned long long)now.tv_sec < told + TELL_AGAIN_S) ||
	    !atomic_compare_exchange_strong(&s->told_s, &told, (unsigned long long)now.tv_sec + 1))
		return;
	if (asprintf(&text, "stage %s: the copy of %s %s at offset %llu; fetched again",
		     s->stage->path, f->label, what, (unsigned long long)offset) >= 0)
		s->stage->notice(s->stage->notice_arg, text);
}

/* A piece that is alike: *size in, how much was read out. -EAGAIN: it is not there after all. */
static int read_piece(struct staged_source *s, struct stage_file *f, const char *name,
		      uint64_t offset, size_t *size, uint8_t *buf, struct error *err)
{
	struct stage_counters *c = &s->stage->counters;
	bool present;
	int r;

	*size = stage_pin(s->stage, f, offset, *size, &present);
	if (!present) {
		r = s->origin->ops->read(s->origin, name, f->version, offset, *size, buf, err);
		count(&c->misses, &c->miss_bytes, *size);
		if (r == 0)
			offer(s, f, offset, *size, buf);
		return r;
	}
	r = stage_file_read(f, offset, *size, buf);
	stage_unpin(s->stage, f, offset);
	if (r == 0) {
		count(&c->hits, &c->hit_bytes, *size);
		return 0;
	}
	stage_distrust(s->stage, f, offset, *size);
	tell_damage(s, f, offset, r == -ENODATA ? "was cut off" : "cannot be read");
	return -EAGAIN;
}

static int staged_read(struct source *base, const char *name, const char *version, uint64_t offset,
		       size_t size, uint8_t *buf, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;
	struct stage_file *f = acquire(s, name, version);
	int r = 0;

	if (!f)
		return s->origin->ops->read(s->origin, name, version, offset, size, buf, err);
	while (size > 0 && r == 0) {
		size_t piece = size;

		r = read_piece(s, f, name, offset, &piece, buf, err);
		if (r == -EAGAIN) {
			r = 0;
			continue;
		}
		offset += piece;
		buf += piece;
		size -= piece;
	}
	stage_release(s->stage, f);
	return r;
}

/* Good bytes are in buf: is the copy the same? */
static void mend(struct staged_source *s, struct stage_file *f, uint64_t offset, size_t size,
		 const uint8_t *buf)
{
	while (size > 0) {
		bool present;
		size_t piece = stage_pin(s->stage, f, offset, size, &present);
		_cleanup_free_ uint8_t *copy = present ? malloc(piece) : NULL;
		int r = copy ? stage_file_read(f, offset, piece, copy) : -ENOMEM;
		bool differs = r < 0 || memcmp(copy, buf, piece) != 0;

		if (present)
			stage_unpin(s->stage, f, offset);
		if (present && differs) {
			stage_distrust(s->stage, f, offset, piece);
			tell_damage(s, f, offset, "is damaged");
		}
		if (!present || differs)
			offer(s, f, offset, piece, buf);
		offset += piece;
		buf += piece;
		size -= piece;
	}
}

static int staged_read_fresh(struct source *base, const char *name, const char *version,
			     uint64_t offset, size_t size, uint8_t *buf, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;
	struct stage_file *f;
	int r = s->origin->ops->read(s->origin, name, version, offset, size, buf, err);

	if (r < 0)
		return r;
	count(&s->stage->counters.misses, &s->stage->counters.miss_bytes, size);
	f = acquire(s, name, version);
	if (f) {
		mend(s, f, offset, size, buf);
		stage_release(s->stage, f);
	}
	return 0;
}

static int staged_put(struct source *base, const char *name, const void *data, size_t size,
		      struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;

	return s->origin->ops->put(s->origin, name, data, size, err);
}

static int staged_remove(struct source *base, const char *name, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;

	return s->origin->ops->remove(s->origin, name, err);
}

static int staged_writer_new(struct source *base, const char *name, uint64_t size, size_t part_size,
			     struct source_writer **ret, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;

	return s->origin->ops->writer_new(s->origin, name, size, part_size, ret, err);
}

static void staged_free(struct source *base)
{
	struct staged_source *s = (struct staged_source *)base;

	stage_free(s->stage);
	source_free(s->origin);
	free(s);
}

static const struct source_ops staged_ops = {
	.free = staged_free,
	.describe = staged_describe,
	.list = staged_list,
	.stat = staged_stat,
	.read = staged_read,
	.read_fresh = staged_read_fresh,
	.put = staged_put,
	.remove = staged_remove,
	.writer_new = staged_writer_new,
};

int source_stage(struct source **s, const struct stage_options *options, struct error *err)
{
	_cleanup_free_ struct staged_source *staged = calloc(1, sizeof(*staged));
	int r;

	if (!staged)
		return -ENOMEM;
	r = stage_open(options, &staged->stage, err);
	if (r < 0)
		return r;
	staged->origin = *s;
	staged->ops = staged_ops;
	staged->ops.preferred_size = staged->origin->ops->preferred_size;
	staged->source.ops = &staged->ops;
	*s = &steal_ptr(staged)->source;
	return 0;
}

const struct stage_counters *source_stage_counters(const struct source *s)
{
	const struct staged_source *staged = (const struct staged_source *)s;

	return s->ops->list == staged_list ? &staged->stage->counters : NULL;
}
