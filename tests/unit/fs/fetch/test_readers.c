/* fs/fetch/readers, tensors: who reads where, and what comes next. */
#include "fs/fetch/readers.h"

#include "crypto/format.h"
#include "tests/unit/fs/formats/gguf.h"
#include "tests/unit/test.h"

#include <stdatomic.h>

#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)
#define ROOM 256 /* chunks */
#define FILE_CHUNKS 100000
#define PER_EXTENT (SEAL_EXTENT_SIZE / SEAL_CHUNK_SIZE)

struct world {
	struct readers *t;
	struct payload a, b;
	uint64_t now_ms;
	struct reader_note note;
	struct reader_plan plan;
};

static void begin(struct world *w)
{
	*w = (struct world){.a = {.chunk_count = FILE_CHUNKS, .by_extents = true}};
	access_init(&w->a.access, FILE_CHUNKS);
	w->b = w->a;
	assert_int_equal(readers_new(&w->t), 0);
}

static void end(struct world *w)
{
	access_done(&w->a.access);
	readers_free(w->t);
}

/* Chunks that are planned ahead. */
static uint64_t note(struct world *w, struct payload *file, uint64_t first, uint64_t count)
{
	uint64_t sum = 0;

	readers_note(w->t, file, first * CHUNK, count * CHUNK, w->now_ms, false, &w->note);
	readers_plan(w->t, w->note.stream, w->now_ms, ROOM, &w->plan);
	for (unsigned i = 0; i < w->plan.range_count; i++) {
		assert_true(w->plan.ranges[i].first < w->plan.ranges[i].end);
		assert_true(w->plan.ranges[i].end <= FILE_CHUNKS);
		sum += w->plan.ranges[i].end - w->plan.ranges[i].first;
	}
	assert_true(sum <= ROOM);
	assert_true(w->plan.sequential || sum == 0);
	return sum;
}

/* What is planned from chunk `next` on when the room ends before the file: up to a border. */
static uint64_t up_to_border(uint64_t next, uint64_t room)
{
	return (next + room) / PER_EXTENT * PER_EXTENT - next;
}

static void test_first_reads_are_not_sequential(void **state)
{
	struct world w;

	begin(&w);
	for (uint64_t c = 0; c < 4; c++)
		assert_int_equal(note(&w, &w.a, c, 1), 0);
	assert_int_not_equal(note(&w, &w.a, 4, 1), 0);
	assert_int_equal(w.plan.ranges[0].first, 5);
	end(&w);
}

static void test_big_request_is_sequential(void **state)
{
	struct world w;

	begin(&w);
	assert_in_range(note(&w, &w.a, 1000, 2), 1, ROOM / 2);
	end(&w);
	begin(&w);
	/* From the start: all of it is wanted, at once. */
	assert_int_equal(note(&w, &w.a, 0, 2), up_to_border(2, ROOM));
	end(&w);
}

static void test_window_grows_to_its_limit(void **state)
{
	struct world w;
	uint64_t before = 0, now = 0;

	begin(&w);
	for (uint64_t c = 7; c < 1000; c++) {
		note(&w, &w.a, c, 1);
		now = w.plan.range_count > 0 ? w.plan.ranges[0].end : 0;
		assert_true(now >= before);
		before = now;
	}
	assert_int_equal(now, 1000 + up_to_border(1000, ROOM));
	end(&w);
}

/* However small the reader's steps are, what is fetched are whole extents. */
static void test_window_ends_at_borders(void **state)
{
	struct world w;

	begin(&w);
	for (uint64_t c = 0; c < 500; c += 2) {
		note(&w, &w.a, c, 2);
		assert_int_equal(w.plan.range_count, 1);
		assert_int_equal(w.plan.ranges[0].end % PER_EXTENT, 0);
	}
	end(&w);
}

