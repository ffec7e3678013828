/*
 * stage_file.h: the copy of one object on a local disk, as two files of a stage's folder. Layout:
 * README.md. Private to fs/source.
 *
 * Nothing here is trusted for more than a hint: what a record calls present may be torn, stale or
 * somebody else's bytes. Whoever reads a copy checks the chunk's tag.
 *
 * Threads: a stage_file's fields are guarded by the lock of its stage; the calls below may run side
 * by side on different ranges.
 */
#ifndef SEALEDFS_SOURCE_STAGE_FILE_H
#define SEALEDFS_SOURCE_STAGE_FILE_H

#include "fs/source/source_backend.h"

#include <pthread.h>

#define STAGE_ID_SIZE 17 /* 16 hexadecimal digits and NUL */
#define STAGE_BLOCK_SIZE 4096
#define STAGE_HEADER_SIZE STAGE_BLOCK_SIZE
#define STAGE_RECORD_SIZE 16
#define STAGE_LABEL_MAX 1536 /* bytes of an object's whole name */
#define STAGE_CHUNKS (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

struct stage_extent {
	uint64_t tick;	  /* of its last use; larger is later */
	uint16_t present; /* bit n: chunk n of the extent */
	uint16_t stored;  /* of those: written by this process */
	uint16_t pins;	  /* reads and writes under way: not to be evicted */
	uint16_t leaving; /* chunks whose blocks are being given back */
	bool touched;	  /* tick is not on disk */
};

struct stage_file {
	char id[STAGE_ID_SIZE];
	char *label; /* "s3://bucket/prefix/name" */
	char version[SOURCE_VERSION_MAX];
	uint64_t size;
	size_t extent_count;
	struct stage_extent *extents;
	int data_fd, index_fd;	     /* -1: not opened yet */
	pthread_mutex_t record_lock; /* keeps records in the order of what they say */

	unsigned refs;	   /* who is using it */
	bool in_use;	   /* asked for since the start: is not removed to make room */
	bool dead;	   /* unlinked; freed with the last reference */
	unsigned damaged;  /* chunks that turned out to be bad, or behind the end of the data */
	int64_t waited_ms; /* for the writer, which guards it */
	uint64_t bytes;	   /* what it counts for in the stage's size */
};

static inline uint64_t stage_chunk_offset(size_t extent, unsigned chunk)
{
	return extent * (uint64_t)SEAL_EXTENT_SIZE + chunk * (uint64_t)SEAL_CHUNK_SIZE;
}

/* Bytes on disk of both files when nothing is present. */
uint64_t stage_file_overhead(uint64_t size);
/* Bytes on disk of the chunks in present of an extent. */
uint64_t stage_file_chunk_bytes(const struct stage_file *f, size_t extent, uint16_t present);

/* Makes both files, empty and opened. -errno. */
int stage_file_create(int dir_fd, const char *label, const char *version, uint64_t size,
		      struct stage_file **ret);
/*
 * Reads the index named ID; at most extents_max. Chunks behind the end of the data file are not
 * present. -EPROTO: not an index of ours, or a data file that does not belong to it.
 */
int stage_file_load(int dir_fd, const char *id, size_t extents_max, struct stage_file **ret);
int stage_file_open(int dir_fd, struct stage_file *f);
/* Both files of an id, also where only one is there. */
void stage_file_unlink(int dir_fd, const char *id);
void stage_file_free(struct stage_file *f);

/* Any range. -ENODATA: the file is shorter. */
int stage_file_read(const struct stage_file *f, uint64_t offset, size_t size, uint8_t *buf);
/* offset is a multiple of STAGE_BLOCK_SIZE; data is aligned to it and has room up to the next one
 * behind size, which is zeroed. */
int stage_file_write(struct stage_file *f, uint64_t offset, size_t size, uint8_t *data);
/* What was written is on the disk when this returns. */
int stage_file_sync(const struct stage_file *f);
/* Gives the range's blocks back. */
int stage_file_punch(const struct stage_file *f, uint64_t offset, uint64_t size);
/* Writes what an extent's fields say under lock. */
int stage_file_record(struct stage_file *f, size_t extent, pthread_mutex_t *lock);

DEFINE_CLEANUP(struct stage_file *, stage_file_free)

#endif
