/* fs/read/range: many readers at once: single flight, errors for all, room, shutdown, random load.
 */
#include "tests/unit/fs/read/bench.h"

#include "fs/read/read_internal.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define CHUNK ((uint64_t)SEAL_CHUNK_SIZE)
#define MIB ((uint64_t)1 << 20)
#define READERS 8

/* Holds up reads that touch one chunk until it is opened, and sees those of another. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t chunk, other;
	bool open, other_seen;
	unsigned waiting;
	int code; /* what the held reads end with */
};

static void gate_init(struct gate *g, uint64_t chunk, int code)
{
	*g = (struct gate){.chunk = chunk, .other = UINT32_MAX, .code = code};
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->changed, NULL);
}

static int gate_hook(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
		     struct error *err)
{
	struct gate *g = arg;
	uint64_t at = g->chunk * CHUNK;

	pthread_mutex_lock(&g->lock);
	if (offset == g->other * CHUNK) {
		g->other_seen = true;
		pthread_cond_broadcast(&g->changed);
	}
	if (at < offset || at >= offset + size) {
		pthread_mutex_unlock(&g->lock);
		return 0;
	}
	g->waiting++;
	pthread_cond_broadcast(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
	return g->code;
}

static void gate_await(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	while (g->waiting == 0)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->open = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

struct reader {
	struct bench *bench;
	uint64_t offset;
	size_t size;
	int code;
	pthread_t thread;
};

static void *run_reader(void *arg)
{
	struct reader *r = arg;

	r->code = bench_read(r->bench->file, r->offset, r->size, NULL);
	return NULL;
}

static void start_reader(struct reader *r)
{
	assert_int_equal(pthread_create(&r->thread, NULL, run_reader, r), 0);
}

static void make(struct bench *b, struct gate *g, uint64_t length)
{
	struct bench_options o = {.length = length, .check = CHUNK_CHECK_VERITY};

	bench_make(&o, b);
	b->memory.hook = gate_hook;
	b->memory.hook_arg = g;
}

/* Eight readers of one chunk that the source has not yet given; each gets code. */
static void eight_readers(int gate_code, int code, unsigned reads)
{
	struct reader readers[READERS];
	struct bench b;
	struct gate g;

	gate_init(&g, 1, gate_code);
	make(&b, &g, 3 * CHUNK);
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){&b, CHUNK + i * 4096, 4096, 1, 0};
		start_reader(&readers[i]);
	}
	gate_await(&g);
	gate_open(&g);
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].code, code);
	}
	if (reads)
		assert_int_equal(atomic_load(&b.memory.chunk_reads[1]), reads);
	bench_done(&b);
}

static void test_single_flight(void **state)
{
	eight_readers(0, 0, 1);
}

static void test_failure_reaches_all(void **state)
{
	/* How many reads depends on who comes after the failure. */
	eight_readers(-ECONNRESET, -ECONNRESET, 0);
}

/* One request fails at its first chunk; who waited for its second is served all the same. */
static void test_failure_of_one_chunk_is_not_the_next_ones(void **state)
{
	struct reader first, second;
	struct bench b;
	struct gate g;

	gate_init(&g, 0, -ETIMEDOUT);
	make(&b, &g, 3 * CHUNK);
	first = (struct reader){&b, 0, 2 * CHUNK, 1, 0};
	second = (struct reader){&b, CHUNK, CHUNK, 1, 0};
	start_reader(&first);
	gate_await(&g);
	start_reader(&second);
	gate_open(&g);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_int_equal(first.code, -ETIMEDOUT);
	assert_int_equal(second.code, 0);
	bench_done(&b);
}

