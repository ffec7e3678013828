/* fs/read/pagecache, background: a page cache that is filled while others read, and what ends that.
 */
#include "fs/read/background.h"
#include "fs/read/pagecache.h"
#include "fs/read/read_internal.h"

#include "tests/unit/fs/read/bench.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define LENGTH (48 * MIB + 12345)
#define WAIT_MS 20000

/* Stands for the kernel. */
struct cache {
	uint8_t *data;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	uint64_t bytes; /* that were stored */
	unsigned calls, introductions;
	int code; /* what store says */
};

static int store(void *target, uint64_t offset, const uint8_t *data, size_t size)
{
	struct cache *c = target;
	int r;

	pthread_mutex_lock(&c->lock);
	assert_true(offset + size <= LENGTH);
	c->calls++;
	r = c->code;
	if (r == 0) {
		memcpy(c->data + offset, data, size);
		c->bytes += size;
	}
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static int introduce(void *target)
{
	struct cache *c = target;

	pthread_mutex_lock(&c->lock);
	c->introductions++;
	c->code = 0;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static void begin_with(struct bench *b, struct cache *c, enum chunk_check check,
		       enum read_fill fill, bool by_extents)
{
	struct bench_options o = {.length = LENGTH,
				  .by_extents = by_extents,
				  .check = check,
				  .fill = fill,
				  .store = store,
				  .introduce = introduce};

	*c = (struct cache){.data = calloc(1, LENGTH)};
	assert_non_null(c->data);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	bench_make(&o, b);
	read_file_set_target(b->file, c);
}

static void begin(struct bench *b, struct cache *c, enum read_fill fill, bool by_extents)
{
	begin_with(b, c, CHUNK_CHECK_VERITY, fill, by_extents);
}

static void end(struct bench *b, struct cache *c)
{
	bench_done(b);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c->data);
}

static void wait_for(struct cache *c, uint64_t bytes, unsigned calls)
{
	pthread_mutex_lock(&c->lock);
	while (c->bytes < bytes || c->calls < calls)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static void test_all(void **state)
{
	for (int by_extents = 0; by_extents < 2; by_extents++) {
		struct bench b;
		struct cache c;

		begin(&b, &c, READ_FILL_ALL, by_extents);
		read_file_opened(b.file);
		wait_for(&c, LENGTH, 1);
		assert_memory_equal(c.data, b.model.plain, LENGTH);
		/* Once is enough. */
		read_file_opened(b.file);
		read_engine_stop(b.engine);
		assert_true(read_engine_idle(b.engine, WAIT_MS));
		assert_true(c.bytes == LENGTH);
		end(&b, &c);
	}
}

/* A header is no reason, a part of the model is. */
static void test_auto(void **state)
{
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_AUTO, true);
	read_file_opened(b.file);
	bench_compare(&b, b.file, LENGTH - 4096, 4096);
	bench_compare(&b, b.file, 0, MIB);
	assert_int_equal(c.calls, 0);
	for (uint64_t at = MIB; at < FILL_AUTO_READ_BYTES + MIB; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	/* What a reader had is left out: these, and the last chunk. */
	wait_for(&c, LENGTH / SEAL_CHUNK_SIZE * SEAL_CHUNK_SIZE - FILL_AUTO_READ_BYTES - MIB, 1);
	assert_memory_equal(c.data + 24 * MIB, b.model.plain + 24 * MIB, 20 * MIB);
	end(&b, &c);
}

static void test_off(void **state)
{
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_OFF, true);
	read_file_opened(b.file);
	for (uint64_t at = 0; at < LENGTH; at += MIB)
		bench_compare(&b, b.file, at, MIB);
	assert_int_equal(c.calls, 0);
	end(&b, &c);
}

/* The kernel has not looked it up yet; then it refuses. */
static void test_unknown_and_refused(void **state)
{
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_ALL, false);
	c.code = -ENOENT;
	read_file_opened(b.file);
	wait_for(&c, LENGTH, 1);
	assert_in_range(c.introductions, 1, PAGECACHE_INTRODUCTIONS);
	end(&b, &c);

	begin(&b, &c, READ_FILL_ALL, false);
	c.code = -ENOTCONN;
	read_file_opened(b.file);
	wait_for(&c, 0, 1);
	read_engine_stop(b.engine);
	assert_true(read_engine_idle(b.engine, WAIT_MS));
	assert_in_range(c.calls, 1, BACKGROUND_CREW);
	assert_int_equal(c.introductions, 0);
	end(&b, &c);
}

