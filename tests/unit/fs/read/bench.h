/*
 * One sealed model in a memory source, with an engine: what the tests of fs/read start from.
 */
#ifndef SEALEDFS_TEST_READ_BENCH_H
#define SEALEDFS_TEST_READ_BENCH_H

#include "fs/read/read.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/fs/read/memory_source.h"

#define BENCH_PAYLOAD "m.sealed"

struct bench {
	struct fixture model;
	struct memory_source memory;
	struct memory_object *payload;
	struct read_engine *engine;
	struct read_file *file;
};

struct bench_options {
	uint64_t length;
	bool by_extents;
	enum chunk_check check;
	size_t memory_bytes; /* 0: 32 MiB */
	bool ahead;
	enum read_fill fill;
	read_store *store;
	int (*introduce)(void *target);
};

void bench_make(const struct bench_options *options, struct bench *b);
void bench_done(struct bench *b);
/* A further file over the same model. */
struct read_file *bench_open(struct bench *b, enum chunk_check check);

/* Reads a range and compares it with the plaintext; the test fails on an error or a difference. */
void bench_compare(struct bench *b, struct read_file *f, uint64_t offset, size_t size);
/* Only the code of a read; gives back what it pinned. */
int bench_read(struct read_file *f, uint64_t offset, size_t size, struct error *err);
/* Seals one chunk anew with other plaintext, as only a holder of the data key can: the tag fits.
 */
void bench_forge_chunk(struct bench *b, uint64_t index, uint8_t tag[SEAL_TAG_SIZE]);

#endif
