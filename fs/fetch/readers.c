/*
 * Positions of readers. Job: distinguish sequential readers from jumping ones, and predict the next
 * chunks, cheaply enough for every request. A wrong prediction costs a fetch or a decrypted chunk,
 * never a wrong byte.
 */
#include "fs/fetch/readers.h"

#include "crypto/format.h"

#include <errno.h>
#include <stddef.h>

#define CHUNKS_PER_EXTENT (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

struct stream {
	struct payload *file; /* NULL: unused */
	uint64_t id;	      /* never 0, never used again */
	uint64_t next;	      /* chunk after the furthest one asked for */
	uint64_t last_end;    /* byte after its last request */
	uint64_t run;	      /* chunks it has moved forward since it began */
	uint64_t big_run;     /* the same by requests of at least a chunk */
	uint64_t ahead;	      /* chunk after what was planned for it */
	uint64_t decrypted;   /* chunk after the last one that was taken to be decrypted ahead */
	uint64_t tensor_end;  /* chunk after the tensor that it began with; 0: it began elsewhere */
	uint64_t used_ms;
	uint64_t used_note, begun_note; /* of the table's */
	bool big;			/* asked for more than one chunk at once */
	bool background;		/* no reader: counts for nobody else */
	bool whole;			/* wants the file to its end, or said so */
};

struct readers {
	pthread_mutex_t lock; /* guards what follows, and each payload's `access` */
	struct stream streams[STREAMS_MAX];
	uint64_t notes;
	uint64_t last_id;
};

int readers_new(struct readers **ret)
{
	struct readers *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	*ret = t;
	return 0;
}

void readers_free(struct readers *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static uint64_t chunk_of(uint64_t offset)
{
	return offset / SEAL_CHUNK_SIZE;
}

static uint64_t chunk_after(uint64_t offset)
{
	return (offset + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE;
}

static struct stream *find_stream(struct readers *t, const struct payload *file, uint64_t first,
				  bool background)
{
	struct stream *best = NULL;

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &t->streams[i];

		if (s->file == file && s->background == background &&
		    first <= s->next + STREAM_SLACK && first + STREAM_LATE >= s->next &&
		    (!best || s->used_note > best->used_note))
			best = s;
	}
	return best;
}

static bool is_sequential(const struct stream *s)
{
	return s->run > STREAM_RUN_MIN || s->big || s->whole;
}

static bool is_worth_decrypting(const struct stream *s)
{
	return s->big_run >= STREAM_DECRYPT_MIN && !s->file->by_extents;
}

/* If no stream is free, the least needed one: a jumping reader must not replace a sequential one,
 * unless that has stopped. */
static bool is_spared(const struct stream *a, const struct stream *b, uint64_t now_ms)
{
	bool keep_a = is_sequential(a) && now_ms - a->used_ms < STREAM_ACTIVE_MS,
	     keep_b = is_sequential(b) && now_ms - b->used_ms < STREAM_ACTIVE_MS;

	return keep_a != keep_b ? keep_a : a->used_note > b->used_note;
}

static struct stream *new_stream(struct readers *t, struct payload *file, uint64_t first,
				 uint64_t now_ms)
{
	struct stream *s = &t->streams[0];

	for (unsigned i = 0; i < STREAMS_MAX && s->file; i++)
		if (!t->streams[i].file || is_spared(s, &t->streams[i], now_ms))
			s = &t->streams[i];
	*s = (struct stream){.file = file,
			     .id = ++t->last_id,
			     .next = first,
			     .used_ms = now_ms,
			     .begun_note = t->notes + 1};
	return s;
}

/* Its reader has jumped elsewhere. */
static bool is_left(const struct readers *t, const struct stream *s)
{
	uint64_t others = 0;
	bool several = false;

	if (s->background)
		return false;
	/* Requests of its own file since its last one. */
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct stream *o = &t->streams[i];

		if (o->file != s->file || o->background || o->used_note <= s->used_note)
			continue;
		others = MAX(others, o->used_note - s->used_note);
		several |= o->begun_note < s->used_note;
	}
	return others > (several ? STREAM_LEFT_NOTES_SEVERAL : STREAM_LEFT_NOTES);
}

static unsigned active_streams(const struct readers *t, uint64_t now_ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct stream *s = &t->streams[i];

		n += s->file && !s->background && is_sequential(s) &&
		     now_ms - s->used_ms < STREAM_ACTIVE_MS && !is_left(t, s);
	}
	return n;
}