static void gate_await_other(struct gate *g)
{
	pthread_mutex_lock(&g->lock);
	while (!g->other_seen)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

/* A bad chunk fails the whole request, poisons the file, and leaves no pin behind. */
static void test_bad_chunk_of_several(void **state)
{
	for (uint64_t bad = 0; bad < 8; bad++) {
		struct bench_options o = {.length = 8 * CHUNK, .check = CHUNK_CHECK_VERITY};
		struct error err = {0};
		struct bench b;
		size_t count;

		bench_make(&o, &b);
		count = buffer_cache_count(b.engine->chunks);
		b.payload->data[bad * CHUNK + 77] ^= 1;
		assert_int_equal(bench_read(b.file, 0, 8 * CHUNK, &err), -EBADMSG);
		assert_int_equal(err.code, -EBADMSG);
		assert_int_equal(bench_read(b.file, (bad ? 0 : 1) * CHUNK, 1, NULL), -EBADMSG);
		assert_int_equal(buffer_cache_reserve(b.engine->chunks, count, 0), 0);
		buffer_cache_unreserve(b.engine->chunks, count);
		bench_done(&b);
	}
}

/* Pinned pieces count against the budget: the next reader waits, and is served. */
static void test_room_is_bounded(void **state)
{
	struct bench_options o = {.length = 64 * CHUNK};
	struct read_result held[16];
	struct reader late;
	struct bench b;
	size_t chunks;

	bench_make(&o, &b);
	chunks = buffer_cache_count(b.engine->chunks);
	assert_int_equal(chunks, 32);
	for (size_t i = 0; i < chunks / 2; i++)
		assert_int_equal(read_file_read(b.file, 2 * i * CHUNK, 2 * CHUNK, &held[i], NULL),
				 0);
	late = (struct reader){&b, 40 * CHUNK, CHUNK, 1, 0};
	start_reader(&late);
	assert_int_equal(buffer_cache_reserve(b.engine->chunks, 1, 0), -EAGAIN);
	read_result_clear(&held[3]);
	pthread_join(late.thread, NULL);
	assert_int_equal(late.code, 0);
	for (size_t i = 0; i < chunks / 2; i++)
		read_result_clear(&held[i]);
	bench_done(&b);
}

static void test_held_pieces_do_not_change(void **state)
{
	struct bench_options o = {.length = 64 * CHUNK};
	struct read_result held;
	struct bench b;

	bench_make(&o, &b);
	assert_int_equal(read_file_read(b.file, 5 * CHUNK + 1, CHUNK, &held, NULL), 0);
	for (uint64_t at = 0; at < o.length; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	assert_int_equal(held.count, 2);
	assert_memory_equal(held.pieces[0].data, b.model.plain + 5 * CHUNK + 1, CHUNK - 1);
	assert_memory_equal(held.pieces[1].data, b.model.plain + 6 * CHUNK, 1);
	read_result_clear(&held);
	bench_done(&b);
}

static void test_stop(void **state)
{
	struct reader owner, waiter;
	struct bench b;
	struct gate g;

	gate_init(&g, 1, -ECANCELED);
	make(&b, &g, 3 * CHUNK);
	owner = (struct reader){&b, CHUNK, 1, 1, 0};
	waiter = owner;
	start_reader(&owner);
	gate_await(&g);
	start_reader(&waiter);
	read_engine_stop(b.engine);
	pthread_join(waiter.thread, NULL);
	assert_int_equal(waiter.code, -ECANCELED);
	gate_open(&g);
	pthread_join(owner.thread, NULL);
	assert_int_equal(owner.code, -ECANCELED);
	assert_int_equal(read_file_poisoned(b.file, NULL), 0);
	assert_int_equal(bench_read(b.file, 0, 1, NULL), -ECANCELED);
	bench_done(&b);
}

/* Extents ahead of a sequential reader come at the same time. */
static void test_fetches_ahead_at_once(void **state)
{
	struct bench_options o = {.length = 48 * MIB, .by_extents = true, .memory_bytes = 96 * MIB};
	struct bench b;
	struct gate g;

	bench_make(&o, &b);
	gate_init(&g, 2 * 16, 0);
	g.other = 3 * 16;
	b.memory.hook = gate_hook;
	b.memory.hook_arg = &g;
	/* Extent 2 is held up; the reader gets to the end of extent 1, and extent 3 is fetched. */
	for (uint64_t at = 0; at < 16 * MIB; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	gate_await(&g);
	gate_await_other(&g);
	gate_open(&g);
	for (uint64_t at = 16 * MIB; at < o.length; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	bench_done(&b);
}

/* Requests too far out of order to be of one stream: what was fetched ahead stays. */
static void test_skips_fetch_nothing_twice(void **state)
{
	struct bench_options o = {.length = 96 * MIB, .by_extents = true, .memory_bytes = 96 * MIB};
	struct bench b;
	uint64_t at = 0, back = 8 * MIB, on = 14 * MIB;

	bench_make(&o, &b);
	for (; at < back; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	for (at = on; at < on + 8 * MIB; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	for (at = back; at < on; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	for (at = on + 8 * MIB; at < o.length; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	for (uint64_t c = 0; c < o.length / CHUNK; c++)
		assert_int_equal(atomic_load(&b.memory.chunk_reads[c]), 1);
	bench_done(&b);
}

/* ---------------------------------------------------------------- random load */

struct load {
	struct bench *bench;
	uint64_t seed;
	unsigned rounds;
	pthread_t thread;
};

struct shaky {
	pthread_mutex_t lock;
	uint64_t random;
};

/* Now and then a read fails; the engine's second try mostly helps. */
static int shaky_hook(void *arg, const char *name, uint64_t offset, size_t size, uint8_t *buf,
		      struct error *err)
{
	struct shaky *s = arg;
	uint64_t r;

	pthread_mutex_lock(&s->lock);
	r = test_random(&s->random);
	pthread_mutex_unlock(&s->lock);
	return r >> 40 & 15 ? 0 : -ECONNRESET;
}

static void *run_load(void *arg)
{
	struct load *l = arg;
	uint64_t state = l->seed;

	for (unsigned i = 0; i < l->rounds; i++) {
		uint64_t offset = (test_random(&state) >> 20) % (l->bench->model.length + 5000);
		size_t size = (test_random(&state) >> 20) % (2 * MIB);
		struct read_result result;
		uint64_t at = offset;
		int r = read_file_read(l->bench->file, offset, size, &result, NULL);

		/* Two failures in a row are an error, and nothing else is. */
		if (r < 0)
			assert_int_equal(r, -ECONNRESET);
		for (size_t p = 0; r == 0 && p < result.count; p++) {
			assert_memory_equal(result.pieces[p].data, l->bench->model.plain + at,
					    result.pieces[p].size);
			at += result.pieces[p].size;
		}
		if (r == 0)
			read_result_clear(&result);
	}
	return NULL;
}

static void random_load(bool by_extents, bool shaky)
{
	struct bench_options o = {
		.length = 40 * MIB + 77, .by_extents = by_extents, .check = CHUNK_CHECK_VERITY};
	uint64_t seed = test_seed();
	struct shaky s = {.random = seed};
	struct load loads[READERS];
	struct bench b;

	bench_make(&o, &b);
	pthread_mutex_init(&s.lock, NULL);
	b.memory.hook = shaky ? shaky_hook : NULL;
	b.memory.hook_arg = &s;
	for (size_t i = 0; i < READERS; i++) {
		loads[i] = (struct load){&b, seed + i + 1, 40, 0};
		assert_int_equal(pthread_create(&loads[i].thread, NULL, run_load, &loads[i]), 0);
	}
	for (size_t i = 0; i < READERS; i++)
		pthread_join(loads[i].thread, NULL);
	assert_int_equal(read_file_poisoned(b.file, NULL), 0);
	/* Everything was given back. */
	assert_int_equal(
		buffer_cache_reserve(b.engine->chunks, buffer_cache_count(b.engine->chunks), 0), 0);
	bench_done(&b);
}

static void test_random_load(void **state)
{
	random_load(false, false);
	random_load(true, false);
	random_load(false, true);
	random_load(true, true);
}

/* A file may be thrown away while extents are still on their way to it. */
static void test_free_while_fetching_ahead(void **state)
{
	for (uint64_t i = 0; i < 5; i++) {
		struct bench_options o = {.length = 40 * MIB, .by_extents = true};
		struct bench b;

		bench_make(&o, &b);
		for (uint64_t at = 0; at < (4 + i) * MIB; at += MIB)
			assert_int_equal(bench_read(b.file, at, MIB, NULL), 0);
		bench_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_flight),
		cmocka_unit_test(test_failure_reaches_all),
		cmocka_unit_test(test_failure_of_one_chunk_is_not_the_next_ones),
		cmocka_unit_test(test_bad_chunk_of_several),
		cmocka_unit_test(test_room_is_bounded),
		cmocka_unit_test(test_held_pieces_do_not_change),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_fetches_ahead_at_once),
		cmocka_unit_test(test_skips_fetch_nothing_twice),
		cmocka_unit_test(test_random_load),
		cmocka_unit_test(test_free_while_fetching_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