struct reader {
	struct bench *bench;
	uint64_t start;
	pthread_t thread;
};

static void *run_reader(void *arg)
{
	struct reader *r = arg;

	for (uint64_t at = 0; at < LENGTH; at += MIB)
		bench_compare(r->bench, r->bench->file, (r->start + at) % LENGTH, MIB);
	return NULL;
}

static void test_beside_readers(void **state)
{
	struct reader readers[3];
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_ALL, true);
	read_file_opened(b.file);
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		readers[i] = (struct reader){.bench = &b, .start = i * LENGTH / 3};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]),
				 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		pthread_join(readers[i].thread, NULL);
	end(&b, &c);
}

/* Closed in the middle of it: nothing of the file is touched after that. */
static void test_forgotten_in_between(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct bench b;
		struct cache c;

		begin(&b, &c, READ_FILL_ALL, i % 2);
		read_file_opened(b.file);
		wait_for(&c, 0, (unsigned)i);
		end(&b, &c);
	}
}

static void test_damaged(void **state)
{
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_ALL, false);
	b.model.payload[20 * MIB] ^= 1;
	read_file_opened(b.file);
	while (read_file_poisoned(b.file, NULL) == 0)
		sched_yield();
	read_engine_stop(b.engine);
	assert_true(read_engine_idle(b.engine, WAIT_MS));
	for (size_t i = 0; i < SEAL_CHUNK_SIZE; i++)
		assert_int_equal(c.data[20 * MIB + i], 0);
	end(&b, &c);
}

/* The pass of the flat modes leaves the file behind it. */
static void test_flat_pass(void **state)
{
	uint8_t sha256[SHA256_SIZE];
	struct error err = {0};
	struct bench b;
	struct cache c;

	begin_with(&b, &c, CHUNK_CHECK_FINGERPRINT, READ_FILL_AUTO, true);
	assert_int_equal(read_file_hash(b.file, sha256, NULL, &err), 0);
	assert_memory_equal(c.data, b.model.plain, LENGTH);
	end(&b, &c);

	begin_with(&b, &c, CHUNK_CHECK_FINGERPRINT, READ_FILL_AUTO, true);
	c.code = -ENOTCONN;
	assert_int_equal(read_file_hash(b.file, sha256, NULL, &err), 0);
	assert_int_equal(c.calls, 1);
	end(&b, &c);
}

/* A chunk that has the right tag and another plaintext: the page cache must not get it, for the
 * digests come too late. */
static void test_flat_pass_forged(void **state)
{
	const uint64_t index = 40;
	uint8_t sha256[SHA256_SIZE], tag[SEAL_TAG_SIZE];
	struct error err = {0};
	struct bench b;
	struct cache c;

	begin_with(&b, &c, CHUNK_CHECK_FINGERPRINT, READ_FILL_AUTO, true);
	memset(c.data, 0xAA, LENGTH);
	bench_forge_chunk(&b, index, tag); /* zeros */
	memcpy((uint8_t *)(uintptr_t)seal_tag(b.file->seal, index), tag, sizeof(tag));
	assert_int_equal(read_file_hash(b.file, sha256, NULL, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "replaced chunk"));
	for (size_t i = 0; i < SEAL_CHUNK_SIZE; i++)
		assert_int_equal(c.data[index * SEAL_CHUNK_SIZE + i], 0xAA);
	end(&b, &c);
}

