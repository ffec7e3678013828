/* crypto/base/trust_file: who could have put another file there. Root alone can give files away. */
#include "crypto/base/trust_file.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* /tmp/X/one/two/file */
static struct {
	char top[64], one[80], two[96], file[112];
} at;

static int set_up(void **state)
{
	(void)snprintf(at.top, sizeof(at.top), "/tmp/sealedfs-trust.XXXXXX");
	if (!mkdtemp(at.top))
		return -1;
	(void)snprintf(at.one, sizeof(at.one), "%s/one", at.top);
	(void)snprintf(at.two, sizeof(at.two), "%s/two", at.one);
	(void)snprintf(at.file, sizeof(at.file), "%s/file", at.two);
	if (mkdir(at.one, 0755) < 0 || mkdir(at.two, 0755) < 0)
		return -1;
	close(open(at.file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	return chmod(at.file, 0600);
}

static int tear_down(void **state)
{
	char command[160];

	(void)snprintf(command, sizeof(command), "%s/link", at.one);
	(void)unlink(command);
	(void)unlink(at.file);
	(void)rmdir(at.two);
	(void)rmdir(at.one);
	return rmdir(at.top);
}

static int look(const char *path, enum trust_file what, struct error *err)
{
	_cleanup_close_ int fd = -1;
	int r = trust_file_open(path, what, &fd, err);

	assert_int_equal(fd >= 0, r == 0);
	return r;
}

static void refused(const char *path, enum trust_file what, const char *message, const char *hint)
{
	struct error err = {0};

	assert_int_equal(look(path, what, &err), -EINVAL);
	if (!strstr(err.message, message) || !strstr(err.hint, hint))
		fail_msg("%s (%s), not: %s (%s)", err.message, err.hint, message, hint);
}

static void modes_of_the_file(void **state)
{
	static const mode_t changed[] = {0620, 0602, 0664, 0646, 0666, 0777};
	static const mode_t readable[] = {0640, 0604, 0644, 0440, 0610, 0601};

	for (size_t i = 0; i < ARRAY_LEN(changed); i++) {
		assert_int_equal(chmod(at.file, changed[i]), 0);
		refused(at.file, TRUST_UNCHANGED, "file can be changed by other users (mode 0",
			"chmod go-w /tmp/");
		refused(at.file, TRUST_SECRET, "others than its owner can read", "chmod 600 /tmp/");
	}
	for (size_t i = 0; i < ARRAY_LEN(readable); i++) {
		assert_int_equal(chmod(at.file, readable[i]), 0);
		assert_int_equal(look(at.file, TRUST_UNCHANGED, NULL), 0);
		refused(at.file, TRUST_SECRET, "others than its owner can read", "chmod 600 /tmp/");
	}
	assert_int_equal(chmod(at.file, 0600), 0);
	assert_int_equal(look(at.file, TRUST_SECRET, NULL), 0);
	assert_int_equal(look("/tmp/sealedfs-trust.none/file", TRUST_SECRET, NULL), -ENOENT);
	assert_int_equal(look("", TRUST_SECRET, NULL), -ENOENT);
	assert_int_equal(look("/dev/null", TRUST_SECRET, NULL), 0);
	assert_int_equal(look(at.two, TRUST_SECRET, NULL), 0);
}

static void modes_of_parents(void **state)
{
	static const mode_t open_modes[] = {0775, 0757, 0777};
	const char *dirs[] = {at.two, at.one, at.top};

	for (size_t d = 0; d < ARRAY_LEN(dirs); d++) {
		for (size_t i = 0; i < ARRAY_LEN(open_modes); i++) {
			char hint[160];

			(void)snprintf(hint, sizeof(hint), "chmod go-w %s", dirs[d]);
			assert_int_equal(chmod(dirs[d], open_modes[i]), 0);
			refused(at.file, TRUST_UNCHANGED, "the directory /tmp/", hint);
		}
		assert_int_equal(chmod(dirs[d], 01777), 0);
		assert_int_equal(look(at.file, TRUST_SECRET, NULL), geteuid() == 0 ? 0 : -EINVAL);
		assert_int_equal(chmod(dirs[d], 0755), 0);
	}
}

static void owners(void **state)
{
	const char *paths[] = {at.file, at.two, at.one};

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		assert_int_equal(chown(paths[i], 65534, 0), 0);
		refused(at.file, TRUST_UNCHANGED, "belongs to user 65534", "chown root /tmp/");
		assert_int_equal(chown(paths[i], 0, 0), 0);
	}
	/* The sticky bit is root's word, not another's. */
	assert_int_equal(chmod(at.two, 01777), 0);
	assert_int_equal(chown(at.two, 65534, 0), 0);
	refused(at.file, TRUST_UNCHANGED, "belongs to user 65534", "chown root");
	assert_int_equal(chown(at.two, 0, 0), 0);
	assert_int_equal(chmod(at.two, 0755), 0);
	/* A file of the user's own. */
	assert_int_equal(chown(at.file, 65534, 0), 0);
	assert_int_equal(chmod(at.top, 0755), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(look(at.file, TRUST_SECRET, NULL), 0);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chown(at.file, 0, 0), 0);
}

static void links(void **state)
{
	char link[100], target[200];
	struct stat st;

	(void)snprintf(link, sizeof(link), "%s/link", at.one);
	assert_int_equal(symlink("two/../two/./file", link), 0);
	assert_int_equal(look(link, TRUST_SECRET, NULL), 0);
	assert_int_equal(chmod(at.two, 0777), 0);
	refused(link, TRUST_UNCHANGED, "/one/two can be changed", "chmod go-w");
	assert_int_equal(chmod(at.two, 0755), 0);
	if (geteuid() == 0) {
		assert_int_equal(lchown(link, 65534, 0), 0);
		refused(link, TRUST_UNCHANGED, "link cannot be trusted: it belongs", "chown root");
	}
	assert_int_equal(unlink(link), 0);
	(void)snprintf(target, sizeof(target), "%s/../one//two", at.one);
	assert_int_equal(symlink(target, link), 0);
	(void)snprintf(target, sizeof(target), "%s/file", link);
	assert_int_equal(look(target, TRUST_SECRET, NULL), 0);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink(link, link), 0);
	assert_int_equal(look(link, TRUST_SECRET, NULL), -ELOOP);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("nothing", link), 0);
	assert_int_equal(look(link, TRUST_SECRET, NULL), -ENOENT);
	assert_int_equal(stat(at.file, &st), 0);
}

