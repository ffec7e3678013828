/* crypto/base/pool: jobs on a bounded number of threads. */
#include "crypto/base/pool.h"

#include "tests/unit/test.h"

#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#define JOBS 100

static atomic_int done_count;

static void count(void *arg)
{
	atomic_fetch_add(&done_count, 1);
}

static void wait_for(void *arg)
{
	while (sem_wait(arg) < 0)
		;
}

/* What is queued when the pool is freed still runs. */
static void test_runs_all(void **state)
{
	struct pool *p = NULL;

	assert_int_equal(pool_new(3, &p), 0);
	assert_int_equal(pool_start(p, NULL), 0);
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(pool_submit(p, count, NULL), 0);
	pool_free(p);
	assert_int_equal(atomic_load(&done_count), JOBS);
}

/* With every thread at work, a job waits for its turn. */
static void test_queued(void **state)
{
	struct pool *p = NULL;
	sem_t go;

	assert_int_equal(sem_init(&go, 0, 0), 0);
	atomic_store(&done_count, 0);
	assert_int_equal(pool_new(2, &p), 0);
	assert_int_equal(pool_submit(p, wait_for, &go), 0);
	assert_int_equal(pool_submit(p, wait_for, &go), 0);
	assert_int_equal(pool_submit(p, count, NULL), 0);
	assert_int_equal(sem_post(&go), 0);
	assert_int_equal(sem_post(&go), 0);
	pool_free(p);
	assert_int_equal(atomic_load(&done_count), 1);
	assert_int_equal(sem_destroy(&go), 0);
}

static void test_cpu_count(void **state)
{
	cpu_set_t old, one;
	int cpu = sched_getcpu();

	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	assert_int_equal(cpu_count(), CPU_COUNT(&old));
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(cpu_count(), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs_all),
		cmocka_unit_test(test_queued),
		cmocka_unit_test(test_cpu_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
