/*
 * The runtime directory. Job: make it, distrust it, and wait for locks in it. Trusts root and the
 * user it runs as. Must never follow what another user could have planted there.
 */
#include "attest/runtime_dir.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define RUNTIME_DIR "/run/sealedfs"
#define LOCK_PAUSE_MS 10L

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
		/* Whatever the umask says: others find the lock by walking through it. */
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

int runtime_lock(int fd, unsigned deadline_ms)
{
	struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};

	for (unsigned long waited = 0;; waited += LOCK_PAUSE_MS) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (waited >= deadline_ms)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
}
