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
#include <poll.h>
#include <string.h>

static int fail(struct error *err, int code, const char *what, const char *path)
{
	char printable[NAME_PRINTABLE_SIZE];

	name_printable(path, printable);
	return error_set(err, code, "%s \"%s\": %s", what, printable, strerror(-code));
}

/* A pipe may not have a writer yet. */
static int wait_for_writer(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, -1);
	while (n < 0 && errno == EINTR);
	return n < 0 || fcntl(fd, F_SETFL, 0) < 0 ? -errno : 0;
}

int key_io_read(const char *path, enum trust_file what, struct secret **ret, struct error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_secret_ struct secret *all = NULL;
	char printable[NAME_PRINTABLE_SIZE];
	ssize_t n;
	int r = trust_file_open(path, what, &fd, err);

	if (r < 0)
		return fail(err, r, "cannot open the key file", path);
	r = wait_for_writer(fd);
	if (r < 0)
		return fail(err, r, "cannot read the key file", path);
	r = secret_new(KEY_FILE_MAX + 1, &all);
	if (r < 0)
		return fail(err, r, "no memory for the key file", path);
	n = file_read(fd, secret_bytes(all), KEY_FILE_MAX + 1);
	if (n < 0)
		return fail(err, (int)n, "cannot read the key file", path);
	name_printable(path, printable);
	if (n == 0)
		return error_set(err, -EINVAL, "the key file \"%s\" is empty", printable);
	if ((size_t)n > KEY_FILE_MAX)
		return error_set(err, -EINVAL, "\"%s\" is too large for a key file", printable);
	r = secret_new_from(secret_data(all), (size_t)n, ret);
	return r < 0 ? fail(err, r, "no memory for the key file", path) : 0;
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