/*
 * A range of at most *room chunks. A shortened range ends at an extent's border if it reaches one:
 * the chunks beyond are fetched later in one piece, not one by one as the reader advances.
 */
static void add_range(struct reader_plan *p, uint64_t first, uint64_t end, uint64_t *room)
{
	if (first >= end || *room == 0 || p->range_count == STREAM_RANGES_MAX)
		return;
	if (end - first > *room) {
		uint64_t border = (first + *room) / CHUNKS_PER_EXTENT * CHUNKS_PER_EXTENT;

		end = border > first ? border : first + *room;
		*room = 0;
	} else {
		*room -= end - first;
	}
	p->ranges[p->range_count].first = first;
	p->ranges[p->range_count].end = end;
	p->range_count++;
}

/* The predicted end of this stream; the file's end if none is known. */
static uint64_t stream_end(const struct stream *s, const struct access *a)
{
	if (s->whole || s->tensor_end == 0 || !access_is_by_tensor(a))
		return a->chunk_count;
	/* Readahead runs past a tensor's end; a reader that goes beyond that continues. */
	return s->next > s->tensor_end + STREAM_SLACK ? a->chunk_count : s->tensor_end;
}

static void plan_ahead(const struct stream *s, const struct access *a, uint64_t room,
		       struct reader_plan *ret)
{
	uint64_t end = stream_end(s, a), window = room;

	if (!s->whole && s->tensor_end == 0)
		window = MIN(room, STREAM_WINDOW_FIRST + STREAM_WINDOW_GROWTH * s->run);
	add_range(ret, s->next, end, &window);
	if (end == a->chunk_count)
		return;
	for (unsigned i = 1; i < STREAM_RANGES_MAX; i++) {
		size_t next = access_predict(a, i);

		if (next == SIZE_MAX)
			break;
		add_range(ret, chunk_of(a->map->tensors[next].begin),
			  chunk_after(a->map->tensors[next].end), &window);
	}
}

/* A reader that skips some chunks fetched for it is still the same reader. */
static uint64_t run_so_far(const struct readers *t, const struct payload *file, uint64_t first)
{
	uint64_t run = 0;

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct stream *s = &t->streams[i];

		if (s->file == file && !s->background && first >= s->next && first < s->ahead)
			run = MAX(run, s->run);
	}
	return run;
}

static void begin_stream(struct stream *s, struct access *a, uint64_t offset, uint64_t run,
			 bool big)
{
	size_t tensor = access_jump(a, offset);

	if (big)
		s->run = run;
	if (tensor != SIZE_MAX)
		s->tensor_end = chunk_after(a->map->tensors[tensor].end);
	s->whole = offset == 0 && big;
}

/* Under the lock. */
static struct stream *stream_of(struct readers *t, struct payload *p, uint64_t offset, bool big,
				bool background, uint64_t now_ms)
{
	uint64_t first = chunk_of(offset), run;
	struct stream *s = find_stream(t, p, first, background);

	if (s)
		return s;
	run = run_so_far(t, p, first);
	s = new_stream(t, p, first, now_ms);
	s->background = background;
	if (background)
		s->whole = true;
	else
		begin_stream(s, &p->access, offset, run, big);
	return s;
}

/* Under the lock. */
static bool begins_at_an_end(const struct readers *t, const struct payload *p, uint64_t offset)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file == p && !t->streams[i].background &&
		    t->streams[i].last_end == offset)
			return true;
	return false;
}

static void move_stream(struct stream *s, uint64_t offset, uint64_t size)
{
	uint64_t first = chunk_of(offset), end = chunk_after(offset + size);

	s->last_end = offset + size;
	if (end <= s->next)
		return;
	s->run += end - s->next;
	/* The kernel requests that much only for readers of large ranges. */
	if (size >= SEAL_CHUNK_SIZE)
		s->big_run += MIN(end - s->next, end - first);
	s->next = end;
}

