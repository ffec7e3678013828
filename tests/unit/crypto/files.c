/* Files for the tests of crypto/: see files.h. Trusts the test tree and the temporary directory. */
#include "tests/unit/crypto/files.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct blob blob_load(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "rbe");
	struct blob b = {0};
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0)
		fail_msg("cannot open %s", path);
	b.size = (size_t)st.st_size;
	b.data = malloc(b.size + 1);
	assert_non_null(b.data);
	assert_int_equal(fread(b.data, 1, b.size, f), b.size);
	b.data[b.size] = '\0';
	return b;
}

void blob_done(struct blob *b)
{
	free(b->data);
	*b = (struct blob){0};
}

void blob_store(const char *path, const void *data, size_t size, unsigned mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		fail_msg("cannot create %s", path);
	assert_int_equal(write(fd, data, size), size);
	assert_int_equal(fchmod(fd, mode), 0);
}

char *vector_path(const char *relative)
{
	return path_join(TEST_SOURCE_ROOT "/tests/vectors/format", relative);
}

char *vector_copy(const char *relative, const char *dir)
{
	_cleanup_free_ char *source = vector_path(relative);
	_cleanup_blob_ struct blob b = blob_load(source);
	char *path = path_join(dir, strrchr(source, '/') + 1);

	blob_store(path, b.data, b.size, 0600);
	return path;
}

char *temp_dir_new(void)
{
	const char *base = getenv("TMPDIR");
	char *dir = path_join(base ? base : "/tmp", "sealedfs-test-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

void temp_dir_done(char *dir)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(d), e->d_name, 0), 0);
	assert_int_equal(rmdir(dir), 0);
	free(dir);
}

char *path_join(const char *dir, const char *name)
{
	size_t size = strlen(dir) + strlen(name) + 2;
	char *path = malloc(size);

	assert_non_null(path);
	(void)snprintf(path, size, "%s/%s", dir, name);
	return path;
}
