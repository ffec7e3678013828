/*
 * The runtime directory. Job: create it and check it. Trusts root and the
 * user that it runs as. Must never follow a link that another user could have placed there.
 */
#include "attest/runtime_dir.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define RUNTIME_DIR "/run/sealedfs"

const char *runtime_dir(void)
{
	const char *dir = getenv("SEALEDFS_RUNTIME_DIR");

	return dir && *dir == '/' ? dir : RUNTIME_DIR;
}

int runtime_parent_make(const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;
	struct stat st;

	if (!slash || slash == path)
		return error_set(err, -EINVAL, "%s: needs an absolute path in a directory", path);
	dir = strndup(path, (size_t)(slash - path));
	if (!dir)
		return error_set(err, -ENOMEM, "out of memory");
	if (mkdir(dir, 0755) == 0) {
		/* Independent of the umask: other users find the lock through it. */
		(void)chmod(dir, 0755);
	} else if (errno != EEXIST) {
		int code = -errno;

		error_set(err, code, "cannot make the directory %s: %s", dir, strerror(-code));
		error_hint(err, "create it, owned by the user that runs sealedfs");
		return code;
	}
	if (stat(dir, &st) < 0)
		return error_set(err, -errno, "%s: %s", dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR, "%s is not a directory", dir);
	if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
	    ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX)))
		return error_set(err, -EPERM, "%s can be changed by other users; not used", dir);
	return 0;
}