void readers_note(struct readers *t, struct payload *p, uint64_t offset, uint64_t size,
		  uint64_t now_ms, bool background, struct reader_note *ret)
{
	bool big = chunk_after(offset + size) - chunk_of(offset) > 1;
	struct stream *s;

	*ret = (struct reader_note){.background = background};
	if (background && !p->by_extents)
		return;
	pthread_mutex_lock(&t->lock);
	ret->jumped = !background && offset != 0 && !begins_at_an_end(t, p, offset);
	s = stream_of(t, p, offset, big, background, now_ms);
	s->used_ms = now_ms;
	s->used_note = ++t->notes;
	s->big |= big;
	move_stream(s, offset, size);
	ret->stream = s->id;
	ret->decrypt = is_worth_decrypting(s);
	pthread_mutex_unlock(&t->lock);
}

/* Under the lock; NULL: it has gone. */
static struct stream *stream_by_id(struct readers *t, uint64_t id)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file && t->streams[i].id == id)
			return &t->streams[i];
	return NULL;
}

void readers_plan(struct readers *t, uint64_t stream, uint64_t now_ms, uint64_t room,
		  struct reader_plan *ret)
{
	struct stream *s;

	*ret = (struct reader_plan){0};
	pthread_mutex_lock(&t->lock);
	s = stream_by_id(t, stream);
	if (s && is_sequential(s)) {
		unsigned active = active_streams(t, now_ms) + s->background;

		room /= active ? active : 1;
		ret->sequential = room >= CHUNKS_PER_EXTENT;
	}
	if (s && ret->sequential) {
		plan_ahead(s, &s->file->access, room, ret);
		if (ret->range_count > 0)
			s->ahead = ret->ranges[0].end;
	}
	pthread_mutex_unlock(&t->lock);
}

void readers_expect(struct readers *t, struct payload *p, uint64_t now_ms)
{
	struct stream *s;

	pthread_mutex_lock(&t->lock);
	s = new_stream(t, p, 0, now_ms);
	s->whole = true;
	s->used_note = ++t->notes;
	pthread_mutex_unlock(&t->lock);
}

void readers_set_map(struct readers *t, struct payload *p, struct gguf_map *map)
{
	pthread_mutex_lock(&t->lock);
	access_set_map(&p->access, map);
	pthread_mutex_unlock(&t->lock);
}

void readers_forget(struct readers *t, const struct payload *p)
{
	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file == p)
			t->streams[i] = (struct stream){0};
	pthread_mutex_unlock(&t->lock);
}

uint64_t readers_asked(struct readers *t, const struct payload *p, uint64_t chunk)
{
	const struct stream *best = NULL;
	uint64_t next;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct stream *s = &t->streams[i];

		if (s->file == p && chunk < s->next &&
		    chunk + UINT64_C(2) * CHUNKS_PER_EXTENT >= s->next &&
		    (!best || s->used_note > best->used_note))
			best = s;
	}
	next = best ? best->next : 0;
	pthread_mutex_unlock(&t->lock);
	return next;
}

bool readers_have_left(struct readers *t, uint64_t stream)
{
	const struct stream *s;
	bool left;

	pthread_mutex_lock(&t->lock);
	s = stream_by_id(t, stream);
	left = !s || is_left(t, s);
	pthread_mutex_unlock(&t->lock);
	return left;
}

uint64_t readers_near(struct readers *t, const struct payload *p, uint64_t chunk, uint64_t now_ms)
{
	uint64_t most = 0;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct stream *s = &t->streams[i];
		uint64_t distance = is_sequential(s) ? STREAM_DISTANCE : STREAM_SLACK;

		if (s->file == p && !s->background && now_ms - s->used_ms < STREAM_NEAR_MS &&
		    chunk + STREAM_SLACK >= s->next && chunk < s->next + distance)
			most = MAX(most, s->next + distance - chunk);
	}
	pthread_mutex_unlock(&t->lock);
	return most;
}

bool readers_decrypt_next(struct readers *t, uint64_t distance, struct payload **ret,
			  uint64_t *ret_chunk)
{
	struct stream *best = NULL;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &t->streams[i];

		if (!s->file || !is_worth_decrypting(s) || atomic_load(&s->file->abandoned))
			continue;
		s->decrypted = MAX(s->decrypted, s->next);
		if (s->decrypted < MIN(s->next + distance, s->file->chunk_count) &&
		    (!best || s->used_note > best->used_note))
			best = s;
	}
	if (best) {
		*ret = best->file;
		*ret_chunk = best->decrypted++;
	}
	pthread_mutex_unlock(&t->lock);
	return best != NULL;
}