/* A request that a slow thread tells late does not begin anything. */
static void test_late_request(void **state)
{
	struct world w;
	uint64_t stream, next = 0;

	begin(&w);
	for (; next < 100; next += 2)
		note(&w, &w.a, next, 2);
	stream = w.note.stream;
	note(&w, &w.a, next - STREAM_LATE, 2);
	assert_int_equal(w.note.stream, stream);
	assert_int_equal(w.plan.ranges[0].first, next);
	note(&w, &w.a, next - STREAM_LATE - 1, 1);
	assert_int_not_equal(w.note.stream, stream);
	end(&w);
}

/* A reader skips what it finds in the page cache: it is given as much room as before. */
static void test_skipping_ahead(void **state)
{
	struct world w;
	uint64_t next = 0, stream;

	begin(&w);
	for (; next < 100; next += 2)
		note(&w, &w.a, next, 2);
	stream = w.note.stream;
	next += PER_EXTENT + STREAM_SLACK + 1;
	note(&w, &w.a, next, 2);
	assert_int_not_equal(w.note.stream, stream);
	w.now_ms += STREAM_ACTIVE_MS + 1;
	assert_int_equal(note(&w, &w.a, next + 2, 2), up_to_border(next + 4, ROOM));
	/* A small request says nothing. */
	end(&w);
	begin(&w);
	for (next = 0; next < 100; next += 2)
		note(&w, &w.a, next, 2);
	assert_int_equal(note(&w, &w.a, next + PER_EXTENT, 1), 0);
	end(&w);
}

static void test_end_of_file(void **state)
{
	struct world w;

	begin(&w);
	note(&w, &w.a, FILE_CHUNKS - 10, 8);
	assert_int_equal(w.plan.range_count, 1);
	assert_int_equal(w.plan.ranges[0].end, FILE_CHUNKS);
	assert_int_equal(note(&w, &w.a, FILE_CHUNKS - 2, 2), 0);
	end(&w);
}

static void test_order_may_be_a_little_wrong(void **state)
{
	static const uint64_t order[] = {0, 2, 1, 3, 5, 4, 7, 6, 9, 8};
	struct world w;
	uint64_t now = 0;

	begin(&w);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		now = note(&w, &w.a, order[i], 1);
	assert_int_not_equal(now, 0);
	end(&w);
}

static void test_parts_of_one_chunk_do_not_count(void **state)
{
	struct world w;

	begin(&w);
	for (int i = 0; i < 100; i++)
		assert_int_equal(note(&w, &w.a, 7, 1), 0);
	end(&w);
}

static void test_jumps(void **state)
{
	struct world w;

	begin(&w);
	for (uint64_t i = 0; i < 200; i++, w.now_ms++)
		assert_int_equal(note(&w, &w.a, i * 7919 % 4999 * 20, 1), 0);
	end(&w);
}

static void test_two_files_are_two_streams(void **state)
{
	struct world w;

	begin(&w);
	for (uint64_t c = 0; c < 3; c++) {
		assert_int_equal(note(&w, &w.a, c, 1), 0);
		assert_int_equal(note(&w, &w.b, c + 3, 1), 0);
	}
	end(&w);
}

static void run_streams(struct world *w, unsigned count)
{
	for (uint64_t c = 0; c < 200; c++)
		for (unsigned s = 0; s < count; s++)
			note(w, &w->a, s * 1000 + c, 1);
}

static void test_room_is_shared(void **state)
{
	struct world w;

	begin(&w);
	run_streams(&w, 8);
	assert_int_equal(note(&w, &w.a, 200, 1), up_to_border(201, ROOM / 8));
	/* More readers than extents: better by chunk than each throwing out the others'. */
	run_streams(&w, 20);
	assert_int_equal(note(&w, &w.a, 201, 1), 0);
	/* The others have gone. */
	w.now_ms += STREAM_ACTIVE_MS;
	assert_int_equal(note(&w, &w.a, 202, 1), up_to_border(203, ROOM));
	end(&w);
}

static void test_expected(void **state)
{
	struct world w;

	begin(&w);
	readers_expect(w.t, &w.a, 0);
	assert_int_equal(note(&w, &w.a, 0, 1), up_to_border(1, ROOM));
	end(&w);
}

