/*
 * Mount points. Job: one check for every way to mount, and clear messages. Trusts the kernel's
 * mount table. Must never remove a mount that answers.
 */
#include "fs/mount/mount_point.h"

#include "crypto/base/log.h"
#include "fs/mount/mount_table.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Absolute, without symbolic links. The path of a dead mount cannot be resolved; its parent's can.
 */
static int resolve(const char *path, char **ret)
{
	_cleanup_free_ char *copy = strdup(path), *real = NULL;
	char *name;

	if (!copy)
		return -ENOMEM;
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	name = strrchr(copy, '/');
	if (name)
		*name++ = '\0';
	real = realpath(!name ? "." : copy[0] ? copy : "/", NULL);
	if (!real)
		return -errno;
	if (asprintf(ret, "%s/%s", real[1] ? real : "", name ? name : copy) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static bool is_fuse(const struct mount_entry *e, const char *subtype)
{
	if (strcmp(e->type, "fuse") == 0)
		return !subtype;
	return strncmp(e->type, "fuse.", 5) == 0 && (!subtype || strcmp(e->type + 5, subtype) == 0);
}

int mount_point_detach(const char *at)
{
	char *argv[] = {(char *)(uintptr_t) "fusermount3",
			(char *)(uintptr_t) "-u",
			(char *)(uintptr_t) "-q",
			(char *)(uintptr_t) "-z",
			(char *)(uintptr_t) "--",
			(char *)(uintptr_t)at,
			NULL};
	int status = 0;
	pid_t pid;

	if (umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return -EPERM;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int detach_dead(const char *at, const struct mount_entry *e, struct error *err)
{
	int r = mount_table_detach(e, true);

	if (r == -EPERM)
		r = mount_point_detach(at);
	if (r == -EPERM)
		error_hint(err, "as the user who mounted it, or as root, run: fusermount3 -uz %s",
			   at);
	if (r < 0)
		return error_set(err, r, "cannot remove the dead mount at %s: %s", at,
				 strerror(-r));
	log_notice("%s: removed a mount whose daemon had ended", at);
	return 0;
}

/* subtype: NULL: any. 1: a FUSE mount, *ret, answers there; 0: there is none (any more). */
static int remove_dead(const char *path, const char *subtype, struct mount_entry *ret,
		       struct error *err)
{
	_cleanup_free_ char *at = NULL;
	int r = resolve(path, &at);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	r = mount_table_find(at, ret);
	if (r == -ENOENT || (r == 0 && !is_fuse(ret, NULL)))
		return 0;
	if (r < 0)
		return error_set(err, r, "cannot look for mounts at %s: %s", at, strerror(-r));
	if (subtype && !is_fuse(ret, subtype))
		return error_set(err, -EINVAL, "%s is a mount of type %s, not of fuse.%s", at,
				 ret->type, subtype);
	return mount_is_dead(at) ? detach_dead(at, ret, err) : 1;
}

int mount_point_remove_dead(const char *at, const char *subtype, struct error *err)
{
	struct mount_entry live;
	int r = remove_dead(at, subtype, &live, err);

	if (r <= 0)
		return r;
	return error_set(err, -EEXIST, "%s is served by a running daemon; use umount", at);
}

static void warn_if_not_empty(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	struct dirent *de;

	while (dir && (de = readdir(dir)))
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0) {
			log_warning("%s is not empty: the mount hides its contents", path);
			return;
		}
}

static int open_directory(const char *at, bool make, int *ret_fd, char **ret_path)
{
	int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
	_cleanup_close_ int fd = open(at, flags);
	char link[64];

	if (fd < 0 && errno == ENOENT && make && mkdir(at, 0755) == 0)
		fd = open(at, flags);
	if (fd < 0)
		return -errno;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	*ret_path = realpath(link, NULL);
	if (!*ret_path)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int mount_point_open(const char *at, bool make, const char *subtype, int *ret_fd, char **ret_path,
		     struct error *err)
{
	struct mount_entry live;
	int r = remove_dead(at, NULL, &live, err);

	if (r < 0)
		return r;
	/* For example a service and a line of fstab: each would hide the other's models. */
	if (r > 0 && is_fuse(&live, subtype)) {
		error_hint(err, "unmount it, or mount elsewhere");
		return error_set(err, -EEXIST, "mount point %s: sealedfs is mounted there already",
				 at);
	}
	r = open_directory(at, make, ret_fd, ret_path);
	if (r == -ENOTDIR)
		return error_set(err, r, "mount point %s is not a directory", at);
	if (r == -ENOENT)
		error_hint(err, "make it first: mkdir -p %s", at);
	if (r < 0)
		return error_set(err, r, "mount point %s: %s", at, strerror(-r));
	warn_if_not_empty(at);
	return 0;
}
