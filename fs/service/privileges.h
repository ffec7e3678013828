/*
 * privileges.h: the capabilities of this process, and how it gives them up permanently.
 */
#ifndef SEALEDFS_PRIVILEGES_H
#define SEALEDFS_PRIVILEGES_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct privileges {
	const char *user;   /* change to this user; NULL: keep the user */
	bool mount;	    /* keep CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH */
	bool read_anything; /* keep CAP_DAC_READ_SEARCH if present: root's sealed directories */
};

/* True if this process may call mount(2). */
bool privileges_can_mount(void);
/*
 * Drops all capabilities except the requested ones. Permanent: no set-uid program can give any
 * afterwards. The process must have one thread. -EINVAL: no such user; -EPERM.
 */
int privileges_drop(const struct privileges *keep, struct error *err);
/* Keeps only CAP_SYS_ADMIN, and CAP_DAC_READ_SEARCH to find a mount below another user's directory.
 */
int privileges_keep_unmount(void);

#endif