static void test_forget(void **state)
{
	struct world w;

	begin(&w);
	run_streams(&w, 2);
	assert_int_equal(readers_asked(w.t, &w.a, 199), 200);
	readers_forget(w.t, &w.a);
	assert_int_equal(readers_asked(w.t, &w.a, 199), 0);
	assert_int_equal(note(&w, &w.a, 200, 1), 0);
	end(&w);
}

/* One reader that has jumped away, and several that take turns. */
static void test_left(void **state)
{
	struct world w;
	uint64_t first, ids[8];

	begin(&w);
	note(&w, &w.a, 0, 2);
	first = w.note.stream;
	assert_false(readers_have_left(w.t, first));
	for (uint64_t i = 0; i < STREAM_LEFT_NOTES + 1; i++)
		note(&w, &w.a, 5000 + 2 * i, 2);
	assert_true(readers_have_left(w.t, first));
	assert_false(readers_have_left(w.t, w.note.stream));
	/* It comes back. */
	note(&w, &w.a, 2, 2);
	assert_int_equal(w.note.stream, first);
	assert_false(readers_have_left(w.t, first));

	end(&w);
	begin(&w);
	run_streams(&w, 8);
	for (unsigned i = 0; i < 8; i++) {
		note(&w, &w.a, i * 1000 + 199, 1);
		ids[i] = w.note.stream;
	}
	for (unsigned i = 0; i < 8; i++)
		assert_false(readers_have_left(w.t, ids[i]));
	assert_true(readers_have_left(w.t, 12345));
	end(&w);
}

/* ---------------------------------------------------------------- what else asks who reads where
 */

static void note_bytes(struct world *w, uint64_t offset, uint64_t size)
{
	readers_note(w->t, &w->a, offset, size, w->now_ms, false, &w->note);
}

/* Two readers that take turns do not jump; one that skips a page does. */
static void test_jumped(void **state)
{
	struct world w;

	begin(&w);
	note_bytes(&w, 0, 4096);
	note_bytes(&w, 1000 * CHUNK, 4096);
	for (uint64_t at = 4096; at < CHUNK; at += 4096) {
		note_bytes(&w, at, 4096);
		assert_false(w.note.jumped);
		note_bytes(&w, 1000 * CHUNK + at, 4096);
		assert_false(w.note.jumped);
	}
	note_bytes(&w, CHUNK + 4096, 4096);
	assert_true(w.note.jumped);
	/* Those who fill are no readers. */
	readers_note(w.t, &w.a, 50 * CHUNK, CHUNK, 0, true, &w.note);
	assert_false(w.note.jumped);
	note_bytes(&w, 51 * CHUNK, 4096);
	assert_true(w.note.jumped);
	end(&w);
}

/* Many small requests all over do not push out who reads in order, until it has stopped. */
static void test_jumps_leave_readers_in_order(void **state)
{
	struct world w;
	uint64_t stream;

	begin(&w);
	note(&w, &w.a, 50000, 2);
	stream = w.note.stream;
	for (uint64_t i = 0; i < 3 * STREAMS_MAX; i++)
		note_bytes(&w, i * 40 * CHUNK, 4096);
	note(&w, &w.a, 50002, 2);
	assert_int_equal(w.note.stream, stream);
	w.now_ms += STREAM_ACTIVE_MS;
	for (uint64_t i = 0; i < 3 * STREAMS_MAX; i++)
		note_bytes(&w, i * 40 * CHUNK, 4096);
	note(&w, &w.a, 50004, 2);
	assert_int_not_equal(w.note.stream, stream);
	end(&w);
}

