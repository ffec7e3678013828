/*
 * Checking of a payload. Job: fetch in large pieces side by side, decrypt and check chunks on all
 * cores, hash the plaintext in order. Trusts no byte before its tag and hash agreed. Must never
 * write plaintext anywhere: it lives in the pool's buffers only.
 */
#include "tools/inspect/check_payload.h"

#include "crypto/base/digest.h"
#include "crypto/chunk.h"
#include "crypto/failure.h"
#include "tools/common/interrupt.h"
#include "tools/common/pipeline.h"
#include "tools/common/progress.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define BUFFERS 4
#define FETCHERS 3
#define NAMED_MAX 8 /* bad chunks that a message lists */

enum { STAGE_FETCH, STAGE_OPEN, STAGE_SHA256, STAGE_SHA384 };

struct checking {
	struct source *source;
	const struct source_object *payload;
	const struct seal *seal;
	const struct seal_keys *keys;
	struct progress *progress;
	struct chunk_cipher *ciphers[PIPELINE_THREADS_MAX];
	struct digest *sha256, *sha384;
	pthread_mutex_t lock; /* guards all below */
	uint64_t bad_count;
	uint64_t bad[NAMED_MAX];
	enum seal_failure first_failure; /* of bad[0] */
};

static int fetch(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct checking *c = ctx;
	int r = source_read(c->source, c->payload->name, c->payload->version, piece->offset,
			    piece->size, piece->data, err);

	if (r == 0)
		progress_add(c->progress, piece->size);
	return r < 0 ? r : (int)piece->size;
}

/* Keeps the first few in order. */
static void note_bad(struct checking *c, uint64_t index, enum seal_failure failure)
{
	size_t n, at;

	pthread_mutex_lock(&c->lock);
	n = (size_t)MIN(c->bad_count, (uint64_t)NAMED_MAX);
	for (at = n; at > 0 && c->bad[at - 1] > index; at--)
		;
	if (at == 0)
		c->first_failure = failure;
	if (at < NAMED_MAX) {
		memmove(&c->bad[at + 1], &c->bad[at],
			(MIN(n, (size_t)NAMED_MAX - 1) - at) * sizeof(c->bad[0]));
		c->bad[at] = index;
	}
	c->bad_count++;
	pthread_mutex_unlock(&c->lock);
}

static int open_chunk(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct checking *c = ctx;
	const struct seal_core *core = seal_core(c->seal);
	struct chunk_cipher **cipher = &c->ciphers[piece->thread];
	uint8_t hash[SEAL_HASH_SIZE];
	int r = 0;

	if (!*cipher)
		r = chunk_cipher_new(c->keys, core->chunk_count, cipher);
	if (r < 0)
		return r;
	r = chunk_open_verity(*cipher, piece->index, piece->data, piece->size,
			      seal_tag(c->seal, piece->index), core->length, piece->data, hash);
	if (r == -EBADMSG) {
		note_bad(c, piece->index, SEAL_BAD_CHUNK);
		return 0;
	}
	if (r == 0 && memcmp(hash, seal_hash(c->seal, piece->index), sizeof(hash)) != 0)
		note_bad(c, piece->index, SEAL_BAD_CHUNK_HASH);
	return r;
}

static int run_stages(struct checking *c, struct error *err)
{
	const struct pipeline_stage stages[] = {
		[STAGE_FETCH] = {PIPELINE_EXTENT, FETCHERS, 0, fetch},
		[STAGE_OPEN] = {PIPELINE_CHUNK, pipeline_threads(), 1U << STAGE_FETCH, open_chunk},
		[STAGE_SHA256] = {PIPELINE_CHUNK, 1, 1U << STAGE_OPEN, pipeline_hash, c->sha256},
		[STAGE_SHA384] = {PIPELINE_CHUNK, 1, 1U << STAGE_OPEN, pipeline_hash, c->sha384},
	};
	struct pipeline_options o = {.length = seal_core(c->seal)->length,
				     .extent_size = SEAL_EXTENT_SIZE,
				     .buffers = BUFFERS,
				     .stages = stages,
				     .stage_count = ARRAY_LEN(stages),
				     .ctx = c};

	return pipeline_do(&o, NULL, err);
}

static void report_bad(const struct checking *c, const char *label,
		       struct check_payload_result *ret)
{
	char list[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < MIN(c->bad_count, (uint64_t)NAMED_MAX); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%llu", i ? ", " : "",
				      (unsigned long long)c->bad[i]);
	ret->chunks_code = seal_fail(&ret->error, c->first_failure, label,
				     "%llu of %llu: chunk %s%s (first at offset %llu)",
				     (unsigned long long)c->bad_count,
				     (unsigned long long)seal_core(c->seal)->chunk_count, list,
				     c->bad_count > NAMED_MAX ? ", …" : "",
				     (unsigned long long)c->bad[0] * SEAL_CHUNK_SIZE);
}

static int compare_digests(struct checking *c, const char *label, struct check_payload_result *ret)
{
	const struct seal_core *core = seal_core(c->seal);
	uint8_t sha256[SHA256_SIZE], sha384[SHA384_SIZE];
	int r = digest_final(c->sha256, sha256);

	if (r == 0)
		r = digest_final(c->sha384, sha384);
	if (r < 0)
		return r;
	if (memcmp(sha256, core->sha256, sizeof(sha256)) != 0)
		ret->digests_code = seal_fail(&ret->error, SEAL_BAD_DIGEST, label,
					      "the plaintext's SHA-256 is not the seal's");
	else if (memcmp(sha384, core->sha384, sizeof(sha384)) != 0)
		ret->digests_code = seal_fail(&ret->error, SEAL_BAD_DIGEST, label,
					      "the plaintext's SHA-384 is not the seal's");
	return 0;
}

int check_payload(struct source *source, const struct source_object *payload,
		  const struct seal *seal, const struct seal_keys *keys, bool quiet,
		  struct check_payload_result *ret, struct error *err)
{
	struct checking c = {.source = source,
			     .payload = payload,
			     .seal = seal,
			     .keys = keys,
			     .lock = PTHREAD_MUTEX_INITIALIZER};
	_cleanup_free_ char *label = source_describe(source, payload->name);
	struct error failure = {0};
	int r = digest_new(DIGEST_SHA256, &c.sha256);

	*ret = (struct check_payload_result){0};
	if (r == 0)
		r = digest_new(DIGEST_SHA384, &c.sha384);
	if (r == 0 && !label)
		r = -ENOMEM;
	c.progress = progress_new(payload->name, payload->size, quiet);
	if (r == 0)
		r = run_stages(&c, &failure);
	progress_free(c.progress);
	if (r < 0 && interrupt_check(err) == 0) {
		ret->chunks_code = r;
		ret->error = failure;
		r = 0;
	} else if (r == 0 && c.bad_count > 0) {
		report_bad(&c, label, ret);
	} else if (r == 0) {
		r = compare_digests(&c, label, ret);
	}
	for (unsigned i = 0; i < PIPELINE_THREADS_MAX; i++)
		chunk_cipher_free(c.ciphers[i]);
	digest_free(c.sha256);
	digest_free(c.sha384);
	return r;
}
