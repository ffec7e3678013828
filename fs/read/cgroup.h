/*
 * cgroup.h: the control groups that this process's memory counts to, in version 2 and version 1.
 */
#ifndef SEALEDFS_CGROUP_H
#define SEALEDFS_CGROUP_H

#include <stdint.h>

#define CGROUP_LIST "/proc/self/cgroup"
#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_PATH_MAX 4096

/* What a group and those above it say; root: where its tree is mounted, group: "" or "/a/b". */
typedef uint64_t cgroup_look(const char *root, const char *group);

/*
 * The least that look() says of the groups in a list as /proc/self/cgroup; UINT64_MAX: none there.
 * Version 1's tree is root/memory.
 */
uint64_t cgroup_least(const char *list, const char *root, cgroup_look *look);
/* The number that a file of a group begins with; def: no such file, or no number, as in "max". */
uint64_t cgroup_number(const char *root, const char *group, const char *name, uint64_t def);

#endif
