/*
 * The memory budget. Job: keep the daemon from being the one that the kernel kills for memory.
 * Without control groups there is no limit but the machine.
 */
#include "fs/read/budget.h"

#include "crypto/base/cleanup.h"
#include "fs/read/cgroup.h"

#include <string.h>

uint64_t budget_cgroup_max(const char *root, const char *cgroup)
{
	static const char *const limits[] = {"memory.max", "memory.high", "memory.limit_in_bytes"};
	char group[CGROUP_PATH_MAX];
	uint64_t least = UINT64_MAX;

	if (snprintf(group, sizeof(group), "%s", cgroup) >= (int)sizeof(group))
		return least;
	for (;;) {
		char *slash = strrchr(group, '/');

		for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
			uint64_t limit = cgroup_number(root, group, limits[i], UINT64_MAX);

			least = MIN(least, limit);
		}
		if (!slash)
			return least;
		*slash = '\0';
	}
}

size_t budget_limit(size_t asked)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t limit = asked ? asked : BUDGET_DEFAULT, group;

	if (pages > 0 && page > 0)
		limit = MIN(limit, (uint64_t)pages * (uint64_t)page / 4);
	group = cgroup_least(CGROUP_LIST, CGROUP_ROOT, budget_cgroup_max);
	limit = MIN(limit, group / 2);
	return (size_t)MAX(limit, (uint64_t)BUDGET_MIN);
}

size_t budget_left(size_t asked, size_t reserved)
{
	size_t limit = budget_limit(asked);

	return MAX(limit - MIN(limit, reserved), BUDGET_MIN);
}
