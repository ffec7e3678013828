/*
 * Landlock. Job: limit file access to what the daemon serves and what its libraries read. Trusts
 * the kernel. Must never allow more because a path is missing.
 */
#include "fs/service/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Newer than the headers of Debian 12. */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)  /* ABI 3 */
#define ACCESS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */

#define ACCESS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ACCESS_WRITE                                                                 \
	(ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_DIR |               \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REFER | ACCESS_TRUNCATE)
#define ACCESS_DEVICE \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_IOCTL_DEV)

/* All that this version of Landlock can forbid. */
static uint64_t handled(int abi)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		all |= ACCESS_TRUNCATE;
	if (abi >= 5)
		all |= ACCESS_IOCTL_DEV;
	return all;
}

static int allow(int rules, uint64_t access, const char *path)
{
	_cleanup_close_ int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;
	struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	/* A rule for a file must not have rights that only folders have. */
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= ACCESS_DEVICE | ACCESS_TRUNCATE;
	return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		       ? -errno
		       : 0;
}

static int allow_each(int rules, uint64_t access, const char *const *paths, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = allow(rules, access, paths[i]);
	return r;
}

int confine_files(const struct confine_files *f, int *ret_abi)
{
	struct landlock_ruleset_attr attr = {0};
	_cleanup_close_ int rules = -1;
	uint64_t all;
	int r;

	*ret_abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (*ret_abi <= 0) {
		*ret_abi = 0;
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	}
	attr.handled_access_fs = all = handled(*ret_abi);
	rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (rules < 0)
		return -errno;
	r = allow_each(rules, ACCESS_READ & all, f->read_only, f->read_only_count);
	if (r == 0)
		r = allow_each(rules, ACCESS_WRITE & all, f->writable, f->writable_count);
	if (r == 0)
		r = allow_each(rules, ACCESS_DEVICE & all, f->devices, f->device_count);
	if (r < 0)
		return r;
	return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}
