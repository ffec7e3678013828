/* crypto/base/locked: blocks do not overlap, are wiped, locked, and not there in a child. */
#include "crypto/base/locked.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static bool all_are(const uint8_t *p, size_t size, uint8_t value)
{
	for (size_t i = 0; i < size; i++)
		if (p[i] != value)
			return false;
	return true;
}

static void sizes_and_alignment(void **state)
{
	static const size_t sizes[] = {1,    15,   16,	 17,   63,   64,    65,	    320,   1344,
				       1345, 2048, 2049, 4096, 4097, 70000, 262144, 262145};
	uint8_t *p[ARRAY_LEN(sizes)];

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		p[i] = locked_alloc(sizes[i]);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % (sizes[i] >= 64 ? 64 : 16), 0);
		assert_true(all_are(p[i], sizes[i], 0));
		memset(p[i], (int)i + 1, sizes[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_true(all_are(p[i], sizes[i], (uint8_t)(i + 1)));
		locked_free(p[i]);
	}
	assert_null(locked_alloc(0));
	assert_null(locked_alloc(SIZE_MAX));
	assert_null(locked_alloc((size_t)1 << 40));
	locked_free(NULL);
}

/* Many blocks of random sizes, freed and resized in random order. Each holds its own pattern. */
static void a_long_mixture(void **state)
{
	static uint8_t *p[300];
	static size_t size[300];
	unsigned chance = 1;

	for (unsigned n = 0; n < 60000; n++) {
		size_t i, want;

		chance = chance * 1103515245 + 12345;
		i = (chance >> 8) % ARRAY_LEN(p);
		want = (chance >> 16) % (n % 50 == 0 ? 40000 : 700);
		assert_true(!p[i] || all_are(p[i], size[i], (uint8_t)i));
		if (n % 3 == 0 && want > 0) {
			size_t kept = MIN(size[i], want);

			p[i] = locked_resize(p[i], want);
			assert_non_null(p[i]);
			assert_true(all_are(p[i], kept, (uint8_t)i));
		} else {
			locked_free(p[i]);
			p[i] = locked_alloc(want);
			assert_true(want == 0 || all_are(p[i], want, 0));
		}
		size[i] = want;
		if (p[i])
			memset(p[i], (int)(uint8_t)i, want);
	}
	for (size_t i = 0; i < ARRAY_LEN(p); i++)
		locked_free(p[i]);
}

/* The block itself is only looked at: it is free. All but the first bytes, which link it. */
static void freed_blocks_are_wiped(void **state)
{
	uint8_t *p = locked_alloc(512), *q;

	memset(p, 0x5a, 512);
	q = locked_resize(p, 5000);
	assert_memory_equal(q, "ZZZZZZZZ", 8);
	assert_true(all_are(p + 8, 504, 0));
	locked_free(q);
	assert_true(all_are(q, 5000, 0));
}

/* With the kernel's word for it: msync() tells of unmapped pages, and of locked ones with
 * MS_INVALIDATE. */
static void pages_are_locked(void **state)
{
	uint8_t *p = locked_alloc(4096);
	uint8_t *page = (uint8_t *)((uintptr_t)p & ~(uintptr_t)4095);

	*p = 1;
	assert_int_equal(msync(page, 4096, MS_SYNC | MS_INVALIDATE), -1);
	assert_int_equal(errno, EBUSY);
	locked_free(p);
}

static void a_child_has_none(void **state)
{
	uint8_t *p = locked_alloc(100);
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		_exit(msync((void *)((uintptr_t)p & ~(uintptr_t)4095), 1, MS_ASYNC) < 0 &&
				      errno == ENOMEM
			      ? 0
			      : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	locked_free(p);
}

static void *churn(void *arg)
{
	for (unsigned n = 1; n < 20000; n++) {
		size_t size = n % 3000 + 1;
		uint8_t *p = locked_alloc(size);

		if (!p || !all_are(p, size, 0))
			return NULL;
		memset(p, 0xff, size);
		locked_free(p);
	}
	return arg;
}

static void threads_share_it(void **state)
{
	pthread_t threads[4];
	void *result;

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, &threads), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, &threads);
	}
}

static bool is_locked(uint8_t *p)
{
	*p = 1;
	return msync(p, 4096, MS_SYNC | MS_INVALIDATE) < 0 && errno == EBUSY;
}

/* Of 16 MiB half is left to keys. Root has no limit. */
static void pages_within_the_limit(void **state)
{
	struct rlimit limit = {(rlim_t)16 << 20, (rlim_t)16 << 20};
	size_t small = (size_t)2 << 20, large = (size_t)64 << 20;
	bool locked = false;
	uint8_t *p = locked_map(small, &locked);

	assert_non_null(p);
	assert_int_equal(is_locked(p), locked);
	assert_int_equal(munmap(p, small), 0);
	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0) {
		limit.rlim_max = limit.rlim_cur = locked_limit();
	}
	assert_int_equal(locked_limit(), limit.rlim_cur);
	p = locked_map(large, &locked);
	assert_non_null(p);
	assert_int_equal(is_locked(p), locked);
	assert_true(locked == (geteuid() == 0));
	assert_int_equal(munmap(p, large), 0);
}

static void reserved_pages_come_first(void **state)
{
	size_t size = (size_t)8 << 20;
	bool locked = false;
	uint8_t *p, *q;

	locked_reserve(2 * size);
	p = locked_map(size, &locked);
	q = locked_map(size - 5, &locked);
	assert_non_null(p);
	assert_non_null(q);
	assert_true(geteuid() != 0 || (q == p + size && locked && is_locked(p) && is_locked(q)));
	assert_int_equal(munmap(p, size), 0);
	assert_int_equal(munmap(q, size), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_and_alignment),
		cmocka_unit_test(a_long_mixture),
		cmocka_unit_test(freed_blocks_are_wiped),
		cmocka_unit_test(pages_are_locked),
		cmocka_unit_test(a_child_has_none),
		cmocka_unit_test(threads_share_it),
		cmocka_unit_test(reserved_pages_come_first),
		cmocka_unit_test(pages_within_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
