/*
 * The root of a mount. Job: find it by descriptor and mount id, never by a name that somebody else
 * could have chosen. Trusts the kernel. Must open nothing but directories: opening a file of a
 * mount unlocks and measures a model.
 */
#include "fs/mount/mount_root.h"

#include "fs/mount/mount_table.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define ROOT_INO 1 /* FUSE_ROOT_ID of <linux/fuse.h>; the daemon gives it to nothing else */

static int refuse(const char *path, const char *why, struct error *err)
{
	error_hint(err, "name the mount point of a sealedfs");
	return error_set(err, -EINVAL, "%s: %s", path, why);
}

static int describe_errno(const char *path, int code, struct error *err)
{
	if (code != -ENOTCONN && code != -ECONNABORTED)
		return error_set(err, code, "%s: %s", path, strerror(-code));
	error_hint(err, "clean up with: sealedfs --unmount %s", path);
	return error_set(err, -EHOSTUNREACH, "%s: the daemon of this mount is gone", path);
}

/* The entry of a descriptor's mount. */
static int find_entry(const char *path, int fd, struct mount_entry *ret, struct error *err)
{
	struct statfs fs;
	uint64_t id = 0;
	int r;

	if (fstatfs(fd, &fs) < 0)
		return describe_errno(path, -errno, err);
	if (fs.f_type != FUSE_SUPER_MAGIC)
		return refuse(path, "no sealedfs answers there", err);
	r = mount_id_of(fd, &id);
	if (r == 0)
		r = mount_table_find_id(id, ret);
	if (r < 0)
		return refuse(path, "its mount is not one of this mount namespace", err);
	if (strcmp(ret->type, MOUNT_TYPE) != 0)
		return refuse(path, "no sealedfs answers there", err);
	if (!ret->whole)
		return refuse(path, "only a part of a sealedfs is mounted there", err);
	return 0;
}

/* The root of a file's mount is opened by name, and then has to be of that very mount. */
static int open_by_path(const char *path, int fd, const struct mount_entry *entry, int *ret,
			struct error *err)
{
	uint64_t wanted = 0, found = 0;
	int r;

	*ret = open(entry->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret < 0)
		return describe_errno(entry->path, -errno, err);
	r = mount_id_of(fd, &wanted);
	if (r == 0)
		r = mount_id_of(*ret, &found);
	if (r < 0 || wanted != found)
		return refuse(path, "something else is mounted over its mount point", err);
	return 0;
}

static int open_root(const char *path, int fd, bool may_be_file, struct mount_root *ret,
		     struct error *err)
{
	struct mount_entry entry = {0};
	struct stat st;
	int r = find_entry(path, fd, &entry, err);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return describe_errno(path, -errno, err);
	ret->path = strdup(entry.path);
	if (!ret->path)
		return -ENOMEM;
	if (S_ISREG(st.st_mode) && may_be_file) {
		ret->ino = st.st_ino;
		return open_by_path(path, fd, &entry, &ret->fd, err);
	}
	if (!S_ISDIR(st.st_mode) || st.st_ino != ROOT_INO) {
		error_hint(err, "name the mount point: %s", entry.path);
		return error_set(err, -EINVAL, "%s: it is not the root of the mount%s", path,
				 may_be_file ? ", and no model" : "");
	}
	ret->fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return ret->fd < 0 ? describe_errno(path, -errno, err) : 0;
}

int mount_root_open(const char *path, bool may_be_file, struct mount_root *ret, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	char value[MOUNT_ATTRIBUTE_MAX];
	int r;

	*ret = (struct mount_root){.fd = -1};
	if (fd < 0)
		return describe_errno(path, -errno, err);
	r = open_root(path, fd, may_be_file, ret, err);
	if (r < 0)
		return r;
	r = mount_root_attribute(ret, value);
	if (r == -ENODATA || r == -EOPNOTSUPP || r == -ERANGE)
		return refuse(path, "no sealedfs answers there", err);
	return r < 0 ? describe_errno(path, r, err) : 0;
}

void mount_root_clear(struct mount_root *r)
{
	closep(&r->fd);
	free(r->path);
	*r = (struct mount_root){.fd = -1};
}

int mount_root_open_below(const struct mount_root *r, const char *name, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, r->fd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int mount_root_attribute(const struct mount_root *r, char out[MOUNT_ATTRIBUTE_MAX])
{
	ssize_t n = fgetxattr(r->fd, MOUNT_ATTRIBUTE, out, MOUNT_ATTRIBUTE_MAX - 1);

	if (n < 0)
		return -errno;
	out[n] = '\0';
	return 0;
}
