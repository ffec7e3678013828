/*
 * privileges.h: what this process may do beyond its user, and giving it up for good.
 */
#ifndef SEALEDFS_PRIVILEGES_H
#define SEALEDFS_PRIVILEGES_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct privileges {
	const char *user;   /* become this user; NULL: stay who we are */
	bool mount;	    /* keep CAP_SYS_ADMIN and CAP_DAC_OVERRIDE */
	bool read_anything; /* keep CAP_DAC_READ_SEARCH, if we have it: root's sealed directories */
};

/* True: mount(2) is ours to call. */
bool privileges_can_mount(void);
/*
 * Drops every capability but those asked for, and the way back: no set-uid program can give any
 * from now on. The process must still have one thread. -EINVAL: no such user; -EPERM.
 */
int privileges_drop(const struct privileges *keep, struct error *err);
/* Of these, keeps only CAP_SYS_ADMIN. */
int privileges_keep_unmount(void);

#endif
