/* A sealed model to read: see bench.h. */
#include "tests/unit/fs/read/bench.h"

#include "tests/unit/test.h"

#include <string.h>

static void unlock_model(struct bench *b, struct seal **seal, struct seal_keys **keys)
{
	struct error err = {0};

	assert_int_equal(seal_parse_head("m.seal", b->model.seal, b->model.seal_size,
					 b->model.seal_size, seal, &err),
			 0);
	assert_int_equal(fixture_unlock(*seal, b->model.seal, b->model.data_key, keys, &err), 0);
}

struct read_file *bench_open(struct bench *b, enum chunk_check check)
{
	struct read_file_options options = {
		.source = &b->memory.source,
		.payload_name = BENCH_PAYLOAD,
		.version = "v1",
		.label = "memory/" BENCH_PAYLOAD,
		.check = check,
	};
	struct read_file *f = NULL;
	struct error err = {0};

	unlock_model(b, &options.seal, &options.keys);
	assert_int_equal(read_file_new(b->engine, &options, &f, &err), 0);
	return f;
}

void bench_make(const struct bench_options *o, struct bench *b)
{
	struct fixture_options model = {.length = o->length};
	struct read_engine_options engine = {
		.workers = 2,
		.ahead = o->ahead,
		.fill = o->fill,
		.store = o->store,
		.introduce = o->introduce,
	};

	budget_divide_total(o->memory_bytes ? o->memory_bytes : BUDGET_MIN, false, &engine.budget);
	memset(b, 0, sizeof(*b));
	fixture_make(&model, &b->model);
	memory_source_init(&b->memory, o->by_extents);
	b->payload =
		memory_source_add(&b->memory, BENCH_PAYLOAD, b->model.payload, o->length, "v1");
	assert_int_equal(read_engine_new(&engine, &b->engine), 0);
	b->file = bench_open(b, o->check);
}

void bench_done(struct bench *b)
{
	read_file_free(b->file);
	read_engine_free(b->engine);
	fixture_done(&b->model);
}

void bench_compare(struct bench *b, struct read_file *f, uint64_t offset, size_t size)
{
	struct read_result result;
	struct error err = {0};
	uint64_t at = offset;

	if (read_file_read(f, offset, size, &result, &err) < 0)
		fail_msg("read of %zu at %llu: %s", size, (unsigned long long)offset, err.message);
	for (size_t i = 0; i < result.count; i++) {
		assert_true(at + result.pieces[i].size <= b->model.length);
		assert_memory_equal(result.pieces[i].data, b->model.plain + at,
				    result.pieces[i].size);
		at += result.pieces[i].size;
	}
	read_result_clear(&result);
	if (offset < b->model.length)
		assert_int_equal(at - offset, MIN(size, b->model.length - offset));
	else
		assert_int_equal(at, offset);
}

int bench_read(struct read_file *f, uint64_t offset, size_t size, struct error *err)
{
	struct read_result result;
	int r = read_file_read(f, offset, size, &result, err);

	if (r == 0)
		read_result_clear(&result);
	else
		assert_int_equal(result.count, 0);
	return r;
}

void bench_forge_chunk(struct bench *b, uint64_t index, uint8_t tag[SEAL_TAG_SIZE])
{
	_cleanup_(chunk_cipher_freep) struct chunk_cipher *c = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	_cleanup_seal_ struct seal *seal = NULL;
	_cleanup_free_ uint8_t *other = NULL;
	uint8_t hash[SEAL_HASH_SIZE];
	size_t size;

	unlock_model(b, &seal, &keys);
	size = seal_chunk_size(seal, index);
	other = calloc(1, size);
	assert_non_null(other);
	assert_int_equal(chunk_cipher_new(keys, seal_core(seal)->chunk_count, &c), 0);
	assert_int_equal(chunk_seal_verity(c, index, other, size, b->model.length,
					   b->model.payload + index * SEAL_CHUNK_SIZE, tag, hash),
			 0);
}
