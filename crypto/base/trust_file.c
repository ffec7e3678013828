/*
 * Files that decide trust. Job: walk from / to a file and refuse it if another user could have
 * replaced it. Trusts root, the effective user and the kernel. Must never open a file by another
 * path than the one that it has checked.
 */
#include "crypto/base/trust_file.h"

#include "crypto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define LINKS_MAX 40

struct walk {
	int dir; /* checked; owned */
	unsigned links;
	char rest[2 * PATH_MAX];  /* what is left to walk */
	char shown[2 * PATH_MAX]; /* where we are, for messages; empty: / */
};

static void walk_done(struct walk *w)
{
	if (w->dir >= 0)
		close(w->dir);
}

static int check_owner(const struct stat *st, const char *what, struct error *err)
{
	if (st->st_uid == 0 || st->st_uid == geteuid())
		return 0;
	error_hint(err, "chown root %s, or to the user who runs this", what);
	return error_set(err, -EINVAL,
			 "%s cannot be trusted: it belongs to user %u, who is neither root nor the "
			 "user who runs this",
			 what, (unsigned)st->st_uid);
}

static int check_directory(const struct walk *w, const struct stat *st, struct error *err)
{
	const char *shown = w->shown[0] ? w->shown : "/";
	int r = check_owner(st, shown, err);

	if (r < 0 || !(st->st_mode & 022) || (st->st_uid == 0 && (st->st_mode & S_ISVTX)))
		return r;
	error_hint(err, "chmod go-w %s", shown);
	return error_set(err, -EINVAL,
			 "the directory %s can be changed by other users (mode %04o), and so can "
			 "what lies in it",
			 shown, (unsigned)st->st_mode & 07777);
}

/* systemd gives a service its credentials by an access list, whose mask shows as the group's bits.
 */
static bool is_credential(const struct walk *w, const struct stat *st)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY"), *slash = strrchr(w->shown, '/');
	size_t n = dir ? strlen(dir) : 0;

	return n > 1 && slash && (size_t)(slash - w->shown) == n &&
	       strncmp(w->shown, dir, n) == 0 && st->st_uid == 0 && (st->st_mode & 07777) == 0440;
}

static int check_file(const struct walk *w, const struct stat *st, enum trust_file what,
		      struct error *err)
{
	mode_t others = st->st_mode & 077;
	int r;

	if (!S_ISREG(st->st_mode) && !S_ISFIFO(st->st_mode))
		return 0;
	r = check_owner(st, w->shown, err);
	if (r < 0)
		return r;
	if (what == TRUST_SECRET && others && !is_credential(w, st)) {
		error_hint(err, "chmod 600 %s; if others may have read it, make a new one",
			   w->shown);
		return error_set(
			err, -EINVAL,
			"others than its owner can read %s (mode %04o), which should hold a "
			"private or secret key",
			w->shown, (unsigned)st->st_mode & 07777);
	}
	if (others & 022) {
		error_hint(err, "chmod go-w %s", w->shown);
		return error_set(err, -EINVAL, "%s can be changed by other users (mode %04o)",
				 w->shown, (unsigned)st->st_mode & 07777);
	}
	return 0;
}

static int enter(struct walk *w, int fd, struct error *err)
{
	struct stat st;

	if (fd < 0)
		return -errno;
	if (w->dir >= 0)
		close(w->dir);
	w->dir = fd;
	return fstat(fd, &st) < 0 ? -errno : check_directory(w, &st, err);
}

static int enter_root(struct walk *w, struct error *err)
{
	w->shown[0] = '\0';
	return enter(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), err);
}

/* Puts text in front of what is left. */
static int prepend(struct walk *w, const char *text)
{
	char whole[sizeof(w->rest)];

	if (snprintf(whole, sizeof(whole), "%s/%s", text, w->rest) >= (int)sizeof(whole))
		return -ENAMETOOLONG;
	memcpy(w->rest, whole, sizeof(whole));
	return 0;
}

/* fd: O_PATH, of the link. */
static int follow(struct walk *w, int fd, const struct stat *st, struct error *err)
{
	char target[PATH_MAX];
	ssize_t n;
	int r = check_owner(st, w->shown, err);

	if (r < 0)
		return r;
	n = readlinkat(fd, "", target, sizeof(target) - 1);
	if (n <= 0)
		return n < 0 ? -errno : -ENOENT;
	target[n] = '\0';
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	r = prepend(w, target);
	if (r == 0 && target[0] == '/')
		return enter_root(w, err);
	if (r == 0 && strrchr(w->shown, '/'))
		*strrchr(w->shown, '/') = '\0';
	return r;
}

/* The links of /proc/PID/fd lead to no path: a descriptor that we were given. */
static bool is_magic(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* Takes the next component off; false: there is none. */
static bool next(struct walk *w, char name[NAME_MAX + 1], int *ret_error)
{
	size_t skip = strspn(w->rest, "/"), n = strcspn(w->rest + skip, "/");

	*ret_error = n > NAME_MAX ? -ENAMETOOLONG : 0;
	if (n == 0 || n > NAME_MAX)
		return false;
	memcpy(name, w->rest + skip, n);
	name[n] = '\0';
	skip += n;
	memmove(w->rest, w->rest + skip, strlen(w->rest + skip) + 1);
	return true;
}

static int show(struct walk *w, const char *name)
{
	size_t n = strlen(w->shown);

	if (strcmp(name, "..") == 0) {
		if (n > 0)
			*strrchr(w->shown, '/') = '\0';
		return 0;
	}
	return snprintf(w->shown + n, sizeof(w->shown) - n, "/%s", name) >=
			       (int)(sizeof(w->shown) - n)
		       ? -ENAMETOOLONG
		       : 0;
}

/* 1: *ret_fd is the file, which ends the walk. */
static int step(struct walk *w, const char *name, enum trust_file what, int *ret_fd,
		struct error *err)
{
	bool last = w->rest[strspn(w->rest, "/")] == '\0', through = false;
	_cleanup_close_ int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int r = show(w, name);

	if (r < 0 || fd < 0 || fstat(fd, &st) < 0)
		return r < 0 ? r : -errno;
	if (S_ISLNK(st.st_mode)) {
		through = is_magic(fd);
		if (!through)
			return follow(w, fd, &st, err);
	}
	if (!last || S_ISDIR(st.st_mode))
		return enter(w,
			     openat(w->dir, name,
				    O_PATH | O_DIRECTORY | O_CLOEXEC | (through ? 0 : O_NOFOLLOW)),
			     err);
	close(steal_fd(&fd));
	fd = openat(w->dir, name,
		    O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (through ? 0 : O_NOFOLLOW));
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	r = check_file(w, &st, what, err);
	if (r < 0)
		return r;
	*ret_fd = steal_fd(&fd);
	return 1;
}

int trust_file_open(const char *path, enum trust_file what, int *ret_fd, struct error *err)
{
	_cleanup_(walk_done) struct walk w = {.dir = -1};
	_cleanup_free_ char *here = path[0] == '/' ? strdup("/") : getcwd(NULL, 0);
	char name[NAME_MAX + 1];
	int r;

	if (!here)
		return -errno;
	if (!path[0])
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(w.rest, path, strlen(path) + 1);
	r = prepend(&w, here);
	if (r == 0)
		r = enter_root(&w, err);
	while (r == 0 && next(&w, name, &r))
		if (strcmp(name, ".") != 0)
			r = step(&w, name, what, ret_fd, err);
	if (r != 0)
		return r < 0 ? r : 0;
	/* It ends with a directory. */
	*ret_fd = openat(w.dir, ".", O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}
