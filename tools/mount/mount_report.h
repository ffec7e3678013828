/*
 * mount_report.h: a mount's own report (fs/report/report.h), validated, and what can be seen only
 * from outside: how much of each model is in the page cache.
 */
#ifndef SEALEDFS_TOOLS_MOUNT_REPORT_H
#define SEALEDFS_TOOLS_MOUNT_REPORT_H

#include "fs/mount/mount_root.h"

#include <jansson.h>
#include <stdbool.h>

struct mount_report {
	struct mount_root root;
	json_t *report; /* models: all, or the one that was named */
};

#define NO_MOUNT_REPORT ((struct mount_report){.root = {.fd = -1}})

/*
 * path: the mount point, or a model in the mount; a folder in it is refused. The caller clears *ret
 * also after an error. The errors of mount_root_open(); -EPROTO: the report is malformed;
 * -ENOENT: the file is not a model.
 */
int mount_report_read(const char *path, struct mount_report *ret, struct error *err);
void mount_report_clear(struct mount_report *r);
/* Opens a model of the report for reading, if it is still the same file: -ESTALE. -errno. Unlocks
 * it. */
int mount_report_open(const struct mount_report *r, const json_t *model);
/* Sets "resident_bytes" of each model that is unlocked, if the kernel reports it. Unlocks none. */
void mount_report_add_residency(struct mount_report *r);

/* The seals of the mount at path (report_write_seals()), validated; the caller frees. Errors as
 * mount_report_read(). */
int mount_report_read_seals(const char *path, json_t **ret, struct error *err);

/* The errno that leads to a reason's exit code. */
int mount_report_code(const json_t *reason);

/* Bytes of an open file in the page cache, as whole pages and so at most the size. -EPERM: the
 * kernel reports this only to the file's owner and root. */
int resident_bytes_of(int fd, uint64_t size, uint64_t *ret);

#endif
