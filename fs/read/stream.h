/*
 * stream.h: which parts of which files are being read in order, from the ranges that readers ask
 * for, and how far ahead of each it is worth fetching.
 *
 * Several readers may walk through one file, and the kernel's requests arrive a little out of
 * order, so there is one table of streams, each a position in a file that moves forward. Pure:
 * no locks, no clock, no I/O; the caller guards it.
 */
#ifndef SEALEDFS_STREAM_H
#define SEALEDFS_STREAM_H

#include <stdint.h>

#define STREAMS_MAX 32
/* A range that starts this near a stream's end, in chunks, continues it. */
#define STREAM_SLACK 8
/* So many chunks in order make a reader sequential. */
#define STREAM_RUN_MIN 4
/* A stream that was not used for so long no longer counts when memory is shared out. */
#define STREAM_ACTIVE_MS 5000
/* Never more extents for one stream than this. */
#define STREAM_EXTENTS_MAX 8

struct stream_table {
	struct stream {
		const void *file; /* NULL: unused */
		uint64_t next;	  /* chunk after the furthest one asked for */
		uint64_t run;	  /* chunks it has moved forward since it began */
		uint64_t used_ms;
	} streams[STREAMS_MAX];
};

/*
 * Notes that chunks first … last of a file are wanted now. Returns how many whole extents, from
 * the one of `last` on, are worth having: 0, fetch by chunk, for those who jump about or when
 * extents_total shared by all active streams leaves none; then more the longer a stream goes on.
 */
unsigned stream_note(struct stream_table *t, const void *file, uint64_t first, uint64_t last,
		     uint64_t now_ms, unsigned extents_total);
void stream_forget(struct stream_table *t, const void *file);

#endif
