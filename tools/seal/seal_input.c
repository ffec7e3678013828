/*
 * Sealing one plaintext. Job: read once, hash, encrypt and upload at the same time in a fixed pool
 * of buffers, and publish at the end. Each chunk is encrypted in place, after both flat digests
 * have passed over it, so no second copy of the plaintext exists. Trusts the input to notice
 * changes. Must never let plaintext reach the destination: the upload stage comes after encryption
 * only.
 */
#include "tools/seal/seal_input.h"

#include "crypto/base/clock.h"
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "crypto/base/locked.h"
#include "crypto/base/log.h"
#include "crypto/seal_writer.h"
#include "fs/formats/gguf_name.h"
#include "tools/common/interrupt.h"
#include "tools/common/pipeline.h"
#include "tools/common/progress.h"
#include "tools/seal/model_facts.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define S3_PARTS_MAX 10000
/* Memory of all buffers together, unless two of them need more. */
#define POOL_SIZE ((size_t)40 << 20)

enum { STAGE_FILL, STAGE_SHA256, STAGE_SHA384, STAGE_ENCRYPT, STAGE_UPLOAD };

struct sealing {
	const struct seal_request *req;
	struct input *in;
	struct progress *progress;
	struct seal_builder *builder;
	struct source_writer *writer;
	struct digest *sha256, *sha384;
	struct chunk_cipher *ciphers[PIPELINE_THREADS_MAX]; /* one a thread */
	struct model_facts *facts; /* locked memory: it holds the plaintext's start */
	uint64_t length;
	size_t part_size;
};

size_t seal_part_size(uint64_t length, bool dest_is_s3)
{
	uint64_t parts = (length + SEAL_EXTENT_SIZE - 1) / SEAL_EXTENT_SIZE;

	if (!dest_is_s3 || parts <= S3_PARTS_MAX)
		return SEAL_EXTENT_SIZE;
	return (size_t)((parts + S3_PARTS_MAX - 1) / S3_PARTS_MAX) * SEAL_EXTENT_SIZE;
}

static int fill(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct sealing *s = ctx;
	size_t n = 0;
	int r = input_read(s->in, piece->data, piece->size, &n, err);

	if (r < 0)
		return r;
	/* Too short: input_finish() makes the message. */
	if (n < piece->size) {
		r = input_finish(s->in, err);
		return r < 0 ? r : -ETXTBSY;
	}
	model_facts_feed(s->facts, piece->data, n);
	return (int)n;
}

static int encrypt_piece(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct sealing *s = ctx;
	uint8_t hash[SEAL_HASH_SIZE], tag[SEAL_TAG_SIZE];
	int r;

	if (!s->ciphers[piece->thread]) {
		r = chunk_cipher_new(seal_builder_keys(s->builder),
				     seal_builder_chunk_count(s->builder),
				     &s->ciphers[piece->thread]);
		if (r < 0)
			return r;
	}
	r = chunk_seal_verity(s->ciphers[piece->thread], piece->index, piece->data, piece->size,
			      s->length, piece->data, tag, hash);
	if (r == 0)
		seal_builder_set_chunk(s->builder, piece->index, tag, hash);
	return r;
}

static int upload(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct sealing *s = ctx;
	int r = source_writer_part(s->writer, piece->index, piece->data, piece->size, err);

	if (r == 0)
		progress_add(s->progress, piece->size);
	return r;
}

static void stop_input(void *ctx)
{
	input_cancel(((struct sealing *)ctx)->in);
}

static int run_stages(struct sealing *s, struct error *err)
{
	unsigned buffers = (unsigned)MAX(POOL_SIZE / s->part_size, (size_t)2);
	const struct pipeline_stage stages[] = {
		[STAGE_FILL] = {PIPELINE_CHUNK, 1, 0, fill},
		[STAGE_SHA256] = {PIPELINE_CHUNK, 1, 1U << STAGE_FILL, pipeline_hash, s->sha256},
		[STAGE_SHA384] = {PIPELINE_CHUNK, 1, 1U << STAGE_FILL, pipeline_hash, s->sha384},
		[STAGE_ENCRYPT] = {PIPELINE_CHUNK, pipeline_threads(),
				   1U << STAGE_SHA256 | 1U << STAGE_SHA384, encrypt_piece},
		[STAGE_UPLOAD] = {PIPELINE_EXTENT, buffers - 1, 1U << STAGE_ENCRYPT, upload},
	};
	struct pipeline_options o = {.length = s->length,
				     .extent_size = s->part_size,
				     .buffers = buffers,
				     .stages = stages,
				     .stage_count = ARRAY_LEN(stages),
				     .ctx = s,
				     .on_failure = stop_input};

	return pipeline_do(&o, NULL, err);
}

/* Everything up to a complete payload that is not visible yet. */
static int write_payload(struct sealing *s, struct seal_result *res, struct error *err)
{
	int r = source_writer_new(s->req->dest, res->payload_name, s->length, s->part_size,
				  &s->writer, err);

	if (r == 0)
		r = digest_new(DIGEST_SHA256, &s->sha256);
	if (r == 0)
		r = digest_new(DIGEST_SHA384, &s->sha384);
	if (r == 0)
		r = run_stages(s, err);
	if (r == 0)
		r = input_finish(s->in, err);
	if (r == 0)
		r = digest_final(s->sha256, res->digests.sha256);
	if (r == 0)
		r = digest_final(s->sha384, res->digests.sha384);
	return r;
}

