/*
 * confine.h: limits a process to the system calls (seccomp, by libseccomp) and files (Landlock, if
 * the kernel has it) that it needs from now on.
 *
 * Both are permanent, and apply to every thread that is started later. Anything else fails with
 * EPERM (system calls) or EACCES (files); clone3 fails with ENOSYS, so that libraries use clone. A
 * build with a sanitizer is not confined, because the sanitizer's own calls are not known.
 */
#ifndef SEALEDFS_CONFINE_H
#define SEALEDFS_CONFINE_H

#include "crypto/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct confine_files {
	const char *const *read_only; /* files, and folders with all below; NULLs are skipped */
	size_t read_only_count;
	const char *const *writable; /* folders */
	size_t writable_count;
	const char *const *devices; /* character devices: read, write, ioctl */
	size_t device_count;
	bool memory_files; /* memfds that cannot be executed (MFD_NOEXEC_SEAL) may be made, too */
};

/* In the daemon, before it has threads: threads and files, no new process, no program, no mount.
 * Paths that do not exist are not allowed. -errno. */
int confine_daemon(const struct confine_files *files, struct error *err);
/* The same, and connections to sockets that listen already may be accepted. */
int confine_server(const struct confine_files *files, struct error *err);
/* In the keeper: mounting, unmounting, answering. Landlock would forbid mounting. */
int confine_keeper(struct error *err);
/* The Landlock part of confine_daemon() (confine_files.c; Linux, Documentation/userspace-api/
 * landlock.rst). 0 also if the kernel has no Landlock: *ret_abi is 0 then. -errno. */
int confine_files(const struct confine_files *files, int *ret_abi);

#endif
