/*
 * stage_writer.h: one thread that writes what was read. Private to fs/source.
 *
 * What is offered is copied into one of a few buffers. When all are full a reader waits, half a
 * second in all for each object, and after that what finds no buffer is not staged.
 */
#ifndef SEALEDFS_SOURCE_STAGE_WRITER_H
#define SEALEDFS_SOURCE_STAGE_WRITER_H

#include "fs/source/stage.h"

int stage_writer_new(struct stage *s, size_t memory_bytes, struct stage_writer **ret);
/* What still waits is written, as far as that takes a few seconds. */
void stage_writer_free(struct stage_writer *w);
/* Whole chunks of f, which the caller holds. False: no buffer was free for all of it. */
bool stage_writer_offer(struct stage_writer *w, struct stage_file *f, uint64_t offset, size_t size,
			const uint8_t *data);

DEFINE_CLEANUP(struct stage_writer *, stage_writer_free)

#endif
