/* crypto/base/memory: what control groups and the machine allow and leave. */
#include "crypto/base/memory.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/test.h"

#include <ftw.h>
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

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return at->level > 0 ? remove(path) : 0;
}

static void done(char *root)
{
	assert_int_equal(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
	temp_dir_done(root);
}

/* list: in the form of /proc/self/cgroup. */
static uint64_t ask_list(const char *root, const char *list, enum memory_question question)
{
	_cleanup_free_ char *path = path_join(root, "list");

	store(root, "list", list);
	return memory_in_groups(path, root, question);
}

/* A group of version 2. */
static uint64_t ask(const char *root, const char *group, enum memory_question question)
{
	char list[64];

	(void)snprintf(list, sizeof(list), "0::%s\n", group);
	return ask_list(root, list, question);
}

static void test_smallest_limit_up_the_tree(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a");
	folder(root, "a/b");
	store(root, "memory.max", "900\n");
	store(root, "a/memory.max", "500\n");
	store(root, "a/b/memory.max", "max\n");
	assert_int_equal(ask(root, "/a/b", MEMORY_LIMIT), 500);
	assert_int_equal(ask(root, "/a", MEMORY_LIMIT), 500);
	assert_int_equal(ask(root, "/", MEMORY_LIMIT), 900);
	assert_int_equal(ask(root, "/not/there", MEMORY_LIMIT), 900);
	done(root);
}

static void test_no_limit(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a");
	store(root, "a/memory.max", "max\n");
	assert_true(ask(root, "/a", MEMORY_LIMIT) == UINT64_MAX);
	store(root, "a/memory.max", "garbage\n");
	assert_true(ask(root, "/a", MEMORY_LIMIT) == UINT64_MAX);
	done(root);
}

static void test_every_kind_of_limit(void **state)
{
	char *root = temp_dir_new();

	store(root, "memory.max", "900\n");
	store(root, "memory.high", "700\n");
	assert_int_equal(ask(root, "/", MEMORY_LIMIT), 700);
	store(root, "memory.limit_in_bytes", "600\n");
	assert_int_equal(ask(root, "/", MEMORY_LIMIT), 600);
	store(root, "memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(ask(root, "/", MEMORY_LIMIT), 700);
	done(root);
}

/* Version 2, version 1, both. */
static void test_own_groups(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a:b");
	folder(root, "memory");
	folder(root, "memory/c");
	store(root, "a:b/memory.max", "500\n");
	store(root, "memory/c/memory.limit_in_bytes", "300\n");
	assert_int_equal(ask_list(root, "0::/a:b\n", MEMORY_LIMIT), 500);
	assert_int_equal(
		ask_list(root, "9:name=systemd:/c\n4:memory:/c\n1:cpu:/a:b\n", MEMORY_LIMIT), 300);
	assert_int_equal(ask_list(root, "4:memory:/c\n0::/a:b\n", MEMORY_LIMIT), 300);
	assert_int_equal(ask_list(root, "4:memory:/\n0::/a:b", MEMORY_LIMIT), 500);
	assert_true(ask_list(root, "0::/\n4:memory:/elsewhere\n", MEMORY_LIMIT) == UINT64_MAX);
	assert_true(ask_list(root, "", MEMORY_LIMIT) == UINT64_MAX);
	assert_true(ask_list(root, "memory\n:\n::\n4:memory:c\n0:/a:b\n", MEMORY_LIMIT) ==
		    UINT64_MAX);
	assert_true(memory_in_groups("/not/there", root, MEMORY_LIMIT) == UINT64_MAX);
	done(root);
}

static void test_unused(void **state)
{
	char *root = temp_dir_new();

	folder(root, "a");
	assert_true(ask(root, "/a", MEMORY_UNUSED) == UINT64_MAX);
	store(root, "a/memory.max", "max\n");
	store(root, "a/memory.current", "400\n");
	assert_true(ask(root, "/a", MEMORY_UNUSED) == UINT64_MAX);
	store(root, "a/memory.max", "1000\n");
	assert_int_equal(ask(root, "/a", MEMORY_UNUSED), 600);
	store(root, "a/memory.high", "700\n");
	assert_int_equal(ask(root, "/a", MEMORY_UNUSED), 300);
	/* The group above has less. */
	store(root, "memory.max", "5000\n");
	store(root, "memory.current", "4900\n");
	assert_int_equal(ask(root, "/a", MEMORY_UNUSED), 100);
	store(root, "memory.current", "5001\n");
	assert_int_equal(ask(root, "/a", MEMORY_UNUSED), 0);
	assert_int_equal(ask(root, "/", MEMORY_UNUSED), 0);
	done(root);
}

static void test_unused_of_version_1(void **state)
{
	char *root = temp_dir_new();

	folder(root, "memory");
	folder(root, "memory/a");
	store(root, "memory/a/memory.limit_in_bytes", "9223372036854771712\n");
	store(root, "memory/a/memory.usage_in_bytes", "4096\n");
	assert_true(ask_list(root, "4:memory:/a\n", MEMORY_UNUSED) > UINT64_C(1) << 60);
	store(root, "memory/a/memory.limit_in_bytes", "10000\n");
	assert_int_equal(ask_list(root, "4:memory:/a\n", MEMORY_UNUSED), 5904);
	done(root);
}

/* Pages of files count as free, by the names of both versions; no more of them than are used. */
static void test_available(void **state)
{
	char *root = temp_dir_new();

	folder(root, "memory");
	store(root, "memory.max", "1000\n");
	store(root, "memory.current", "400\n");
	assert_int_equal(ask(root, "/", MEMORY_AVAILABLE), 600);
	store(root, "memory.stat", "anon 10\nfile 300\nfile_mapped 7\n");
	assert_int_equal(ask(root, "/", MEMORY_AVAILABLE), 900);
	assert_int_equal(ask(root, "/", MEMORY_UNUSED), 600);
	store(root, "memory.stat", "file 500\n");
	assert_int_equal(ask(root, "/", MEMORY_AVAILABLE), 1000);
	store(root, "memory/memory.limit_in_bytes", "2000\n");
	store(root, "memory/memory.usage_in_bytes", "1900\n");
	store(root, "memory/memory.stat", "cache 1\ntotal_cache 700\n");
	assert_int_equal(ask_list(root, "4:memory:/\n", MEMORY_AVAILABLE), 800);
	done(root);
}

/* Shared memory is among the pages of files, and stays. */
static void test_shared_memory_is_not_available(void **state)
{
	char *root = temp_dir_new();

	store(root, "memory.max", "2000\n");
	store(root, "memory.current", "1900\n");
	store(root, "memory.stat", "anon 100\nfile 700\nshmem 600\nshmem_thp 500\n");
	assert_int_equal(ask(root, "/", MEMORY_AVAILABLE), 200);
	store(root, "memory.stat", "anon 100\nfile 700\nshmem 800\n");
	assert_int_equal(ask(root, "/", MEMORY_AVAILABLE), 100);
	folder(root, "memory");
	store(root, "memory/memory.limit_in_bytes", "2000\n");
	store(root, "memory/memory.usage_in_bytes", "1900\n");
	store(root, "memory/memory.stat", "cache 1\nshmem 1\ntotal_cache 700\ntotal_shmem 500\n");
	assert_int_equal(ask_list(root, "4:memory:/\n", MEMORY_AVAILABLE), 300);
	done(root);
}

static void test_machine(void **state)
{
	static const char text[] = "MemTotal:        1000 kB\nMemFree:          10 kB\n"
				   "MemAvailable:     150 kB\n";

	assert_int_equal(memory_unused_in(text), 100 << 10);
	assert_int_equal(memory_unused_in("MemTotal: 1000 kB\nMemAvailable: 50 kB\n"), 0);
	/* A line that is missing counts as no memory. */
	assert_int_equal(memory_unused_in("MemTotal: 1000 kB\n"), 0);
	assert_int_equal(memory_unused_in(""), 0);
}

static void test_now(void **state)
{
	assert_int_equal(memory_unused(UINT64_MAX), 0);
	assert_in_range(memory_available(), 1, UINT64_MAX - 1);
	assert_in_range(memory_holdable(), 0, UINT64_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_smallest_limit_up_the_tree),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_every_kind_of_limit),
		cmocka_unit_test(test_own_groups),
		cmocka_unit_test(test_unused),
		cmocka_unit_test(test_unused_of_version_1),
		cmocka_unit_test(test_available),
		cmocka_unit_test(test_shared_memory_is_not_available),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
