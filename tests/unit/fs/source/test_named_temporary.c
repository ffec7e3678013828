/* fs/source/directory_write on a file system without O_TMPFILE (NFS, vfat): linked with --wrap. */
#include "crypto/base/cleanup.h"
#include "crypto/format.h"
#include "fs/source/source.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int __real_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...);

static unsigned refused;

int __wrap_openat64(int fd, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if ((flags & O_TMPFILE) == O_TMPFILE) {
		refused++;
		errno = EOPNOTSUPP;
		return -1;
	}
	return __real_openat64(fd, path, flags, mode);
}

static unsigned count_files(const char *folder, bool *ret_temporary)
{
	_cleanup_closedir_ DIR *dir = opendir(folder);
	struct dirent *de;
	unsigned n = 0;

	*ret_temporary = false;
	while ((de = readdir(dir))) {
		n += de->d_name[0] != '.' || strlen(de->d_name) > 2;
		*ret_temporary |= strncmp(de->d_name, ".sealedfs-", 10) == 0;
	}
	return n;
}

static void temporary_name_comes_and_goes(void **state)
{
	char folder[] = "/tmp/test-source-XXXXXX", path[64];
	struct source *s = NULL;
	struct source_writer *w = NULL;
	struct source_listing l = {0};
	bool temporary;

	assert_non_null(mkdtemp(folder));
	assert_int_equal(source_open(folder, NULL, false, &s, NULL), 0);
	for (int commit = 0; commit < 2; commit++) {
		assert_int_equal(source_writer_new(s, "m", 5, SEAL_EXTENT_SIZE, &w, NULL), 0);
		assert_int_equal(source_writer_part(w, 0, "hello", 5, NULL), 0);
		assert_int_equal(count_files(folder, &temporary), 1);
		assert_true(temporary);
		assert_int_equal(source_list(s, NULL, &l, NULL), 0);
		assert_int_equal(l.count, 0);
		source_listing_clear(&l);
		if (commit)
			assert_int_equal(source_writer_commit(w, NULL), 0);
		source_writer_free(w);
		assert_int_equal(count_files(folder, &temporary), commit);
		assert_false(temporary);
	}
	assert_int_equal(refused, 2);
	source_free(s);
	(void)snprintf(path, sizeof(path), "%s/m", folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(temporary_name_comes_and_goes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
