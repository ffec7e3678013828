/*
 * pipeline.h: a stream cut into chunks and pushed through stages on several threads, inside a fixed
 * pool of buffers. seal, hash and check are three sets of stages over it.
 *
 * The stream is a row of extents (buffers) of 16 or more chunks. Stage 0 fills them; each other
 * stage gets a piece (a chunk or a whole extent) once all stages in its `after` mask have
 * finished it. A stage of one thread sees its pieces in order; one of several starts them in order.
 * A buffer is reused when every stage has finished with it, so memory is buffers x extent_size for
 * any length, and a slow stage holds the fast ones back.
 */
#ifndef SEALEDFS_TOOLS_PIPELINE_H
#define SEALEDFS_TOOLS_PIPELINE_H

#include "crypto/base/error.h"
#include "crypto/format.h"

#include <stdbool.h>
#include <stddef.h>

#define PIPELINE_STAGES_MAX 6
#define PIPELINE_THREADS_MAX 64U /* of one stage */
#define PIPELINE_LENGTH_UNKNOWN UINT64_MAX

enum pipeline_unit { PIPELINE_CHUNK, PIPELINE_EXTENT };

/* A thread for each CPU, at most PIPELINE_THREADS_MAX: for stages that compute. */
unsigned pipeline_threads(void);

struct pipeline_piece {
	uint64_t index;	 /* of the chunk or extent */
	uint64_t offset; /* in the stream, bytes */
	uint8_t *data;
	size_t size;	 /* bytes; 1 or more */
	unsigned thread; /* 0 … threads - 1 of this stage */
};

struct pipeline_stage {
	enum pipeline_unit unit;
	unsigned threads; /* 1 … PIPELINE_THREADS_MAX */
	unsigned after;	  /* bit i: stage i, an earlier one; not 0 but for stage 0 */
	/*
	 * 0 or negative errno. Stage 0 gives the number of bytes it put there; of an unknown
	 * length, fewer than size (0 too) mean that the stream ends, and then its unit must be
	 * CHUNK with one thread.
	 */
	int (*run)(void *arg, const struct pipeline_piece *piece, struct error *err);
	void *arg; /* NULL: ctx of the options */
};

struct pipeline_options {
	uint64_t length;    /* bytes, or PIPELINE_LENGTH_UNKNOWN */
	size_t extent_size; /* bytes, a multiple of SEAL_CHUNK_SIZE */
	unsigned buffers;
	const struct pipeline_stage *stages;
	unsigned stage_count;
	void *ctx;
	/* Called once, from any thread, when a stage failed or pipeline_cancel() came: makes a
	 * stage that waits for the outside give up. May be NULL. */
	void (*on_failure)(void *ctx);
};

struct pipeline;

/* options and what it points to must outlive the pipeline. */
int pipeline_new(const struct pipeline_options *options, struct pipeline **ret);
/* Returns when every stage has finished, or after the first failure with its code and error. */
int pipeline_run(struct pipeline *p, struct error *err);
/* All of it, also ended by Ctrl-C. ret_length: the stream's length; may be NULL. */
int pipeline_do(const struct pipeline_options *options, uint64_t *ret_length, struct error *err);
/* A stage: arg is a struct digest. */
int pipeline_hash(void *digest, const struct pipeline_piece *piece, struct error *err);
/* From any thread: makes pipeline_run() fail with code (negative errno) and message. */
void pipeline_cancel(struct pipeline *p, int code, const char *message);
/* After pipeline_run(): the stream's length in bytes. */
uint64_t pipeline_length(const struct pipeline *p);
void pipeline_free(struct pipeline *p);

DEFINE_CLEANUP(struct pipeline *, pipeline_free)

#endif
