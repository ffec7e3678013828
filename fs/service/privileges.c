/*
 * Capabilities. Job: drop them, and check the result. Must never report success while a capability
 * that should be dropped is still present.
 */
#include "fs/service/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define BIT(capability) ((uint64_t)1 << (capability))

static int get(uint64_t *ret_permitted, uint64_t *ret_effective)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	*ret_permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	*ret_effective = (uint64_t)data[1].effective << 32 | data[0].effective;
	return 0;
}

/* Permitted and effective become exactly this; nothing is inheritable. */
static int set(uint64_t capabilities)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	uint64_t permitted = 0, effective = 0;

	for (unsigned i = 0; i < ARRAY_LEN(data); i++)
		data[i].permitted = data[i].effective = (uint32_t)(capabilities >> 32 * i);
	if (syscall(SYS_capset, &header, data) < 0)
		return -errno;
	if (get(&permitted, &effective) < 0 || permitted != capabilities ||
	    effective != capabilities)
		return -EPERM;
	return 0;
}

bool privileges_can_mount(void)
{
	uint64_t permitted = 0, effective = 0;

	return get(&permitted, &effective) == 0 && (effective & BIT(CAP_SYS_ADMIN));
}

static int become(const char *user, struct error *err)
{
	const struct passwd *pw = getpwnam(user);

	if (!pw) {
		error_hint(err, "systemd-sysusers makes it, or name another");
		return error_set(err, -EINVAL, "option setuid=%s: there is no such user", user);
	}
	if (pw->pw_uid == geteuid())
		return 0;
	if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0)
		return error_set(err, -errno, "cannot become user %s: %s", user, strerror(errno));
	return 0;
}

int privileges_drop(const struct privileges *keep, struct error *err)
{
	uint64_t permitted = 0, effective = 0, wanted = 0;
	int r = get(&permitted, &effective);

	if (keep->mount)
		wanted |= BIT(CAP_SYS_ADMIN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH);
	if (keep->read_anything)
		wanted |= BIT(CAP_DAC_READ_SEARCH);
	if (r == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && keep->user) {
		r = become(keep->user, err);
		if (r < 0)
			return r;
	}
	if (r == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = set(permitted & wanted);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	/* A change of user makes the process dumpable again on some systems. */
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		r = -errno;
	return r < 0 ? error_set(err, r, "cannot drop privileges: %s", strerror(-r)) : 0;
}

int privileges_keep_unmount(void)
{
	uint64_t permitted = 0, effective = 0;
	int r = get(&permitted, &effective);

	return r < 0 ? r : set(permitted & (BIT(CAP_SYS_ADMIN) | BIT(CAP_DAC_READ_SEARCH)));
}
