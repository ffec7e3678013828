/* fs/read/room: what control groups and the machine leave. */
#include "fs/read/room.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/base/test.h"
#include "tests/unit/crypto/files.h"

#include <string.h>
#include <sys/stat.h>

static const char *const names[] = {
	"a/memory.max",	  "a/memory.high",	     "a/memory.current",	"memory.max",
	"memory.current", "a/memory.limit_in_bytes", "a/memory.usage_in_bytes",
};

static void store(const char *root, const char *name, const char *text)
{
	_cleanup_free_ char *path = path_join(root, name);

	blob_store(path, text, strlen(text), 0600);
}

static char *make_groups(void)
{
	char *root = temp_dir_new();
	_cleanup_free_ char *folder = path_join(root, "a");

	assert_int_equal(mkdir(folder, 0700), 0);
	return root;
}

static void drop_groups(char *root)
{
	_cleanup_free_ char *folder = path_join(root, "a");

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = path_join(root, names[i]);

		(void)remove(path);
	}
	assert_int_equal(remove(folder), 0);
	temp_dir_done(root);
}

static void test_nearest_limit(void **state)
{
	char *root = make_groups();

	assert_true(room_in_cgroup(root, "/a") == UINT64_MAX);
	store(root, "a/memory.max", "max\n");
	store(root, "a/memory.current", "400\n");
	assert_true(room_in_cgroup(root, "/a") == UINT64_MAX);
	store(root, "a/memory.max", "1000\n");
	assert_int_equal(room_in_cgroup(root, "/a"), 600);
	store(root, "a/memory.high", "700\n");
	assert_int_equal(room_in_cgroup(root, "/a"), 300);
	/* Further up it is narrower. */
	store(root, "memory.max", "5000\n");
	store(root, "memory.current", "4900\n");
	assert_int_equal(room_in_cgroup(root, "/a"), 100);
	store(root, "memory.current", "5001\n");
	assert_int_equal(room_in_cgroup(root, "/a"), 0);
	assert_int_equal(room_in_cgroup(root, ""), 0);
	drop_groups(root);
}

static void test_version_1(void **state)
{
	char *root = make_groups();

	store(root, "a/memory.limit_in_bytes", "9223372036854771712\n");
	store(root, "a/memory.usage_in_bytes", "4096\n");
	assert_true(room_in_cgroup(root, "/a") > UINT64_C(1) << 60);
	store(root, "a/memory.limit_in_bytes", "10000\n");
	assert_int_equal(room_in_cgroup(root, "/a"), 5904);
	drop_groups(root);
}

static void test_machine(void **state)
{
	static const char text[] = "MemTotal:        1000 kB\nMemFree:          10 kB\n"
				   "MemAvailable:     150 kB\n";

	assert_int_equal(room_in_machine(text), 100 << 10);
	assert_int_equal(room_in_machine("MemTotal: 1000 kB\nMemAvailable: 50 kB\n"), 0);
	/* What is not said is not there. */
	assert_int_equal(room_in_machine("MemTotal: 1000 kB\n"), 0);
	assert_int_equal(room_in_machine(""), 0);
}

static void test_now(void **state)
{
	assert_int_equal(room_now(UINT64_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest_limit),
		cmocka_unit_test(test_version_1),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
