/*
 * stream.h: which parts of which files are being read in order, from the ranges that readers ask
 * for, and what each of them will want next.
 *
 * Several readers may walk through one file, and the kernel's requests arrive a little out of
 * order, so there is one table of streams, each a position in a file that moves forward. Pure:
 * no locks, no clock, no I/O; the caller guards it. Positions are in chunks.
 */
#ifndef SEALEDFS_STREAM_H
#define SEALEDFS_STREAM_H

#include "fs/read/access.h"

#include <stdbool.h>
#include <stdint.h>

#define STREAMS_MAX 32
/* A range that starts this near a stream's end continues it: the kernel has 4 MiB of readahead
 * under way. Behind it twice that: while a thread is slow to say what it was asked for, the others
 * say what comes after, up to the end of the kernel's next 4 MiB. */
#define STREAM_SLACK 8
#define STREAM_LATE 16
/* So many chunks in order make a reader sequential. One request for more than one chunk does, too:
 * the kernel sends such only to those who read much at once or have read for a while. */
#define STREAM_RUN_MIN 4
/* A stream that was not used for so long no longer counts when room is shared out. */
#define STREAM_ACTIVE_MS 5000
/* A stream that saw so many requests of others for its file without one of its own has been left:
 * what it still waits for is not wanted. A reader's readahead comes in bursts of 4. When several
 * readers were there before, they may only be taking turns. */
#define STREAM_LEFT_NOTES 4
#define STREAM_LEFT_NOTES_SEVERAL 128
/* Chunks ahead of a stream that has just begun; then four more for each chunk that it moves. A
 * reader that begins at the file's start with a big request is taken to want all of it. */
#define STREAM_WINDOW_FIRST 32
#define STREAM_WINDOW_GROWTH 4
#define STREAM_RANGES_MAX 4

struct stream {
	const void *file;    /* NULL: unused */
	uint64_t id;	     /* never 0, never used again */
	uint64_t next;	     /* chunk after the furthest one asked for */
	uint64_t run;	     /* chunks it has moved forward since it began */
	uint64_t ahead;	     /* chunk after what was planned for it */
	uint64_t tensor_end; /* chunk after the tensor that it began with; 0: it began elsewhere */
	uint64_t used_ms;
	uint64_t used_note, begun_note; /* of the table's */
	bool big;			/* asked for more than one chunk at once */
	bool background;		/* no reader: counts for nobody else */
	bool whole;			/* wants the file to its end, or said so */
};

struct stream_table {
	struct stream streams[STREAMS_MAX];
	uint64_t notes;
	uint64_t last_id;
};

/* What is worth fetching ahead of a reader, in this order. */
struct stream_plan {
	uint64_t stream; /* id */
	bool sequential;
	unsigned range_count;
	struct {
		uint64_t first, end; /* chunks */
	} ranges[STREAM_RANGES_MAX];
};

/*
 * Notes that bytes offset … offset + size - 1 of a file (size above 0, inside the file) are wanted
 * now. access: what is known of the file, updated. room: chunks that all streams may have on their
 * way or unread. Nothing is planned for those who jump about, or when there are so many streams
 * that an extent each is too much.
 */
void stream_note(struct stream_table *t, const void *file, struct access *access, uint64_t offset,
		 uint64_t size, uint64_t now_ms, uint64_t room, bool background,
		 struct stream_plan *ret);
/* Somebody will read the whole file in order, from the start. */
void stream_expect(struct stream_table *t, const void *file, uint64_t now_ms);
void stream_forget(struct stream_table *t, const void *file);
/* The stream that asked for this chunk lately; NULL. */
const struct stream *stream_at(const struct stream_table *t, const void *file, uint64_t chunk);
bool stream_is_sequential(const struct stream *s);
/* True: the stream has gone, or its reader has jumped elsewhere. */
bool stream_is_left(const struct stream_table *t, uint64_t id);

#endif