static int make_seal(struct sealing *s, struct seal_result *res, uint8_t **ret, size_t *ret_size,
		     struct error *err)
{
	struct seal_finish finish = {
		.slots = res->slots, .slot_count = res->slot_count, .signer = s->req->signer};
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_seal_ struct seal *seal = NULL;
	size_t size = 0;
	int r;

	finish.facts = s->req->no_facts ? NULL : &res->facts;
	finish.sealed_at =
		s->req->sealed_at == SEALED_NOW ? (uint64_t)time(NULL) : s->req->sealed_at;
	memcpy(finish.sha256, res->digests.sha256, sizeof(finish.sha256));
	memcpy(finish.sha384, res->digests.sha384, sizeof(finish.sha384));
	r = seal_builder_finish(s->builder, &finish, &bytes, &size, err);
	if (r == 0)
		r = seal_parse_head(res->seal_name, bytes, MIN(size, (size_t)SEAL_HEAD_MAX), size,
				    &seal, err);
	if (r < 0)
		return r;
	r = digest_buffer(DIGEST_SHA384, bytes, SEAL_CORE_SIZE, res->core_digest);
	if (r < 0)
		return r;
	memcpy(res->digests.verity, seal_core(seal)->verity, sizeof(res->digests.verity));
	*ret = steal_ptr(bytes);
	*ret_size = size;
	return 0;
}

static int start(struct sealing *s, const char *name, struct seal_result *res, struct error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	char id[2 * SEAL_FILE_ID_SIZE + 1];
	int r = seal_builder_new(name, &s->builder, err);

	if (r < 0)
		return r;
	memcpy(res->file_id, seal_builder_file_id(s->builder), sizeof(res->file_id));
	hex_encode(res->file_id, sizeof(res->file_id), id);
	if (asprintf(&res->seal_name, "%s" SEAL_SUFFIX, name) < 0) {
		res->seal_name = NULL;
		return -ENOMEM;
	}
	if (asprintf(&res->payload_name, "%s.%.*s" SEAL_PAYLOAD_SUFFIX, name,
		     SEAL_PAYLOAD_ID_DIGITS, id) < 0) {
		res->payload_name = NULL;
		return -ENOMEM;
	}
	r = recipients_make(s->req->recipients, res->file_id, &key, res->slots, &res->slot_count,
			    err);
	if (r == 0)
		r = seal_builder_start(s->builder, s->length, key, err);
	return r;
}

static int seal_and_publish(struct sealing *s, const char *name, struct seal_result *res,
			    struct error *err)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size = 0;
	int r = start(s, name, res, err);

	if (r == 0)
		r = write_payload(s, res, err);
	if (r == 0)
		r = model_facts_make(s->facts, &res->facts);
	if (r == 0 && (s->req->is_gguf || gguf_is_name(name)))
		model_facts_warn(s->facts, &res->facts, name);
	if (r == 0)
		r = make_seal(s, res, &bytes, &size, err);
	if (r == 0 && s->req->before_publish)
		r = s->req->before_publish(s->req->before_arg, res, err);
	if (r == 0)
		r = interrupt_check(err);
	return r < 0 ? r : publish(s->req, s->writer, bytes, size, res, err);
}

static struct progress *show_progress(const struct seal_request *req, const char *name,
				      uint64_t length)
{
	char label[SEAL_PATH_MAX + 48];

	if (req->total <= 1)
		return progress_new(name, length, req->quiet);
	(void)snprintf(label, sizeof(label), "%zu/%zu %s", req->number, req->total, name);
	return progress_new(label, length, req->quiet);
}

int seal_input(const struct seal_request *req, struct input *in, const char *name,
	       struct seal_result *ret, struct error *err)
{
	struct sealing s = {.req = req, .in = in, .length = input_length(in)};
	uint64_t started_ms = monotonic_ms();
	int r;

	*ret = (struct seal_result){.length = s.length};
	s.part_size = seal_part_size(s.length, req->dest_is_s3);
	s.facts = locked_alloc(sizeof(*s.facts));
	if (!s.facts)
		return error_set(err, -ENOMEM, "no memory to seal %s", input_label(in));
	model_facts_start(s.facts, s.length);
	s.progress = show_progress(req, name, s.length);
	r = seal_and_publish(&s, name, ret, err);
	locked_free(s.facts);
	progress_free(s.progress);
	if (r < 0 && s.writer)
		publish_undo(req, s.writer);
	source_writer_free(s.writer);
	for (unsigned i = 0; i < PIPELINE_THREADS_MAX; i++)
		chunk_cipher_free(s.ciphers[i]);
	digest_free(s.sha256);
	digest_free(s.sha384);
	seal_builder_free(s.builder);
	ret->seconds = (double)(monotonic_ms() - started_ms) / 1000;
	if (r < 0) {
		seal_result_clear(ret);
		error_set(err, r, "cannot seal %s: %s", input_label(in), strerror(-r));
	}
	return r;
}
