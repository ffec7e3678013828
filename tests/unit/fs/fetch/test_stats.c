/* fs/fetch/stats: sums over threads, the window, what limits, errors by kind. */
#include "fs/fetch/stats.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>

#define THREADS 20 /* more than there are cache lines of counters */
#define ROUNDS 1000

static void *count(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		stats_begin(arg);
		stats_add(arg, STAT_READS, 1);
		stats_add(arg, STAT_DELIVERED_BYTES, 4096);
		stats_end(arg);
	}
	return NULL;
}

static void test_threads_add_up(void **state)
{
	struct stats *all = NULL, *one = NULL, *other = NULL;
	struct stats_snapshot s;
	pthread_t threads[THREADS];

	assert_int_equal(stats_new(NULL, &all), 0);
	assert_int_equal(stats_new(all, &one), 0);
	assert_int_equal(stats_new(all, &other), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, i % 2 ? one : other), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	stats_look(one, &s);
	assert_int_equal(s.total[STAT_READS], THREADS / 2 * ROUNDS);
	assert_int_equal(s.total[STAT_DELIVERED_BYTES], THREADS / 2 * ROUNDS * 4096);
	assert_int_equal(s.in_flight, 0);
	assert_true(s.window_ns > 0);
	assert_true(stats_throughput(&s) > 0);
	stats_look(all, &s);
	assert_int_equal(s.total[STAT_READS], THREADS * ROUNDS);
	stats_free(other);
	stats_free(one);
	stats_free(all);
}

static void test_nobody_reads(void **state)
{
	struct stats_snapshot s;
	struct stats *n = NULL;

	assert_int_equal(stats_new(NULL, &n), 0);
	stats_look(n, &s);
	assert_int_equal(s.window_ns, 0);
	assert_int_equal(stats_limit(&s), STATS_IDLE);
	assert_true(stats_throughput(&s) == 0);
	/* A first request that waits, and has done nothing yet. */
	stats_begin(n);
	stats_look(n, &s);
	assert_int_equal(s.in_flight, 1);
	assert_int_equal(stats_limit(&s), STATS_SOURCE);
	stats_end(n);
	stats_free(n);
}

static enum stats_limit limit_of(uint64_t fetch, uint64_t decrypt, uint64_t hash, uint64_t reply,
				 uint64_t idle)
{
	struct stats_snapshot s = {.window_ns = 1000};

	s.recent[STAT_FETCH_NS] = fetch;
	s.recent[STAT_DECRYPT_NS] = decrypt;
	s.recent[STAT_HASH_NS] = hash;
	s.recent[STAT_REPLY_NS] = reply;
	s.recent[STAT_IDLE_NS] = idle;
	return stats_limit(&s);
}

static void test_limits(void **state)
{
	struct stats_snapshot s = {.window_ns = 1000};

	assert_int_equal(limit_of(900, 10, 10, 10, 0), STATS_SOURCE);
	assert_int_equal(limit_of(10, 900, 10, 10, 0), STATS_CIPHER);
	assert_int_equal(limit_of(10, 10, 900, 10, 0), STATS_HASH);
	assert_int_equal(limit_of(10, 10, 10, 900, 400), STATS_PAGE_CACHE);
	assert_int_equal(limit_of(10, 10, 10, 900, 600), STATS_READER);
	/* The rest of the time somebody waited, and still does. */
	s.in_flight = 1;
	s.recent[STAT_DECRYPT_NS] = 100;
	assert_int_equal(stats_limit(&s), STATS_SOURCE);
}

static void test_errors_by_kind(void **state)
{
	static const struct {
		int code;
		enum read_stat which;
	} kinds[] = {
		{-EBADMSG, STAT_ERRORS_TAMPERED},      {-ESTALE, STAT_ERRORS_CHANGED},
		{-ETIMEDOUT, STAT_ERRORS_UNREACHABLE}, {-EREMOTEIO, STAT_ERRORS_UNREACHABLE},
		{-ENOMEM, STAT_ERRORS_OTHER},
	};
	struct stats_snapshot before, after;
	struct stats *n = NULL;

	assert_int_equal(stats_new(NULL, &n), 0);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		stats_look(n, &before);
		stats_count_error(n, kinds[i].code);
		stats_look(n, &after);
		assert_int_equal(after.total[kinds[i].which], before.total[kinds[i].which] + 1);
	}
	stats_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_add_up),
		cmocka_unit_test(test_nobody_reads),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_errors_by_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
