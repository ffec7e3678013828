/*
 * The folder of a stage. Job: make it, make sure that it is ours alone, and find what an earlier
 * process has left there. Trusts the kernel for owners, modes and locks; every file in it is only a
 * hint. Must never follow a link, nor touch a file whose name is not a stage's.
 */
#include "fs/stage/folder.h"

#include "crypto/base/fileio.h"
#include "crypto/base/trust_file.h"
#include "fs/stage/types.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A daemon that is on its way out still has the lock. */
#define LOCK_WAIT_MS 3000

int stage_make_directory(const char *dir, uid_t uid, gid_t gid, struct error *err)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(dir, 0700) < 0) {
		if (errno == EEXIST)
			return 0;
		error_hint(err, "its parent folder must be there");
		return error_set(err, -errno, "cannot make the folder %s for the stage: %s", dir,
				 strerror(errno));
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0700) < 0 ||
	    ((uid != geteuid() || gid != getegid()) && fchown(fd, uid, gid) < 0))
		return error_set(err, -errno, "cannot give %s to user %u: %s", dir, uid,
				 strerror(errno));
	return 0;
}

static int check_folder(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "stage %s: %s", path, strerror(errno));
	if (st.st_uid != geteuid()) {
		error_hint(err, "chown it, or name another folder");
		return error_set(err, -EINVAL,
				 "stage %s belongs to user %u, and this process is user %u", path,
				 st.st_uid, geteuid());
	}
	if (st.st_mode & 022) {
		error_hint(err, "chmod 0700");
		return error_set(err, -EINVAL, "stage %s can be changed by other users", path);
	}
	return 0;
}

static int lock_folder(int dir_fd, const char *path, struct error *err)
{
	_cleanup_close_ int fd = openat(
		dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return error_set(err, -errno, "cannot open %s/lock: %s", path, strerror(errno));
	r = file_lock(fd, false, LOCK_WAIT_MS);
	if (r == -ETIMEDOUT) {
		error_hint(err, "give each mount a folder of its own");
		return error_set(err, -EEXIST, "stage %s is in use by another sealedfs process",
				 path);
	}
	if (r < 0)
		return error_set(err, r, "cannot lock %s/lock: %s", path, strerror(-r));
	return steal_fd(&fd);
}

/* Nobody else can exchange it either: as a file with a key. */
static int open_folder(const char *path, struct error *err)
{
	_cleanup_close_ int checked = -1;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = -errno;

	if (fd < 0 && (r == -ELOOP || r == -ENOTDIR))
		return error_set(err, -EINVAL, "stage %s is not a folder (links are not followed)",
				 path);
	if (fd < 0)
		return error_set(err, r, "cannot open stage %s: %s", path, strerror(-r));
	r = check_folder(fd, path, err);
	if (r == 0)
		r = trust_file_open(path, TRUST_UNCHANGED, &checked, err);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int folder_open(const char *path, int *ret_dir_fd, int *ret_lock_fd, struct error *err)
{
	_cleanup_close_ int fd = open_folder(path, err);
	int lock_fd = fd < 0 ? fd : lock_folder(fd, path, err);

	if (lock_fd < 0)
		return lock_fd;
	*ret_dir_fd = steal_fd(&fd);
	*ret_lock_fd = lock_fd;
	return 0;
}

/* "<16 hex>.data" and "<16 hex>.index", one pair for each payload. */
static bool is_of_older_version(const char *name)
{
	return strspn(name, "0123456789abcdef") == 16 &&
	       (strcmp(name + 16, ".data") == 0 || strcmp(name + 16, ".index") == 0);
}

static bool is_usable(int dir_fd, const char *name, struct folder_entry *e)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !extent_is_ours(&st))
		return false;
	e->bytes = (uint64_t)st.st_blocks * 512;
	e->used_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return e->chunks != 0;
}

struct list {
	struct folder_entry *entries;
	size_t count, count_max, removed;
};

static int add(struct list *l, int dir_fd, const char *name)
{
	bool older = is_of_older_version(name);
	struct folder_entry e, *entries;

	if (!older && !extent_name_parse(name, &e.key, &e.chunks))
		return 0;
	if (older || l->count == l->count_max || !is_usable(dir_fd, name, &e)) {
		l->removed += unlinkat(dir_fd, name, 0) == 0;
		return 0;
	}
	/* Room doubles whenever the count is a power of two. */
	if ((l->count & (l->count - 1)) == 0) {
		entries = reallocarray(l->entries, l->count ? 2 * l->count : 1, sizeof(e));
		if (!entries)
			return -ENOMEM;
		l->entries = entries;
	}
	l->entries[l->count++] = e;
	return 0;
}

static int list(struct list *l, int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!dir) {
		r = -errno;
		closep(&fd);
		return r;
	}
	while (r == 0 && (errno = 0, de = readdir(dir)))
		r = add(l, dir_fd, de->d_name);
	return r == 0 ? -errno : r;
}

static int compare_use(const void *a, const void *b)
{
	const struct folder_entry *x = a, *y = b;

	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

int folder_list(int dir_fd, size_t count_max, struct folder_entry **ret, size_t *ret_count,
		size_t *ret_removed)
{
	struct list l = {.count_max = count_max};
	int r = list(&l, dir_fd);

	if (r < 0) {
		free(l.entries);
		return r;
	}
	if (l.count > 0)
		qsort(l.entries, l.count, sizeof(*l.entries), compare_use);
	*ret = l.entries;
	*ret_count = l.count;
	*ret_removed = l.removed;
	return 0;
}
