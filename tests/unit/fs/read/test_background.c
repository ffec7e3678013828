/* fs/read/background: what is decrypted before it is asked for, and what is not. */
#include "fs/fetch/readers.h"

#include "tests/unit/fs/read/bench.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)
#define CHUNKS ((uint64_t)80)
/* With memory=32M, half of which is for plaintext, and half of that for what is ahead. */
#define DISTANCE 16

static void begin(struct bench *b, bool by_extents)
{
	struct bench_options o = {.length = CHUNKS * CHUNK - 7,
				  .by_extents = by_extents,
				  .check = CHUNK_CHECK_VERITY,
				  .ahead = true};

	bench_make(&o, b);
}

static unsigned reads_of(struct bench *b, uint64_t chunk)
{
	return atomic_load(&b->memory.chunk_reads[chunk]);
}

static void read_in_order(struct bench *b, uint64_t from, uint64_t to)
{
	for (uint64_t chunk = from; chunk < to; chunk += 2)
		bench_compare(b, b->file, chunk * CHUNK, 2 * CHUNK);
}

static void await_read(struct bench *b, uint64_t chunk)
{
	while (reads_of(b, chunk) == 0)
		sched_yield();
}

static void test_in_order(void **state)
{
	struct bench b;

	begin(&b, false);
	read_in_order(&b, 0, STREAM_DECRYPT_MIN);
	for (uint64_t chunk = STREAM_DECRYPT_MIN; chunk < STREAM_DECRYPT_MIN + DISTANCE; chunk++)
		await_read(&b, chunk);
	read_in_order(&b, STREAM_DECRYPT_MIN, STREAM_DECRYPT_MIN + DISTANCE);
	for (uint64_t chunk = 0; chunk < STREAM_DECRYPT_MIN + DISTANCE; chunk++)
		assert_int_equal(reads_of(&b, chunk), 1);
	read_in_order(&b, STREAM_DECRYPT_MIN + DISTANCE, CHUNKS);
	bench_done(&b);
}

/* Not far beyond the reader, however long it takes its time. */
static void test_distance(void **state)
{
	struct bench b;

	begin(&b, false);
	read_in_order(&b, 0, STREAM_DECRYPT_MIN);
	await_read(&b, STREAM_DECRYPT_MIN + DISTANCE - 1);
	read_file_free(b.file);
	b.file = NULL;
	for (uint64_t chunk = STREAM_DECRYPT_MIN + DISTANCE; chunk < CHUNKS; chunk++)
		assert_int_equal(reads_of(&b, chunk), 0);
	bench_done(&b);
}

static void test_who_jumps(void **state)
{
	struct bench b;

	begin(&b, false);
	for (uint64_t i = 0; i < 20; i++)
		bench_compare(&b, b.file, (i * 37 % 20) * CHUNK, 4096);
	for (uint64_t i = 0; i < 3; i++)
		bench_compare(&b, b.file, (70 - i * 20) * CHUNK, 2 * CHUNK);
	read_file_free(b.file);
	b.file = NULL;
	assert_int_equal(atomic_load(&b.memory.reads), 20 + 3 * 2);
	bench_done(&b);
}

/* A source that is far away has its own way of being ahead. */
static void test_extents(void **state)
{
	struct read_engine_state seen;
	struct bench b;

	begin(&b, true);
	read_in_order(&b, 0, STREAM_DECRYPT_MIN);
	read_file_free(b.file);
	b.file = NULL;
	read_engine_look(b.engine, &seen);
	assert_int_equal(seen.stats.total[STAT_CHUNKS_DECRYPTED], STREAM_DECRYPT_MIN);
	bench_done(&b);
}

/* As long as somebody waits for an answer nothing is begun. */
static void test_not_beside_answers(void **state)
{
	struct read_result result = {0};
	struct bench b;

	begin(&b, false);
	assert_int_equal(read_file_read(b.file, 0, 4096, &result, NULL), 0);
	read_in_order(&b, 2, 2 + STREAM_DECRYPT_MIN + 8);
	assert_int_equal(reads_of(&b, 2 + STREAM_DECRYPT_MIN + 8), 0);
	read_result_clear(&result);
	await_read(&b, 2 + STREAM_DECRYPT_MIN + 8);
	bench_done(&b);
}

/* The reader comes to what is damaged by itself, and has all that lies before it. */
static void test_damaged(void **state)
{
	uint64_t bad = STREAM_DECRYPT_MIN + 3;
	struct error err = {0};
	struct bench b;

	begin(&b, false);
	b.model.payload[bad * CHUNK + 5] ^= 1;
	read_in_order(&b, 0, STREAM_DECRYPT_MIN);
	await_read(&b, bad + 1);
	assert_int_equal(read_file_poisoned(b.file, NULL), 0);
	bench_compare(&b, b.file, STREAM_DECRYPT_MIN * CHUNK, 3 * CHUNK);
	assert_int_equal(bench_read(b.file, bad * CHUNK, 4096, &err), -EBADMSG);
	assert_int_equal(read_file_poisoned(b.file, NULL), -EBADMSG);
	bench_done(&b);
}

static void test_stopped_and_forgotten(void **state)
{
	for (uint64_t i = 0; i < 6; i++) {
		struct bench b;

		begin(&b, false);
		read_in_order(&b, 0, STREAM_DECRYPT_MIN + 2 * i);
		if (i % 2) {
			read_engine_stop(b.engine);
			assert_int_equal(bench_read(b.file, 70 * CHUNK, 1, NULL), -ECANCELED);
		}
		bench_done(&b);
	}
}

struct reader {
	struct bench *bench;
	uint64_t start;
	pthread_t thread;
};

static void *run_reader(void *arg)
{
	struct reader *r = arg;

	for (uint64_t i = 0; i < CHUNKS; i += 2)
		bench_compare(r->bench, r->bench->file, (r->start + i) % CHUNKS * CHUNK, 2 * CHUNK);
	return NULL;
}

static void test_several_readers(void **state)
{
	struct reader readers[3];
	struct bench b;

	begin(&b, false);
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		readers[i] = (struct reader){.bench = &b, .start = i * 26};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]),
				 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		pthread_join(readers[i].thread, NULL);
	bench_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_who_jumps),
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_not_beside_answers),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_stopped_and_forgotten),
		cmocka_unit_test(test_several_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
