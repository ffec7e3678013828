/* tools/pipeline: order, completeness, ends, bounded buffers, failure and cancellation. */
#include "tests/unit/test.h"
#include "tools/common/pipeline.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)
#define EXTENT (4 * CHUNK)

struct fixture {
	uint64_t real_length; /* what the fill stage has to give */
	uint64_t ordered_next;
	uint64_t ordered_bytes;
	atomic_uint_fast64_t parallel_bytes, extent_bytes;
	atomic_uint in_flight, most_in_flight;
	atomic_uint failure_calls;
	uint64_t fail_at; /* extent, for the last stage */
	struct pipeline *cancel;
};

static int fill(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct fixture *f = ctx;
	uint64_t left = f->real_length - piece->offset;
	size_t n = (size_t)MIN(left, (uint64_t)piece->size);

	for (size_t i = 0; i < n; i += 4096)
		piece->data[i] = (uint8_t)((piece->offset + i) / 4096);
	if (piece->offset % EXTENT == 0 && n > 0) {
		unsigned now = ++f->in_flight;

		if (now > f->most_in_flight)
			f->most_in_flight = now;
	}
	return (int)n;
}

static int check(const struct pipeline_piece *piece)
{
	for (size_t i = 0; i < piece->size; i += 4096)
		if (piece->data[i] != (uint8_t)((piece->offset + i) / 4096))
			return -EBADMSG;
	return 0;
}

static int ordered(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct fixture *f = ctx;

	if (piece->index != f->ordered_next++)
		return -EPROTO;
	f->ordered_bytes += piece->size;
	return check(piece);
}

static int parallel(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct fixture *f = ctx;

	if (piece->thread >= 3)
		return -EPROTO;
	f->parallel_bytes += piece->size;
	return check(piece);
}

static int extents(void *ctx, const struct pipeline_piece *piece, struct error *err)
{
	struct fixture *f = ctx;

	if (piece->index == f->fail_at)
		return error_set(err, -EIO, "extent %llu is bad", (unsigned long long)piece->index);
	if (f->cancel && piece->index == 1)
		pipeline_cancel(f->cancel, -EINTR, "stopped");
	f->extent_bytes += piece->size;
	f->in_flight--;
	return check(piece);
}

static void on_failure(void *ctx)
{
	((struct fixture *)ctx)->failure_calls++;
}

static const struct pipeline_stage stages[] = {
	{PIPELINE_CHUNK, 1, 0, fill},
	{PIPELINE_CHUNK, 1, 1U << 0, ordered},
	{PIPELINE_CHUNK, 3, 1U << 1, parallel},
	{PIPELINE_EXTENT, 2, 1U << 1 | 1U << 2, extents},
};

static int run(struct fixture *f, uint64_t length, bool cancel, struct error *err)
{
	struct pipeline_options o = {.length = length,
				     .extent_size = EXTENT,
				     .buffers = 3,
				     .stages = stages,
				     .stage_count = ARRAY_LEN(stages),
				     .ctx = f,
				     .on_failure = on_failure};
	struct pipeline *p = NULL;
	int r;

	assert_int_equal(pipeline_new(&o, &p), 0);
	if (cancel)
		f->cancel = p;
	r = pipeline_run(p, err);
	if (r == 0)
		assert_int_equal(pipeline_length(p), f->real_length);
	pipeline_free(p);
	return r;
}

static void every_byte_passes_every_stage(void **state)
{
	static const uint64_t lengths[] = {0,
					   1,
					   CHUNK - 1,
					   CHUNK,
					   CHUNK + 1,
					   EXTENT - 1,
					   EXTENT,
					   EXTENT + 1,
					   EXTENT * 3,
					   EXTENT * 9,
					   9 * EXTENT + CHUNK + 7};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		for (int unknown = 0; unknown < 2; unknown++) {
			struct fixture f = {.real_length = lengths[i], .fail_at = UINT64_MAX};
			uint64_t told = unknown ? PIPELINE_LENGTH_UNKNOWN : lengths[i];

			assert_int_equal(run(&f, told, false, NULL), 0);
			assert_int_equal(f.ordered_bytes, lengths[i]);
			assert_int_equal(f.parallel_bytes, lengths[i]);
			assert_int_equal(f.extent_bytes, lengths[i]);
			assert_true(f.most_in_flight <= 3);
			assert_int_equal(f.failure_calls, 0);
		}
}

static void first_failure_stops_all(void **state)
{
	struct fixture f = {.real_length = 50 * EXTENT, .fail_at = 2};
	struct error err = {0};

	assert_int_equal(run(&f, f.real_length, false, &err), -EIO);
	assert_string_equal(err.message, "extent 2 is bad");
	assert_int_equal(f.failure_calls, 1);
	assert_true(f.extent_bytes < 7 * EXTENT);
}

static void can_be_cancelled(void **state)
{
	struct fixture f = {.real_length = 50 * EXTENT, .fail_at = UINT64_MAX};
	struct error err = {0};

	assert_int_equal(run(&f, f.real_length, true, &err), -EINTR);
	assert_string_equal(err.message, "stopped");
	assert_int_equal(f.failure_calls, 1);
}

static void refuses_nonsense(void **state)
{
	static const struct pipeline_stage late[] = {{PIPELINE_CHUNK, 1, 0, fill},
						     {PIPELINE_CHUNK, 1, 1U << 1, ordered}};
	struct pipeline_options o = {
		.extent_size = EXTENT, .buffers = 1, .stages = late, .stage_count = 2};
	struct pipeline *p = NULL;

	assert_int_equal(pipeline_new(&o, &p), -EINVAL);
	o.stages = stages;
	o.extent_size = 1000;
	assert_int_equal(pipeline_new(&o, &p), -EINVAL);
	o.extent_size = EXTENT;
	o.buffers = 0;
	assert_int_equal(pipeline_new(&o, &p), -EINVAL);
	assert_null(p);
	pipeline_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_passes_every_stage),
		cmocka_unit_test(first_failure_stops_all),
		cmocka_unit_test(can_be_cancelled),
		cmocka_unit_test(refuses_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
