/*
 * memory.h: how much memory the control groups of this process (versions 1 and 2) and the machine
 * allow, and how much of it is left. All numbers are bytes.
 *
 * One rule for every question: a group and each group above it up to the root are asked, and the
 * smallest answer counts. A group's limit is the smallest of memory.max, memory.high and, in
 * version 1, memory.limit_in_bytes. A file under /sys or /proc that is missing or malformed counts
 * as no limit and as no use. Threads: any.
 */
#ifndef SEALEDFS_BASE_MEMORY_H
#define SEALEDFS_BASE_MEMORY_H

#include <stdint.h>

enum memory_question {
	MEMORY_LIMIT,	  /* the limit */
	MEMORY_UNUSED,	  /* the limit minus all memory that is charged to the group */
	MEMORY_AVAILABLE, /* the same; pages of files that the kernel can reclaim do not count */
};

/*
 * The smallest answer of the groups in `list`, a file in the form of /proc/self/cgroup; UINT64_MAX:
 * no limit. root: where version 2 is mounted; the memory controller of version 1 is at root/memory.
 */
uint64_t memory_in_groups(const char *list, const char *root, enum memory_question question);
/* The limit of this process's groups; UINT64_MAX: none. */
uint64_t memory_group_limit(void);

/*
 * How much the page cache may grow before something has to be reclaimed: the smaller of what the
 * groups leave unused (pages that this process introduces are charged to it) and of what the
 * machine has available beyond a twentieth of its memory and `held`, the bytes of the page cache
 * that are ours and must not be reclaimed. 0 without /proc/meminfo.
 */
uint64_t memory_unused(uint64_t held);
/* The machine's part of it, from the text of /proc/meminfo. */
uint64_t memory_unused_in(const char *meminfo);
/* How much memory this process may take that cannot be reclaimed: the smaller of what the groups
 * have available and of what the machine has beyond a twentieth of its memory. 0 without
 * /proc/meminfo. */
uint64_t memory_holdable(void);
/* How much the page cache may take if other files' pages are reclaimed for it; UINT64_MAX: unknown.
 */
uint64_t memory_available(void);

#endif
