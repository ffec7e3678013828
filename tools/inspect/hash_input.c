/*
 * Digests of a plaintext. Job: read it once and use every core: the two flat digests run beside
 * each other, the tree's chunks on all the others. Trusts the input to notice changes.
 */
#include "tools/inspect/hash_input.h"

#include "crypto/base/digest.h"
#include "crypto/verity.h"
#include "tools/common/input.h"
#include "tools/common/interrupt.h"
#include "tools/common/pipeline.h"
#include "tools/common/progress.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define BUFFERS 4

struct hashing {
	struct input *in;
	struct progress *progress;
	struct digest *sha256, *sha384;
	bool is_event_text;
	pthread_mutex_t lock; /* guards hashes and room: the table may move while it grows */
	uint8_t *hashes;
	uint64_t room; /* chunks */
};

static int fill(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct hashing *h = ctx;
	size_t n = 0;
	int r = input_read(h->in, piece->data, piece->size, &n, err);

	if (r == 0 && piece->index == 0)
		h->is_event_text =
			n >= strlen(MEASURE_TEXT_PREFIX) &&
			memcmp(piece->data, MEASURE_TEXT_PREFIX, strlen(MEASURE_TEXT_PREFIX)) == 0;
	return r < 0 ? r : (int)n;
}

static int store_hash(struct hashing *h, uint64_t index, const uint8_t hash[SEAL_HASH_SIZE])
{
	int r = 0;

	pthread_mutex_lock(&h->lock);
	if (index >= h->room) {
		uint64_t room = MAX(2 * h->room, index + 1024);
		uint8_t *more = reallocarray(h->hashes, room, SEAL_HASH_SIZE);

		if (more) {
			h->hashes = more;
			h->room = room;
		} else {
			r = -ENOMEM;
		}
	}
	if (r == 0)
		memcpy(h->hashes + index * SEAL_HASH_SIZE, hash, SEAL_HASH_SIZE);
	pthread_mutex_unlock(&h->lock);
	return r;
}

static int hash_chunk(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	uint8_t hash[SEAL_HASH_SIZE];
	/* Only "is it one block" matters, and a first chunk that is not full is the whole file. */
	uint64_t length = piece->index == 0 ? piece->size : UINT64_MAX;
	int r;

	if (piece->index >= SEAL_LENGTH_MAX / SEAL_CHUNK_SIZE)
		return error_set(err, -EFBIG, "longer than 16 TiB");
	r = verity_chunk_hash(piece->data, piece->size, length, hash);
	if (r < 0)
		return r;
	progress_add(((struct hashing *)ctx)->progress, piece->size);
	return store_hash(ctx, piece->index, hash);
}

static void stop_input(void *ctx)
{
	input_cancel(((struct hashing *)ctx)->in);
}

static int run(struct hashing *h, uint64_t *ret_length, struct error *err)
{
	const struct pipeline_stage stages[] = {
		{PIPELINE_CHUNK, 1, 0, fill},
		{PIPELINE_CHUNK, 1, 1U << 0, pipeline_hash, h->sha256},
		{PIPELINE_CHUNK, 1, 1U << 0, pipeline_hash, h->sha384},
		{PIPELINE_CHUNK, pipeline_threads(), 1U << 0, hash_chunk},
	};
	struct pipeline_options o = {.length = input_length(h->in),
				     .extent_size = SEAL_EXTENT_SIZE,
				     .buffers = BUFFERS,
				     .stages = stages,
				     .stage_count = ARRAY_LEN(stages),
				     .ctx = h,
				     .on_failure = stop_input};

	return pipeline_do(&o, ret_length, err);
}

static int finish(struct hashing *h, uint64_t length, struct model_digests *ret)
{
	int r = digest_final(h->sha256, ret->sha256);

	if (r == 0)
		r = digest_final(h->sha384, ret->sha384);
	if (r == 0)
		r = verity_digest(h->hashes, (length + SEAL_CHUNK_SIZE - 1) / SEAL_CHUNK_SIZE,
				  length, ret->verity);
	return r;
}

static int hash_input(struct input *in, struct progress *progress, struct input_digests *ret,
		      struct error *err)
{
	struct hashing h = {.in = in, .progress = progress, .lock = PTHREAD_MUTEX_INITIALIZER};
	uint64_t length = 0;
	int r = digest_new(DIGEST_SHA256, &h.sha256);

	if (r == 0)
		r = digest_new(DIGEST_SHA384, &h.sha384);
	if (r == 0)
		r = run(&h, &length, err);
	if (r == 0 && input_length(in) != INPUT_LENGTH_UNKNOWN)
		r = input_finish(in, err);
	if (r == 0)
		r = finish(&h, length, &ret->digests);
	digest_free(h.sha256);
	digest_free(h.sha384);
	free(h.hashes);
	ret->length = length;
	ret->is_event_text = h.is_event_text;
	if (r < 0)
		error_set(err, r, "cannot hash %s: %s", input_label(in), strerror(-r));
	return r;
}

int hash_path(const char *path, const char *label, bool quiet, struct input_digests *ret,
	      struct error *err)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(progress_freep) struct progress *progress = NULL;
	int r = input_open(path, &in, err);

	if (r < 0)
		return r;
	progress = progress_new(label, input_length(in), quiet);
	return hash_input(in, progress, ret, err);
}
