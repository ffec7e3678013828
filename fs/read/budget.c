/*
 * The memory budget. Job: keep the daemon from being the one that the kernel kills for memory.
 * A file under /sys or /proc that is missing or odd counts as no limit.
 */
#include "fs/read/budget.h"

#include "crypto/base/cleanup.h"

#include <string.h>

#define CGROUP_PATH_MAX 4096

static uint64_t read_limit(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char line[32], *end;
	uint64_t v;

	/* "max" is no number */
	if (!f || !fgets(line, sizeof(line), f) || line[0] < '0' || line[0] > '9')
		return UINT64_MAX;
	v = strtoull(line, &end, 10); /* the largest value when it overflows */
	return *end == '\n' || *end == '\0' ? v : UINT64_MAX;
}

uint64_t budget_cgroup_max(const char *root, const char *cgroup)
{
	char group[CGROUP_PATH_MAX], path[2 * CGROUP_PATH_MAX];
	uint64_t least = UINT64_MAX;

	if (snprintf(group, sizeof(group), "%s", cgroup) >= (int)sizeof(group))
		return least;
	for (;;) {
		char *slash = strrchr(group, '/');

		if (snprintf(path, sizeof(path), "%s%s/memory.max", root, group) <
		    (int)sizeof(path))
			least = MIN(least, read_limit(path));
		if (!slash)
			return least;
		*slash = '\0';
	}
}

static uint64_t own_cgroup_max(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/cgroup", "re");
	char line[CGROUP_PATH_MAX];

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0)
			return budget_cgroup_max("/sys/fs/cgroup", line[4] ? line + 3 : "");
	}
	return UINT64_MAX;
}

size_t budget_limit(size_t asked)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t limit = asked ? asked : BUDGET_DEFAULT;

	if (pages > 0 && page > 0)
		limit = MIN(limit, (uint64_t)pages * (uint64_t)page / 4);
	limit = MIN(limit, own_cgroup_max() / 2);
	return (size_t)MAX(limit, (uint64_t)BUDGET_MIN);
}
