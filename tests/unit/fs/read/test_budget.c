/* fs/read/budget: what a control group leaves to the buffers. */
#include "fs/read/budget.h"

#include "crypto/base/cleanup.h"
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

static void test_limit_bounds(void **state)
{
	assert_in_range(budget_limit(0), BUDGET_MIN, BUDGET_DEFAULT);
	assert_int_equal(budget_limit(1), BUDGET_MIN);
	assert_true(budget_limit(SIZE_MAX / 2) < SIZE_MAX / 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smallest_limit_up_the_tree),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_limit_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
