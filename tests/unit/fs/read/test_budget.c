/* fs/read/budget: what a control group leaves to the buffers. */
#include "fs/read/budget.h"

#include "crypto/base/cleanup.h"
#include "fs/read/cgroup.h"
#include "tests/unit/base/test.h"
#include "tests/unit/crypto/files.h"

#include <string.h>
#include <sys/stat.h>

static void store(const char *root, const char *name, const char *text)
{
	_cleanup_free_ char *path = path_join(root, name);

	blob_store(path, text, strlen(text), 0600);
}

static void folder(const char *root, const char *name)
{
	_cleanup_free_ char *path = path_join(root, name);

	assert_int_equal(mkdir(path, 0700), 0);
}

static void drop(const char *root, const char *name)
{
	_cleanup_free_ char *path = path_join(root, name);

	assert_int_equal(remove(path), 0);
}

static void test_smallest_limit_up_the_tree(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a");
	folder(root, "a/b");
	store(root, "memory.max", "900\n");
	store(root, "a/memory.max", "500\n");
	store(root, "a/b/memory.max", "max\n");
	assert_int_equal(budget_cgroup_max(root, "/a/b"), 500);
	assert_int_equal(budget_cgroup_max(root, "/a"), 500);
	assert_int_equal(budget_cgroup_max(root, ""), 900);
	assert_int_equal(budget_cgroup_max(root, "/not/there"), 900);
	drop(root, "a/b/memory.max");
	drop(root, "a/b");
	drop(root, "a/memory.max");
	drop(root, "a");
	temp_dir_done(root);
}

static void test_no_limit(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a");
	store(root, "a/memory.max", "max\n");
	assert_true(budget_cgroup_max(root, "/a") == UINT64_MAX);
	store(root, "a/memory.max", "garbage\n");
	assert_true(budget_cgroup_max(root, "/a") == UINT64_MAX);
	drop(root, "a/memory.max");
	drop(root, "a");
	temp_dir_done(root);
}

static void test_every_kind_of_limit(void **state)
{
	char *root = temp_dir_new();

	store(root, "memory.max", "900\n");
	store(root, "memory.high", "700\n");
	assert_int_equal(budget_cgroup_max(root, ""), 700);
	store(root, "memory.limit_in_bytes", "600\n");
	assert_int_equal(budget_cgroup_max(root, ""), 600);
	store(root, "memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(budget_cgroup_max(root, ""), 700);
	drop(root, "memory.max");
	drop(root, "memory.high");
	drop(root, "memory.limit_in_bytes");
	temp_dir_done(root);
}

static uint64_t least_of(const char *root, const char *list)
{
	_cleanup_free_ char *path = path_join(root, "list");
	uint64_t least;

	store(root, "list", list);
	least = cgroup_least(path, root, budget_cgroup_max);
	drop(root, "list");
	return least;
}

/* Lists as in /proc/self/cgroup: version 2, version 1, both. */
static void test_own_groups(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a:b");
	folder(root, "memory");
	folder(root, "memory/c");
	store(root, "a:b/memory.max", "500\n");
	store(root, "memory/c/memory.limit_in_bytes", "300\n");
	assert_int_equal(least_of(root, "0::/a:b\n"), 500);
	assert_int_equal(least_of(root, "9:name=systemd:/c\n4:memory:/c\n1:cpu:/a:b\n"), 300);
	assert_int_equal(least_of(root, "4:memory:/c\n0::/a:b\n"), 300);
	assert_int_equal(least_of(root, "4:memory:/\n0::/a:b"), 500);
	assert_true(least_of(root, "0::/\n4:memory:/elsewhere\n") == UINT64_MAX);
	assert_true(least_of(root, "") == UINT64_MAX);
	assert_true(least_of(root, "memory\n:\n::\n4:memory:c\n0:/a:b\n") == UINT64_MAX);
	assert_true(cgroup_least("/not/there", root, budget_cgroup_max) == UINT64_MAX);
	drop(root, "memory/c/memory.limit_in_bytes");
	drop(root, "memory/c");
	drop(root, "memory");
	drop(root, "a:b/memory.max");
	drop(root, "a:b");
	temp_dir_done(root);
}

static void test_limit_bounds(void **state)
{
	assert_in_range(budget_limit(0), BUDGET_MIN, BUDGET_DEFAULT);
	assert_int_equal(budget_limit(1), BUDGET_MIN);
	assert_true(budget_limit(SIZE_MAX / 2) < SIZE_MAX / 8);
}

static void test_what_others_leave(void **state)
{
	size_t limit = budget_limit(0);

	assert_int_equal(budget_left(0, 0), limit);
	assert_int_equal(budget_left(0, SIZE_MAX), BUDGET_MIN);
	assert_int_equal(budget_left(0, limit / 8), MAX(limit - limit / 8, BUDGET_MIN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smallest_limit_up_the_tree),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_every_kind_of_limit),
		cmocka_unit_test(test_own_groups),
		cmocka_unit_test(test_limit_bounds),
		cmocka_unit_test(test_what_others_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