/* A request that was answered by way of the page cache. */
static void read_spread(struct bench *b, uint64_t offset, size_t size)
{
	struct read_result result;
	struct error err = {0};

	assert_int_equal(read_file_read(b->file, offset, size, &result, &err), 0);
	assert_int_equal(result.count, 1);
	assert_memory_equal(result.pieces[0].data, b->model.plain + offset, size);
	read_result_spread(&result);
}

static void settle(struct bench *b)
{
	read_engine_stop(b->engine);
	assert_true(read_engine_idle(b->engine, WAIT_MS));
}

static void test_rest(void **state)
{
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_AUTO, false);
	read_spread(&b, 5 * MIB + 4096, 4096);
	wait_for(&c, SEAL_CHUNK_SIZE, 1);
	assert_memory_equal(c.data + 5 * MIB, b.model.plain + 5 * MIB, SEAL_CHUNK_SIZE);
	/* Asked for again while it is in the buffers, whose room nobody has needed: no push. */
	read_spread(&b, 5 * MIB + 40960, 4096);
	read_spread(&b, LENGTH - 45, 45); /* the last chunk is short */
	wait_for(&c, SEAL_CHUNK_SIZE + LENGTH % SEAL_CHUNK_SIZE, 2);
	settle(&b);
	assert_int_equal(c.calls, 2);
	assert_int_equal(c.data[5 * MIB - 1], 0);
	assert_int_equal(c.data[5 * MIB + SEAL_CHUNK_SIZE], 0);
	end(&b, &c);
}

static void test_no_rest(void **state)
{
	struct bench b;
	struct cache c;

	/* In order, or big, or past the page cache. */
	begin(&b, &c, READ_FILL_AUTO, false);
	for (uint64_t at = 0; at < MIB; at += 16384)
		read_spread(&b, at, 16384);
	read_spread(&b, 20 * MIB, REST_REQUEST_MAX + 1);
	bench_compare(&b, b.file, 30 * MIB, 4096);
	settle(&b);
	assert_int_equal(c.calls, 0);
	end(&b, &c);

	begin(&b, &c, READ_FILL_OFF, false);
	read_spread(&b, 5 * MIB, 4096);
	settle(&b);
	assert_int_equal(c.calls, 0);
	end(&b, &c);

	/* Refused once: not tried with every request. */
	begin(&b, &c, READ_FILL_AUTO, false);
	c.code = -ENOTCONN;
	for (uint64_t at = 5 * MIB; at < 13 * MIB; at += MIB)
		read_spread(&b, at, 4096);
	wait_for(&c, 0, 1);
	settle(&b);
	assert_in_range(c.calls, 1, BACKGROUND_CREW);
	end(&b, &c);
}

static void test_rest_damaged(void **state)
{
	struct read_result result;
	struct error err = {0};
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_AUTO, false);
	b.model.payload[20 * MIB] ^= 1;
	assert_int_equal(read_file_read(b.file, 20 * MIB + 8192, 4096, &result, &err), -EBADMSG);
	settle(&b);
	assert_int_equal(c.calls, 0);
	end(&b, &c);
}

static void *run_jumper(void *arg)
{
	struct reader *r = arg;

	for (uint64_t i = 0; i < 400; i++)
		read_spread(r->bench, (r->start + i * 7919 * 4096) % (47 * MIB), 4096);
	return NULL;
}

/* Many at once, more chunks than buffers; closed while pushes are under way. */
static void test_rest_readers(void **state)
{
	struct reader readers[4];
	struct bench b;
	struct cache c;

	begin(&b, &c, READ_FILL_AUTO, false);
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		readers[i] = (struct reader){.bench = &b, .start = i * 11 * MIB};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, run_jumper, &readers[i]),
				 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(readers); i++)
		pthread_join(readers[i].thread, NULL);
	wait_for(&c, SEAL_CHUNK_SIZE, 1);
	end(&b, &c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_unknown_and_refused),
		cmocka_unit_test(test_beside_readers),
		cmocka_unit_test(test_forgotten_in_between),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_flat_pass),
		cmocka_unit_test(test_flat_pass_forged),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_no_rest),
		cmocka_unit_test(test_rest_damaged),
		cmocka_unit_test(test_rest_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
