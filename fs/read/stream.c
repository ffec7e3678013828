/*
 * Readers in order. Job: tell those who walk from those who jump, and say what comes next, cheaply
 * enough to ask on every request. A wrong guess costs a fetch, never a wrong byte.
 */
#include "fs/read/stream.h"

#include "crypto/format.h"

#include <stddef.h>

#define CHUNKS_PER_EXTENT (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

static uint64_t chunk_of(uint64_t offset)
{
	return offset / SEAL_CHUNK_SIZE;
}

static uint64_t chunk_after(uint64_t offset)
{
	return (offset + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE;
}

static struct stream *find_stream(struct stream_table *t, const void *file, uint64_t first,
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

static struct stream *new_stream(struct stream_table *t, const void *file, uint64_t first)
{
	struct stream *oldest = &t->streams[0];

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		if (!t->streams[i].file) {
			oldest = &t->streams[i];
			break;
		}
		if (t->streams[i].used_ms < oldest->used_ms)
			oldest = &t->streams[i];
	}
	*oldest = (struct stream){
		.file = file, .id = ++t->last_id, .next = first, .begun_note = t->notes + 1};
	return oldest;
}

bool stream_is_sequential(const struct stream *s)
{
	return s->run > STREAM_RUN_MIN || s->big || s->whole;
}

static unsigned active_streams(const struct stream_table *t, uint64_t now_ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file && !t->streams[i].background &&
		    stream_is_sequential(&t->streams[i]) &&
		    now_ms - t->streams[i].used_ms < STREAM_ACTIVE_MS &&
		    !stream_is_left(t, t->streams[i].id))
			n++;
	return n;
}

/*
 * A range of at most *room chunks. One that is cut short ends at an extent's border if it reaches
 * one: what lies beyond comes later and whole, not piece by piece as the reader moves on.
 */
static void add_range(struct stream_plan *p, uint64_t first, uint64_t end, uint64_t *room)
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

/* Where this stream will stop; the file's end for those who are not known to stop. */
static uint64_t stream_end(const struct stream *s, const struct access *a)
{
	if (s->whole || s->tensor_end == 0 || !access_is_by_tensor(a))
		return a->chunk_count;
	/* Readahead runs past a tensor's end; who goes on after that reads on. */
	return s->next > s->tensor_end + STREAM_SLACK ? a->chunk_count : s->tensor_end;
}

static void plan_ahead(const struct stream *s, const struct access *a, uint64_t room,
		       struct stream_plan *ret)
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

/* A reader that skips some of what was fetched for it has not become another one. */
static uint64_t run_so_far(const struct stream_table *t, const void *file, uint64_t first)
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

void stream_note(struct stream_table *t, const void *file, struct access *access, uint64_t offset,
		 uint64_t size, uint64_t now_ms, uint64_t room, bool background,
		 struct stream_plan *ret)
{
	uint64_t first = chunk_of(offset), end = chunk_after(offset + size);
	struct stream *s = find_stream(t, file, first, background);
	bool big = end - first > 1;
	unsigned active;

	if (!s) {
		uint64_t run = run_so_far(t, file, first);

		s = new_stream(t, file, first);
		s->background = background;
		if (background)
			s->whole = true;
		else
			begin_stream(s, access, offset, run, big);
	}
	*ret = (struct stream_plan){.stream = s->id};
	s->used_ms = now_ms;
	s->used_note = ++t->notes;
	s->big |= big;
	if (end > s->next) {
		s->run += end - s->next;
		s->next = end;
	}
	if (!stream_is_sequential(s))
		return;
	active = active_streams(t, now_ms) + background;
	room /= active ? active : 1;
	if (room < CHUNKS_PER_EXTENT)
		return;
	ret->sequential = true;
	plan_ahead(s, access, room, ret);
	if (ret->range_count > 0)
		s->ahead = ret->ranges[0].end;
}

void stream_expect(struct stream_table *t, const void *file, uint64_t now_ms)
{
	struct stream *s = new_stream(t, file, 0);

	s->whole = true;
	s->used_ms = now_ms;
	s->used_note = ++t->notes;
}

void stream_forget(struct stream_table *t, const void *file)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file == file)
			t->streams[i] = (struct stream){0};
}

const struct stream *stream_at(const struct stream_table *t, const void *file, uint64_t chunk)
{
	const struct stream *best = NULL;

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		const struct stream *s = &t->streams[i];

		if (s->file == file && chunk < s->next &&
		    chunk + UINT64_C(2) * CHUNKS_PER_EXTENT >= s->next &&
		    (!best || s->used_note > best->used_note))
			best = s;
	}
	return best;
}

bool stream_is_left(const struct stream_table *t, uint64_t id)
{
	const struct stream *s = NULL;
	uint64_t others = 0;
	bool several = false;

	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].id == id)
			s = &t->streams[i];
	if (!s || !s->file)
		return true;
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
