/*
 * Files that hold keys. Job: read them into secret memory and create them so that a crash or a
 * full disk leaves nothing half-written. Trusts the file system. Must never overwrite a file nor
 * follow a link that someone else placed.
 */
#include "crypto/key_io.h"

#include "crypto/base/fileio.h"
#include "crypto/name.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int fail(struct error *err, int code, const char *what, const char *path)
{
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(path, printable);
	return error_set(err, code, "%s \"%s\": %s", what, printable, strerror(-code));
}

int key_io_read(const char *path, struct secret **ret, mode_t *ret_mode, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	_cleanup_secret_ struct secret *all = NULL;
	char printable[NAME_PRINTABLE_SIZE];
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0)
		return fail(err, -errno, "cannot open the key file", path);
	if (fstat(fd, &st) < 0)
		return fail(err, -errno, "cannot look at the key file", path);
	r = secret_new(KEY_FILE_MAX + 1, &all);
	if (r < 0)
		return fail(err, r, "no memory for the key file", path);
	n = file_read(fd, secret_bytes(all), KEY_FILE_MAX + 1);
	if (n < 0)
		return fail(err, (int)n, "cannot read the key file", path);
	name_printable(path, printable);
	if (n == 0)
		return error_set(err, -EPROTO, "the key file \"%s\" is empty", printable);
	if ((size_t)n > KEY_FILE_MAX)
		return error_set(err, -EPROTO, "\"%s\" is too large for a key file", printable);
	r = secret_new_from(secret_data(all), (size_t)n, ret);
	if (r < 0)
		return fail(err, r, "no memory for the key file", path);
	if (ret_mode)
		*ret_mode = st.st_mode;
	return 0;
}

/* Some file systems cannot sync a directory; the file itself is synced either way. */
static void sync_parent(const char *path)
{
	size_t n = (size_t)(name_last_component(path) - path);
	_cleanup_free_ char *parent = n > 0 ? strndup(path, n) : strdup(".");
	_cleanup_close_ int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void)fsync(fd);
}

int key_io_create(const char *path, const void *data, size_t size, mode_t mode, struct error *err)
{
	_cleanup_close_ int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
	int r;

	if (fd < 0) {
		r = fail(err, -errno, "cannot create the key file", path);
		if (r == -EEXIST)
			error_hint(err, "choose another name, or move the old file away");
		return r;
	}
	r = file_write(fd, data, size);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && close(steal_fd(&fd)) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(path);
		return fail(err, r, "cannot write the key file", path);
	}
	sync_parent(path);
	return 0;
}
