/*
 * Sealed objects in a directory: opening, listing, reading. Job: return ciphertext exactly as it
 * is stored and detect a file that was replaced under a reader. Trusts the kernel; does not trust
 * the directory's contents (links, devices, FIFOs, changes at any moment). Must never open anything
 * outside the root: every part of a name is opened by itself, without following links.
 */
#include "fs/source/directory.h"

#include "crypto/base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 64

#define NO_FILE (-EMEDIUMTYPE) /* a pipe, a socket, a device */

int directory_error(const struct directory_source *d, const char *name, const char *verb, int code,
		    struct error *err)
{
	const char *why = strerror(-code);

	if (code == -ELOOP)
		why = "it is a symbolic link, and links below the source are not followed";
	if (code == NO_FILE)
		why = "it is no regular file";
	error_set(err, code, "cannot %s %s%s%s: %s", verb, d->path, name[0] ? "/" : "", name, why);
	return code;
}

static char *directory_describe(const struct source *s, const char *name)
{
	const struct directory_source *d = (const struct directory_source *)s;
	char *text = NULL;

	if (asprintf(&text, "%s%s%s", d->path, name[0] ? "/" : "", name) < 0)
		return NULL;
	return text;
}

bool directory_name_is_temporary(const char *leaf)
{
	static const char before[] = ".sealedfs-", after[] = ".part";
	size_t n = strlen(leaf);

	return n == sizeof(before) - 1 + 16 + sizeof(after) - 1 &&
	       strncmp(leaf, before, sizeof(before) - 1) == 0 &&
	       strcmp(leaf + n - (sizeof(after) - 1), after) == 0;
}