static void test_near(void **state)
{
	struct world w;

	begin(&w);
	note(&w, &w.a, 100, 2);
	assert_int_equal(readers_near(w.t, &w.a, 101, 0), STREAM_DISTANCE + 1);
	assert_int_equal(readers_near(w.t, &w.a, 102 + STREAM_DISTANCE - 1, 0), 1);
	assert_int_equal(readers_near(w.t, &w.a, 102 + STREAM_DISTANCE, 0), 0);
	assert_int_equal(readers_near(w.t, &w.a, 102 - STREAM_SLACK - 1, 0), 0);
	assert_int_equal(readers_near(w.t, &w.b, 101, 0), 0);
	assert_int_equal(readers_near(w.t, &w.a, 101, STREAM_NEAR_MS), 0);
	/* Whoever jumps keeps others off a little only. */
	note(&w, &w.a, 1000, 1);
	assert_int_equal(readers_near(w.t, &w.a, 1001 + STREAM_SLACK, 0), 0);
	/* What is filled is not a reader's. */
	readers_note(w.t, &w.a, 5000 * CHUNK, CHUNK, 0, true, &w.note);
	assert_int_equal(readers_near(w.t, &w.a, 5000, 0), 0);
	end(&w);
}

static void test_decrypt_next(void **state)
{
	struct payload *p;
	struct world w;
	uint64_t chunk;

	begin(&w);
	w.a.by_extents = w.b.by_extents = false;
	for (uint64_t c = 0; c < STREAM_DECRYPT_MIN - 2; c += 2)
		note(&w, &w.a, c, 2);
	/* Requests below a chunk move the reader, and say nothing. */
	note_bytes(&w, (STREAM_DECRYPT_MIN - 2) * CHUNK, CHUNK / 2);
	assert_false(w.note.decrypt);
	assert_false(readers_decrypt_next(w.t, 4, &p, &chunk));
	note(&w, &w.a, STREAM_DECRYPT_MIN - 1, 2);
	assert_true(w.note.decrypt);
	for (uint64_t i = 1; i <= 4; i++) {
		assert_true(readers_decrypt_next(w.t, 4, &p, &chunk));
		assert_ptr_equal(p, &w.a);
		assert_int_equal(chunk, STREAM_DECRYPT_MIN + i);
	}
	assert_false(readers_decrypt_next(w.t, 4, &p, &chunk));
	/* It moves on past all of that. */
	note(&w, &w.a, STREAM_DECRYPT_MIN + 5, 2);
	assert_true(readers_decrypt_next(w.t, 4, &p, &chunk));
	assert_int_equal(chunk, STREAM_DECRYPT_MIN + 7);
	atomic_store(&w.a.abandoned, true);
	assert_false(readers_decrypt_next(w.t, 4, &p, &chunk));
	end(&w);
}

/* ---------------------------------------------------------------- tensors */

#define TENSORS 60
#define TENSOR_CHUNKS 40

/* Tensors of 20 MiB each, one after the other, from chunk 1 on. */
static void begin_with_tensors(struct world *w)
{
	begin(w);
	access_set_map(&w->a.access, gguf_even_map(TENSORS, CHUNK, TENSOR_CHUNKS * CHUNK));
}

static uint64_t start_of(unsigned tensor)
{
	return 1 + (uint64_t)tensor * TENSOR_CHUNKS;
}

static uint64_t read_tensor(struct world *w, unsigned tensor, uint64_t chunks)
{
	uint64_t planned = 0;

	for (uint64_t c = 0; c < chunks; c += 2)
		planned = note(w, &w->a, start_of(tensor) + c, 2);
	return planned;
}

static bool plans(const struct world *w, unsigned tensor)
{
	for (unsigned i = 0; i < w->plan.range_count; i++)
		if (w->plan.ranges[i].first == start_of(tensor))
			return true;
	return false;
}

/* Every third tensor: after two jumps the next ones are known. */
static void test_strides_between_tensors(void **state)
{
	struct world w;

	begin_with_tensors(&w);
	read_tensor(&w, 0, TENSOR_CHUNKS);
	read_tensor(&w, 3, TENSOR_CHUNKS);
	read_tensor(&w, 6, 2);
	assert_int_equal(w.plan.ranges[0].end, start_of(7));
	assert_true(plans(&w, 9));
	assert_true(plans(&w, 12));
	assert_false(plans(&w, 7));
	end(&w);
}

