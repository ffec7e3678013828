/*
 * Sequential readers. Job: tell those who walk from those who jump, cheaply enough to ask on
 * every request. A wrong guess costs a fetch, never a wrong byte.
 */
#include "fs/read/stream.h"

#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>

#define CHUNKS_PER_EXTENT (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

static struct stream *find_stream(struct stream_table *t, const void *file, uint64_t first)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &t->streams[i];

		if (s->file == file && first <= s->next + STREAM_SLACK &&
		    first + STREAM_SLACK >= s->next)
			return s;
	}
	return NULL;
}

static struct stream *replace_stream(struct stream_table *t)
{
	struct stream *oldest = &t->streams[0];

	for (unsigned i = 0; i < STREAMS_MAX; i++) {
		if (!t->streams[i].file)
			return &t->streams[i];
		if (t->streams[i].used_ms < oldest->used_ms)
			oldest = &t->streams[i];
	}
	return oldest;
}

static bool is_sequential(const struct stream *s)
{
	return s->run > STREAM_RUN_MIN;
}

static unsigned active_streams(const struct stream_table *t, uint64_t now_ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file && is_sequential(&t->streams[i]) &&
		    now_ms - t->streams[i].used_ms < STREAM_ACTIVE_MS)
			n++;
	return n;
}

unsigned stream_note(struct stream_table *t, const void *file, uint64_t first, uint64_t last,
		     uint64_t now_ms, unsigned extents_total)
{
	struct stream *s = find_stream(t, file, first);
	uint64_t want;
	unsigned share;

	if (!s) {
		s = replace_stream(t);
		*s = (struct stream){.file = file, .next = first};
	}
	s->used_ms = now_ms;
	if (last + 1 > s->next) {
		s->run += last + 1 - s->next;
		s->next = last + 1;
	}
	if (!is_sequential(s))
		return 0;
	want = 2 + (s->run - STREAM_RUN_MIN) / CHUNKS_PER_EXTENT;
	share = extents_total / active_streams(t, now_ms);
	if (share > STREAM_EXTENTS_MAX)
		share = STREAM_EXTENTS_MAX;
	return want < share ? (unsigned)want : share;
}

void stream_forget(struct stream_table *t, const void *file)
{
	for (unsigned i = 0; i < STREAMS_MAX; i++)
		if (t->streams[i].file == file)
			t->streams[i] = (struct stream){0};
}
