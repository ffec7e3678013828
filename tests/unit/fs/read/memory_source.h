/*
 * A source in memory whose reads can be counted, failed, altered and held up. Objects are given
 * by reference and may be changed between reads.
 */
#ifndef SEALEDFS_TEST_MEMORY_SOURCE_H
#define SEALEDFS_TEST_MEMORY_SOURCE_H

#include "fs/source/source_backend.h"

#define MEMORY_OBJECTS_MAX 16
#define MEMORY_CHUNKS_MAX 1024

struct memory_object {
	const char *name;
	uint8_t *data;
	uint64_t size;
	const char *version;
	int64_t mtime_ns;
};

/* Called after the bytes were copied to buf, without any lock; its result is the read's. */
typedef int memory_hook(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
			struct error *err);

struct memory_source {
	struct source source; /* first */
	struct memory_object objects[MEMORY_OBJECTS_MAX];
	size_t count;
	memory_hook *hook;
	void *hook_arg;
	atomic_uint reads;
	atomic_uint chunk_reads[MEMORY_CHUNKS_MAX]; /* how often each chunk was part of a read */
};

/* by_extents: prefers extents, as S3 does; else chunks, as a directory does. */
void memory_source_init(struct memory_source *m, bool by_extents);
struct memory_object *memory_source_add(struct memory_source *m, const char *name, void *data,
					uint64_t size, const char *version);

#endif
