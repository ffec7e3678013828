/*
 * budget.h: how much memory the buffers may take: what was asked for, but never more than half
 * of what a control group allows (memory.max and memory.high, or memory.limit_in_bytes of version
 * 1), or a quarter of the machine's memory.
 */
#ifndef SEALEDFS_BUDGET_H
#define SEALEDFS_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#define BUDGET_DEFAULT ((size_t)256 << 20)
#define BUDGET_MIN ((size_t)32 << 20)

/* asked 0: the default. The result is at least BUDGET_MIN: below that nothing works. */
size_t budget_limit(size_t asked);
/* What of it is left when others take so much; at least BUDGET_MIN. */
size_t budget_left(size_t asked, size_t reserved);
/* The smallest limit from a cgroup up to the root; UINT64_MAX without a limit.
 * root: "/sys/fs/cgroup"; cgroup: as in /proc/self/cgroup, "/a/b". For budget_limit and tests. */
uint64_t budget_cgroup_max(const char *root, const char *cgroup);

#endif