/* One folder further down; takes over and closes fd. */
static int enter(int fd, const char *part, bool create, unsigned *created)
{
	_cleanup_close_ int from = fd;
	int next;

	if (create) {
		if (mkdirat(from, part, 0777) == 0)
			(*created)++;
		else if (errno != EEXIST)
			return -errno;
	}
	next = openat(from, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return next < 0 ? -errno : next;
}

int directory_open_parent(const struct directory_source *d, const char *name, bool create,
			  unsigned *ret_created, const char **ret_leaf)
{
	int fd = fcntl(d->root_fd, F_DUPFD_CLOEXEC, 0);
	unsigned created = 0, depth = 0;
	const char *slash;

	if (fd < 0)
		return -errno;
	while ((slash = strchr(name, '/'))) {
		char part[NAME_MAX + 1];
		size_t n = (size_t)(slash - name);

		if (n > NAME_MAX || ++depth > DEPTH_MAX) {
			close(fd);
			return -ENAMETOOLONG;
		}
		memcpy(part, name, n);
		part[n] = '\0';
		fd = enter(fd, part, create, &created);
		if (fd < 0)
			return fd;
		name = slash + 1;
	}
	if (ret_created)
		*ret_created = created;
	*ret_leaf = name;
	return fd;
}

static void version_of(const struct stat *st, char version[SOURCE_VERSION_MAX])
{
	/*
	 * No ctime: a chmod or a hard link (a backup) is not a change of the bytes, and a change
	 * that hides its mtime is caught by the chunk tags.
	 */
	(void)snprintf(version, SOURCE_VERSION_MAX, "%llx-%llx-%llx.%09lx",
		       (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		       (unsigned long long)st->st_mtim.tv_sec, (unsigned long)st->st_mtim.tv_nsec);
}

static int64_t mtime_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

/* A regular file below the root, or a negative errno. O_NONBLOCK: a FIFO must not stop us. */
static int open_object(const struct directory_source *d, const char *name, struct stat *st)
{
	const char *leaf = name;
	_cleanup_close_ int dir_fd = directory_open_parent(d, name, false, NULL, &leaf);
	_cleanup_close_ int fd = -1;

	if (dir_fd < 0)
		return dir_fd;
	if (directory_name_is_temporary(leaf))
		return -ENOENT;
	fd = openat(dir_fd, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, st) < 0)
		return -errno;
	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (!S_ISREG(st->st_mode))
		return NO_FILE;
	return steal_fd(&fd);
}

static int directory_stat(struct source *s, const char *name, struct source_object *ret,
			  struct error *err)
{
	struct directory_source *d = (struct directory_source *)s;
	struct stat st = {0};
	_cleanup_close_ int fd = open_object(d, name, &st);
	char version[SOURCE_VERSION_MAX];

	if (fd < 0)
		return directory_error(d, name, "look at", fd, err);
	version_of(&st, version);
	return source_object_make(ret, name, version, (uint64_t)st.st_size, mtime_of(&st));
}

static int check_version(const struct directory_source *d, const char *name, const char *version,
			 const struct stat *st, struct error *err)
{
	char now[SOURCE_VERSION_MAX];

	if (!version)
		return 0;
	version_of(st, now);
	if (strcmp(now, version) == 0)
		return 0;
	return error_set(err, -ESTALE, "%s/%s changed while it was in use", d->path, name);
}

static int directory_read(struct source *s, const char *name, const char *version, uint64_t offset,
			  size_t size, uint8_t *buf, struct error *err)
{
	struct directory_source *d = (struct directory_source *)s;
	struct stat st = {0};
	_cleanup_close_ int fd = open_object(d, name, &st);
	ssize_t n;
	int r;

	if (fd < 0)
		return directory_error(d, name, "read", fd, err);
	r = check_version(d, name, version, &st, err);
	if (r < 0)
		return r;
	n = file_read_at(fd, buf, size, offset);
	if (n < 0)
		return directory_error(d, name, "read", (int)n, err);
	if ((size_t)n < size)
		return error_set(err, -ENODATA, "%s/%s ends before offset %llu", d->path, name,
				 (unsigned long long)offset + size);
	/* Written to in the meantime: without this check it would look like tampering. */
	if (version && fstat(fd, &st) == 0)
		r = check_version(d, name, version, &st, err);
	return r;
}

struct walk {
	const struct directory_source *d;
	struct source_listing *listing;
	struct error *err;
};

static int list_folder(struct walk *w, int fd, const char *prefix, unsigned depth);

/* It is not searched, but it may hold a seal. */
static int skip_folder(struct walk *w, const char *folder, const char *why)
{
	_cleanup_free_ char *name = NULL;

	if (asprintf(&name, "%s/*" SEAL_SUFFIX, folder) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	return source_listing_skip(w->listing, name, why);
}

static int list_subfolder(struct walk *w, DIR *dir, const char *leaf, const char *name,
			  unsigned depth)
{
	_cleanup_free_ char *below = NULL;
	int fd;

	if (depth >= DEPTH_MAX)
		return skip_folder(w, name, "more than 64 directories deep");
	fd = openat(dirfd(dir), leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : directory_error(w->d, name, "list", -errno, w->err);
	if (asprintf(&below, "%s/", name) < 0) {
		close(fd);
		return -ENOMEM;
	}
	return list_folder(w, fd, below, depth + 1);
}

static int list_entry(struct walk *w, DIR *dir, const char *prefix, const char *leaf,
		      unsigned depth)
{
	static const char too_long[] = "it is longer than 1024 bytes";
	char version[SOURCE_VERSION_MAX];
	_cleanup_free_ char *name = NULL;
	struct stat st, target;
	bool fits;

	if (strcmp(leaf, ".") == 0 || strcmp(leaf, "..") == 0 || directory_name_is_temporary(leaf))
		return 0;
	/* A file system's own, readable by root only. */
	if (depth == 0 && strcmp(leaf, "lost+found") == 0)
		return 0;
	if (fstatat(dirfd(dir), leaf, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (asprintf(&name, "%s%s", prefix, leaf) < 0)
		return -ENOMEM;
	fits = strlen(name) < SOURCE_NAME_MAX;
	if (S_ISDIR(st.st_mode))
		return fits ? list_subfolder(w, dir, leaf, name, depth)
			    : skip_folder(w, name, too_long);
	if (!fits)
		return source_listing_skip(w->listing, name, too_long);
	if (S_ISLNK(st.st_mode) && fstatat(dirfd(dir), leaf, &target, 0) == 0 &&
	    S_ISDIR(target.st_mode))
		return skip_folder(w, name,
				   "it is a symbolic link to a directory, and those are "
				   "not followed");
	if (S_ISLNK(st.st_mode))
		return source_listing_skip(w->listing, name,
					   "it is a symbolic link, and links below the source are "
					   "not followed");
	if (!S_ISREG(st.st_mode))
		return source_listing_skip(w->listing, name, "it is no regular file");
	version_of(&st, version);
	return source_listing_add(w->listing, name, (uint64_t)st.st_size, mtime_of(&st), version);
}

/* Takes over fd. */
static int list_folder(struct walk *w, int fd, const char *prefix, unsigned depth)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct dirent *de;
	int r;

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (errno = 0, (de = readdir(dir))) {
		r = list_entry(w, dir, prefix, de->d_name, depth);
		if (r < 0)
			return r;
	}
	return errno ? directory_error(w->d, prefix, "list", -errno, w->err) : 0;
}

static int directory_list(struct source *s, struct source_listing *ret, struct error *err)
{
	struct directory_source *d = (struct directory_source *)s;
	struct walk w = {.d = d, .listing = ret, .err = err};
	/* Not a dup: the read position must be its own. */
	int fd = openat(d->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return directory_error(d, "", "list", -errno, err);
	r = list_folder(&w, fd, "", 0);
	if (r < 0 && r != -E2BIG)
		directory_error(d, "", "list", r, err);
	return r;
}

static char *directory_nearby(struct source *s)
{
	struct directory_source *d = (struct directory_source *)s;
	int fd = openat(d->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0;
	const struct dirent *de;
	char *text = NULL;

	if (!dir) {
		closep(&fd);
		return NULL;
	}
	while ((de = readdir(dir)))
		count += strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
	if (asprintf(&text, "the folder has %zu entries, and no NAME" SEAL_SUFFIX " below it",
		     count) < 0)
		return NULL;
	return text;
}

static void directory_free(struct source *s)
{
	struct directory_source *d = (struct directory_source *)s;

	closep(&d->root_fd);
	free(d->path);
	free(d);
}

static const struct source_ops directory_ops = {
	.preferred_size = SEAL_CHUNK_SIZE,
	.free = directory_free,
	.describe = directory_describe,
	.list = directory_list,
	.nearby = directory_nearby,
	.stat = directory_stat,
	.read = directory_read,
	.put = directory_put,
	.remove = directory_remove,
	.writer_new = directory_writer_new,
};

/* mkdir -p. Only missing parts are made. */
static int make_path(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0777) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(copy, 0777) < 0 && errno != EEXIST ? -errno : 0;
}

int directory_source_open(const char *path, bool create, struct source **ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ struct directory_source *d = NULL;
	size_t n = strlen(path);

	if (fd < 0 && errno == ENOENT && create) {
		int r = make_path(path);

		if (r < 0)
			return error_set(err, r, "cannot make the directory %s: %s", path,
					 strerror(-r));
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0) {
		int code = -errno;

		if (code == -ENOTDIR)
			error_hint(err, "name the folder that holds the seals");
		return error_set(err, code, "cannot open the directory %s: %s", path,
				 strerror(-code));
	}
	while (n > 1 && path[n - 1] == '/')
		n--;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->path = strndup(path, n);
	if (!d->path)
		return -ENOMEM;
	d->source.ops = &directory_ops;
	d->root_fd = steal_fd(&fd);
	*ret = &steal_ptr(d)->source;
	return 0;
}
