/*
 * The staged source. Job: read staged chunks from the stage, others from the origin, and offer
 * those to the stage. Trusts neither: the read path checks both. Must never let the stage decide
 * which objects exist, nor make a reader fail or wait because of it.
 */
#include "fs/stage/staged.h"

#include "crypto/base/clock.h"
#include "crypto/name.h"
#include "fs/source/source_backend.h"
#include "fs/stage/writer.h"

#include <errno.h>
#include <string.h>

#define TELL_AGAIN_MS 10000

struct staged_source {
	struct source source;
	struct source *origin;
	struct stage *stage;
	struct stage_writer *writer;
	struct source_ops ops;
	atomic_ullong told_ms; /* when damage was last reported; 0: never */
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

static char *staged_nearby(struct source *base)
{
	return source_nearby(((struct staged_source *)base)->origin);
}

static bool payload_id(const char *name, uint64_t *ret)
{
	if (!name_is_payload(name))
		return false;
	*ret = strtoull(strrchr(name, '.') - SEAL_PAYLOAD_ID_DIGITS, NULL, 16);
	return true;
}

static int staged_stat(struct source *base, const char *name, struct source_object *ret,
		       struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;
	int r = source_stat(s->origin, name, ret, err);
	uint64_t id;

	if (r == 0 && payload_id(name, &id))
		stage_attach(s->stage, id, ret->size);
	return r;
}

/* NULL: the range is not staged, and is not going to be. */
static struct stage_payload *find(struct staged_source *s, const char *name, const char *version,
				  uint64_t offset, size_t size)
{
	struct stage_payload *p;
	uint64_t id;

	/* Without a version: whatever is there now. */
	if (!version || !payload_id(name, &id))
		return NULL;
	p = stage_payload_find(s->stage, id);
	return p && offset + size <= p->size ? p : NULL;
}

/* What of a range within an extent is whole chunks. */
static void offer(struct staged_source *s, struct stage_payload *p, uint64_t offset, size_t size,
		  const uint8_t *buf)
{
	uint64_t first = (offset + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE * SEAL_CHUNK_SIZE,
		 end = offset + size;

	if (end < p->size)
		end = end / SEAL_CHUNK_SIZE * SEAL_CHUNK_SIZE;
	if (first < end)
		stage_writer_offer(s->writer, p, first, (size_t)(end - first),
				   buf + (first - offset));
}

static void count(atomic_ullong *reads, atomic_ullong *bytes, size_t size)
{
	atomic_fetch_add(reads, 1);
	atomic_fetch_add(bytes, size);
}

/* Not for every chunk of a copy that is bad all over. */
static void report_damage(struct staged_source *s, const char *name, uint64_t offset,
			  const char *what)
{
	_cleanup_free_ char *text = NULL, *label = NULL;
	unsigned long long now = monotonic_ms(), told = atomic_load(&s->told_ms);

	atomic_fetch_add(&s->stage->counters.damaged, 1);
	if (!s->stage->notice || (told && now < told + TELL_AGAIN_MS) ||
	    !atomic_compare_exchange_strong(&s->told_ms, &told, now))
		return;
	label = source_describe(s->origin, name);
	if (label && asprintf(&text, "stage %s: the copy of %s %s at offset %llu; fetched again",
			      s->stage->path, label, what, (unsigned long long)offset) >= 0)
		s->stage->notice(s->stage->notice_arg, text);
}

/* A piece that is alike: *size in, how much was read out. -EAGAIN: it is not there after all. */
static int read_piece(struct staged_source *s, struct stage_payload *p, const char *name,
		      const char *version, uint64_t offset, size_t *size, uint8_t *buf,
		      struct error *err)
{
	struct stage_counters *c = &s->stage->counters;
	struct stage_place place;
	int r;

	*size = stage_look(s->stage, p, offset, *size, &place);
	if (!place.chunks) {
		r = source_read(s->origin, name, version, offset, *size, buf, err);
		count(&c->misses, &c->miss_bytes, *size);
		if (r == 0)
			offer(s, p, offset, *size, buf);
		return r;
	}
	r = stage_read(s->stage, &place, offset, *size, buf);
	if (r == 0) {
		count(&c->hits, &c->hit_bytes, *size);
		return 0;
	}
	stage_drop(s->stage, &place);
	/* One that was removed or got more chunks meanwhile is not damaged. */
	if (r != -ENOENT)
		report_damage(s, name, offset, r == -ENODATA ? "was cut off" : "cannot be read");
	return -EAGAIN;
}

static int staged_read(struct source *base, const char *name, const char *version, uint64_t offset,
		       size_t size, uint8_t *buf, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;
	struct stage_payload *p = find(s, name, version, offset, size);
	int r = 0;

	if (!p)
		return source_read(s->origin, name, version, offset, size, buf, err);
	while (size > 0 && (r == 0 || r == -EAGAIN)) {
		size_t piece = size;

		r = read_piece(s, p, name, version, offset, &piece, buf, err);
		if (r < 0)
			continue;
		offset += piece;
		buf += piece;
		size -= piece;
	}
	return r;
}

/* Good bytes are in buf: is the copy the same? One that was removed meanwhile is not damaged. */
static void mend(struct staged_source *s, struct stage_payload *p, const char *name,
		 uint64_t offset, size_t size, const uint8_t *buf)
{
	while (size > 0) {
		struct stage_place place;
		size_t piece = stage_look(s->stage, p, offset, size, &place);
		_cleanup_free_ uint8_t *copy = place.chunks ? malloc(piece) : NULL;
		int r = copy ? stage_read(s->stage, &place, offset, piece, copy) : -ENOENT;

		if (r == 0 && memcmp(copy, buf, piece) != 0)
			r = -EBADMSG;
		if (r < 0 && place.chunks)
			stage_drop(s->stage, &place);
		if (r < 0 && r != -ENOENT)
			report_damage(s, name, offset, "is damaged");
		if (r < 0)
			offer(s, p, offset, piece, buf);
		offset += piece;
		buf += piece;
		size -= piece;
	}
}

static int staged_read_fresh(struct source *base, const char *name, const char *version,
			     uint64_t offset, size_t size, uint8_t *buf, struct error *err)
{
	struct staged_source *s = (struct staged_source *)base;
	struct stage_payload *p = find(s, name, version, offset, size);
	int r = source_read(s->origin, name, version, offset, size, buf, err);

	if (r < 0)
		return r;
	count(&s->stage->counters.misses, &s->stage->counters.miss_bytes, size);
	if (p)
		mend(s, p, name, offset, size, buf);
	return 0;
}

static void staged_free(struct source *base)
{
	struct staged_source *s = (struct staged_source *)base;

	stage_writer_free(s->writer);
	stage_free(s->stage);
	source_free(s->origin);
	free(s);
}

static const struct source_ops staged_ops = {
	.free = staged_free,
	.describe = staged_describe,
	.list = staged_list,
	.nearby = staged_nearby,
	.stat = staged_stat,
	.read = staged_read,
	.read_fresh = staged_read_fresh,
};

int source_stage(struct source **s, const struct stage_options *options, struct error *err)
{
	struct staged_source *staged = calloc(1, sizeof(*staged));
	int r = staged ? stage_open(options, &staged->stage, err) : -ENOMEM;

	if (r == 0)
		r = stage_writer_new(staged->stage, options->memory_bytes, &staged->writer, err);
	if (r < 0) {
		stage_free(staged ? staged->stage : NULL);
		free(staged);
		return r;
	}
	staged->origin = *s;
	staged->ops = staged_ops;
	staged->ops.preferred_size = source_preferred_size(*s);
	staged->source.ops = &staged->ops;
	*s = &staged->source;
	return 0;
}

const struct stage_counters *source_stage_counters(const struct source *s)
{
	const struct staged_source *staged = (const struct staged_source *)s;

	return s->ops->list == staged_list ? &staged->stage->counters : NULL;
}