static void descriptors_and_relative_paths(void **state)
{
	char path[64];
	int fds[2], fd = open(at.file, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	(void)snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	assert_int_equal(look(path, TRUST_SECRET, NULL), 0);
	close(fd);
	assert_int_equal(pipe(fds), 0);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
	assert_int_equal(look(path, TRUST_SECRET, NULL), 0);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(chdir(at.one), 0);
	assert_int_equal(look("two/file", TRUST_SECRET, NULL), 0);
	assert_int_equal(look("./../one/two//file", TRUST_SECRET, NULL), 0);
	assert_int_equal(chmod(at.top, 0777), 0);
	refused("two/file", TRUST_SECRET, "the directory /tmp/sealedfs-trust", "chmod go-w");
	assert_int_equal(chmod(at.top, 0755), 0);
	assert_int_equal(chdir("/"), 0);
}

/* As systemd 254 makes them. */
static void credentials(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(at.file, 0440), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", at.two, 1), 0);
	assert_int_equal(look(at.file, TRUST_SECRET, NULL), 0);
	assert_int_equal(chmod(at.file, 0444), 0);
	refused(at.file, TRUST_SECRET, "others than its owner can read", "chmod 600");
	assert_int_equal(chmod(at.file, 0440), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", at.one, 1), 0);
	refused(at.file, TRUST_SECRET, "others than its owner can read", "chmod 600");
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

int main(void)
{
#define WITH_FILES(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_FILES(modes_of_the_file),
		WITH_FILES(modes_of_parents),
		WITH_FILES(owners),
		WITH_FILES(links),
		WITH_FILES(credentials),
		WITH_FILES(descriptors_and_relative_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
