/*
 * mount_report.h: a mount's own report (fs/report.h), found from any path in it, and what only the
 * outside knows: how much of each model is in the page cache.
 */
#ifndef SEALEDFS_TOOLS_MOUNT_REPORT_H
#define SEALEDFS_TOOLS_MOUNT_REPORT_H

#include "crypto/base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct mount_report {
	char *root;	/* absolute path of the mount point */
	char *inside;	/* what of it was asked for, without leading '/'; "": everything */
	json_t *report; /* models: only those inside */
};

/*
 * path: the mount point, or a folder or model in it. The caller clears *ret also after an error.
 * -EINVAL: no sealedfs is mounted there; -EHOSTUNREACH: its daemon is gone; -ENOENT: no such path.
 */
int mount_report_read(const char *path, struct mount_report *ret, struct error *err);
void mount_report_clear(struct mount_report *r);
/* Sets "resident_bytes" of each model that is unlocked, where the kernel tells. Unlocks none. */
void mount_report_add_residency(struct mount_report *r);

/* The errno that leads to a reason's exit code. */
int mount_report_code(const json_t *reason);

/* Bytes of an open file in the page cache, as whole pages and so at most the size. -EPERM: the
 * kernel tells only the file's owner and root. */
int resident_bytes_of(int fd, uint64_t size, uint64_t *ret);

#endif