/* Blocks of four tensors, of which the first, the fourth and the second are read, in this order. */
static void test_pattern_of_blocks(void **state)
{
	struct world w;

	begin_with_tensors(&w);
	for (unsigned block = 0; block < 3; block++) {
		read_tensor(&w, 4 * block, 10);
		read_tensor(&w, 4 * block + 3, 10);
		read_tensor(&w, 4 * block + 1, 10);
	}
	read_tensor(&w, 12, 2);
	assert_true(plans(&w, 15));
	assert_true(plans(&w, 13));
	read_tensor(&w, 15, 2);
	assert_true(plans(&w, 13));
	assert_true(plans(&w, 16));
	end(&w);
}

/* The kernel's readahead runs past a tensor's end; a reader that goes on is not held back. */
static void test_reading_past_a_tensor(void **state)
{
	struct world w;

	begin_with_tensors(&w);
	read_tensor(&w, 20, TENSOR_CHUNKS);
	read_tensor(&w, 40, TENSOR_CHUNKS + 4);
	for (unsigned i = 0; i < w.plan.range_count; i++)
		assert_true(w.plan.ranges[i].first != start_of(41) + 4);
	assert_int_equal(read_tensor(&w, 40, TENSOR_CHUNKS + STREAM_SLACK + 4),
			 up_to_border(start_of(41) + STREAM_SLACK + 4, ROOM));
	assert_int_equal(w.plan.range_count, 1);
	end(&w);
}

/* Without jumps a map changes nothing. */
static void test_file_order_is_one_stream(void **state)
{
	struct world w;

	begin_with_tensors(&w);
	note(&w, &w.a, 0, 2);
	for (uint64_t c = 2; c < 500; c += 2) {
		assert_int_equal(note(&w, &w.a, c, 2), up_to_border(c + 2, ROOM));
		assert_int_equal(w.plan.range_count, 1);
	}
	end(&w);
}

static void test_predictions_stay_inside(void **state)
{
	struct world w;

	begin_with_tensors(&w);
	read_tensor(&w, TENSORS - 3, 2);
	read_tensor(&w, TENSORS - 1, 2);
	assert_true(access_predict(&w.a.access, 1) == SIZE_MAX);
	assert_true(access_predict(&w.a.access, 1000) == SIZE_MAX);
	/* More jumps than are remembered. */
	for (unsigned i = 0; i < 3 * ACCESS_STEPS_MAX; i++)
		access_jump(&w.a.access, start_of(i * 7 % TENSORS) * CHUNK);
	assert_true(access_predict(&w.a.access, 1) < TENSORS);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_reads_are_not_sequential),
		cmocka_unit_test(test_big_request_is_sequential),
		cmocka_unit_test(test_window_grows_to_its_limit),
		cmocka_unit_test(test_window_ends_at_borders),
		cmocka_unit_test(test_late_request),
		cmocka_unit_test(test_skipping_ahead),
		cmocka_unit_test(test_end_of_file),
		cmocka_unit_test(test_order_may_be_a_little_wrong),
		cmocka_unit_test(test_parts_of_one_chunk_do_not_count),
		cmocka_unit_test(test_jumps),
		cmocka_unit_test(test_two_files_are_two_streams),
		cmocka_unit_test(test_room_is_shared),
		cmocka_unit_test(test_expected),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_jumped),
		cmocka_unit_test(test_jumps_leave_readers_in_order),
		cmocka_unit_test(test_near),
		cmocka_unit_test(test_decrypt_next),
		cmocka_unit_test(test_strides_between_tensors),
		cmocka_unit_test(test_pattern_of_blocks),
		cmocka_unit_test(test_reading_past_a_tensor),
		cmocka_unit_test(test_file_order_is_one_stream),
		cmocka_unit_test(test_predictions_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
