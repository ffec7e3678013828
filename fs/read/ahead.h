/*
 * ahead.h: chunks decrypted ahead of readers in order, while no request is being answered.
 *
 * Only from sources without extents, where the ciphertext is at hand and the processor is what
 * limits. It idles whenever a reader works on what it has got: the kernel asks for no more than its
 * readahead, and with O_DIRECT for nothing at all. One thread begins a chunk only while nobody
 * waits for an answer, so it is in a reader's way for no longer than a chunk takes. What it makes
 * lies in the engine's buffers for as long as nobody needs the room.
 *
 * A chunk that fails here is given up: the reader that asks for it meets the failure itself.
 * Threads: any.
 */
#ifndef SEALEDFS_READ_AHEAD_H
#define SEALEDFS_READ_AHEAD_H

#include "fs/read/read.h"

/* So many chunks in requests of at least one each make a reader one in order. */
#define AHEAD_RUN_MIN 16
/* Requests of one reader arrive a little out of order. */
#define AHEAD_SLACK 16
/* At most so many chunks ahead, and half of the buffers. */
#define AHEAD_CHUNKS_MAX 32
#define AHEAD_PLACES 8

struct ahead;

/* engine must outlive it. The thread is started when there is something to do; never on a machine
 * with one processor. */
int ahead_new(struct read_engine *e, const struct read_engine_options *options, struct ahead **ret);
void ahead_free(struct ahead *t);
/* No chunk is begun any more. */
void ahead_stop(struct ahead *t);
/* A reader asks for this range of f. */
void ahead_note(struct ahead *t, struct read_file *f, uint64_t offset, uint64_t size);
/* Nobody waits for an answer now. */
void ahead_go(struct ahead *t);
/* Nothing of f is in work any more when this returns. */
void ahead_forget(struct ahead *t, const struct read_file *f);

DEFINE_CLEANUP(struct ahead *, ahead_free)

#endif
