/*
 * writer.h: one thread that writes data that was read. Private to fs/stage.
 *
 * Offered data is copied into one of a few buffers. When all are full a reader waits, half a second
 * in all for each payload; after that, data without a free buffer is not staged.
 */
#ifndef SEALEDFS_STAGE_WRITER_H
#define SEALEDFS_STAGE_WRITER_H

#include "fs/stage/stage.h"

struct stage_writer;

int stage_writer_new(struct stage *s, size_t memory_bytes, struct stage_writer **ret,
		     struct error *err);
/* Waiting data is still written, for a few seconds at most. */
void stage_writer_free(struct stage_writer *w);
/* Whole chunks of p within one extent. */
void stage_writer_offer(struct stage_writer *w, struct stage_payload *p, uint64_t offset,
			size_t size, const uint8_t *data);

DEFINE_CLEANUP(struct stage_writer *, stage_writer_free)

#endif
