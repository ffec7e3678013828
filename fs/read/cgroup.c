/*
 * Control groups. Job: find the process's own ones, and read numbers of them. A file under /sys or
 * /proc that is missing or odd counts as none.
 */
#include "fs/read/cgroup.h"

#include "crypto/base/cleanup.h"

#include <string.h>

uint64_t cgroup_number(const char *root, const char *group, const char *name, uint64_t def)
{
	char path[2 * CGROUP_PATH_MAX], line[32], *end;
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t v;

	if (snprintf(path, sizeof(path), "%s%s/%s", root, group, name) >= (int)sizeof(path))
		return def;
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f) || line[0] < '0' || line[0] > '9')
		return def;
	v = strtoull(line, &end, 10); /* the largest value when it overflows */
	return *end == '\n' || *end == '\0' ? v : def;
}

/* "4:memory:/a/b", "0::/a/b". The path may have colons, too. */
static uint64_t least_of_line(char *line, const char *root, cgroup_look *look)
{
	char *kind = strchr(line, ':'), *path = kind ? strchr(kind + 1, ':') : NULL;
	char tree[CGROUP_PATH_MAX];

	if (!path || path[1] != '/')
		return UINT64_MAX;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	kind++;
	if (*kind && strcmp(kind, "memory") != 0)
		return UINT64_MAX;
	if (snprintf(tree, sizeof(tree), "%s%s", root, *kind ? "/memory" : "") >= (int)sizeof(tree))
		return UINT64_MAX;
	return look(tree, path[1] ? path : "");
}

uint64_t cgroup_least(const char *list, const char *root, cgroup_look *look)
{
	_cleanup_fclose_ FILE *f = fopen(list, "re");
	char line[CGROUP_PATH_MAX];
	uint64_t least = UINT64_MAX;

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t found = least_of_line(line, root, look);

		least = MIN(least, found);
	}
	return least;
}
