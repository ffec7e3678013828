/* fs/mount/mount_table: lines of /proc/self/mountinfo, and the real one. */
#include "fs/mount/mount_table.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static bool parse(const char *line, struct mount_entry *ret)
{
	_cleanup_free_ char *copy = strdup(line);

	memset(ret, 0, sizeof(*ret));
	return mount_table_parse(copy, ret);
}

static void test_lines(void **state)
{
	static const struct {
		const char *line, *path, *device, *type;
	} cases[] = {
		{"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n", "/mnt2",
		 "98:0", "ext3"},
		{"52 29 0:47 / /srv/models ro,nosuid,nodev shared:9 - fuse.sealedfs s3://b/p ro\n",
		 "/srv/models", "0:47", "fuse.sealedfs"},
		/* No tags, several tags, no source. */
		{"1 2 0:1 / /a ro - tmpfs none rw", "/a", "0:1", "tmpfs"},
		{"1 2 0:1 / /a ro shared:1 master:2 propagate_from:3 unbindable - tmpfs none rw",
		 "/a", "0:1", "tmpfs"},
		{"1 2 0:1 / /a ro - fuse", "/a", "0:1", "fuse"},
		{"1 2 0:1 / /with\\040blank\\011tab\\012line\\134back ro - fuse x rw",
		 "/with blank\ttab\nline\\back", "0:1", "fuse"},
		{"1 2 0:1 / /a\\04 ro - fuse x rw", "/a\\04", "0:1", "fuse"},
		{"1 2 0:1 / /a\\999 ro - fuse x rw", "/a\\999", "0:1", "fuse"},
	};
	struct mount_entry e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(parse(cases[i].line, &e));
		assert_string_equal(e.path, cases[i].path);
		assert_string_equal(e.device, cases[i].device);
		assert_string_equal(e.type, cases[i].type);
	}
}

static void test_user(void **state)
{
	static const struct {
		const char *end;
		uint32_t user;
	} cases[] = {
		{"rw,user_id=0,group_id=0,allow_other", 0},
		{"rw,user_id=997", 997},
		{"rw", UINT32_MAX},
		{"", UINT32_MAX},
		{"rw,user_id=,group_id=7", UINT32_MAX},
		{"rw,user_id=12x", UINT32_MAX},
		{"rw,user_id=4294967295", UINT32_MAX},
		{"rw,user_id=99999999999999999999999", UINT32_MAX},
	};
	char line[256];
	struct mount_entry e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(line, sizeof(line),
			       "1 2 0:1 / /a ro - fuse.sealedfs ,user_id=5\\040x %s\n",
			       cases[i].end);
		assert_true(parse(line, &e));
		assert_int_equal(e.user, cases[i].user);
	}
}

static int count(void *arg, const struct mount_entry *entry)
{
	unsigned *seen = arg;

	assert_string_equal(entry->type, "proc");
	return ++*seen == 1 ? 0 : -EINTR;
}

static void test_each(void **state)
{
	unsigned seen = 0;

	assert_int_equal(mount_table_each("no such type", count, &seen), 0);
	assert_int_equal(seen, 0);
	assert_in_set(mount_table_each("proc", count, &seen), ((LargestIntegralType[]){0, -EINTR}),
		      2);
	assert_true(seen > 0);
}

static void test_other_lines_are_passed_over(void **state)
{
	static const char *const lines[] = {
		"",
		"\n",
		"-",
		"1 2 0:1 / - fuse x rw",			      /* no path */
		"1 2 0:1 / /a ro shared:1",			      /* no separator */
		"1 2 0:1 / /a ro -",				      /* no type */
		"1 2 111111111111111111111111:1 / /a ro - fuse x rw", /* no device is so long */
	};
	_cleanup_free_ char *longer = malloc(2 * PATH_MAX);
	struct mount_entry e;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_false(parse(lines[i], &e));
	memset(longer, 'x', 2 * PATH_MAX);
	(void)memcpy(longer, "1 2 0:1 / /", 11);
	(void)memcpy(longer + 2 * PATH_MAX - 20, " ro - fuse x rw", 16);
	assert_false(parse(longer, &e));
}

static void test_this_machine(void **state)
{
	struct mount_entry e;

	assert_int_equal(mount_table_find("/proc", &e), 0);
	assert_string_equal(e.type, "proc");
	assert_false(mount_is_dead("/proc"));
	assert_int_equal(mount_table_find("/proc/", &e), -ENOENT);
	assert_int_equal(mount_table_find("/proc/self", &e), -ENOENT);
	assert_false(mount_is_dead("/there/is/nothing"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_user),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_other_lines_are_passed_over),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
