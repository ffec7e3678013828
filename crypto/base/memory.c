/*
 * Memory limits. Job: the one walk over the control groups of this process, and /proc/meminfo.
 * Trusts the kernel's files; what they lack is described in the header.
 */
#include "crypto/base/memory.h"

#include "crypto/base/cleanup.h"

#include <string.h>

#define GROUP_LIST "/proc/self/cgroup"
#define GROUP_ROOT "/sys/fs/cgroup"
#define GROUP_PATH_MAX 4096
#define MEMINFO_MAX 2048
#define RESERVE_DIVISOR 20

static FILE *open_file(const char *group, const char *name)
{
	char path[GROUP_PATH_MAX + 64];

	if (snprintf(path, sizeof(path), "%s/%s", group, name) >= (int)sizeof(path))
		return NULL;
	return fopen(path, "re");
}

/* The number in a file of a group; def: no such file, or no number, as in "max". */
static uint64_t number(const char *group, const char *name, uint64_t def)
{
	_cleanup_fclose_ FILE *f = open_file(group, name);
	char line[32], *end;
	uint64_t v;

	if (!f || !fgets(line, sizeof(line), f) || line[0] < '0' || line[0] > '9')
		return def;
	v = strtoull(line, &end, 10); /* the largest value when it overflows */
	return *end == '\n' || *end == '\0' ? v : def;
}

/* Version 2's name, and version 1's with the groups below, as `used` has it. Shared memory is
 * counted among the pages of files, and cannot be reclaimed. */
static uint64_t file_pages(const char *group)
{
	static const char *const names[] = {"file ", "total_cache ", "shmem ", "total_shmem "};
	_cleanup_fclose_ FILE *f = open_file(group, "memory.stat");
	uint64_t found[ARRAY_LEN(names)] = {0}, files, shared;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				found[i] = strtoull(line + strlen(names[i]), NULL, 10);
	files = found[0] + found[1];
	shared = MAX(found[2], found[3]); /* the group alone, and with those below */
	return files - MIN(files, shared);
}

static uint64_t ask(const char *group, enum memory_question question)
{
	static const char *const limits[] = {"memory.max", "memory.high", "memory.limit_in_bytes"};
	uint64_t limit = UINT64_MAX, used, pages;

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		uint64_t found = number(group, limits[i], UINT64_MAX);

		limit = MIN(limit, found);
	}
	if (limit == UINT64_MAX || question == MEMORY_LIMIT)
		return limit;
	used = number(group, "memory.current", number(group, "memory.usage_in_bytes", 0));
	if (question == MEMORY_AVAILABLE) {
		pages = file_pages(group);
		used -= MIN(used, pages);
	}
	return limit > used ? limit - used : 0;
}

/* tree: where the hierarchy is mounted; group: "" or "/a/b". */
static uint64_t ask_upwards(const char *tree, const char *group, enum memory_question question)
{
	char path[GROUP_PATH_MAX];
	uint64_t least = UINT64_MAX, found;
	size_t root = strlen(tree);

	if (snprintf(path, sizeof(path), "%s%s", tree, group) >= (int)sizeof(path))
		return least;
	for (;;) {
		char *slash = strrchr(path + root, '/');

		found = ask(path, question);
		least = MIN(least, found);
		if (!slash)
			return least;
		*slash = '\0';
	}
}

/* "4:memory:/a/b", "0::/a/b". The path may have colons, too. */
static uint64_t ask_line(char *line, const char *root, enum memory_question question)
{
	char *kind = strchr(line, ':'), *path = kind ? strchr(kind + 1, ':') : NULL;
	char tree[GROUP_PATH_MAX];

	if (!path || path[1] != '/')
		return UINT64_MAX;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	kind++;
	if (*kind && strcmp(kind, "memory") != 0)
		return UINT64_MAX;
	if (snprintf(tree, sizeof(tree), "%s%s", root, *kind ? "/memory" : "") >= (int)sizeof(tree))
		return UINT64_MAX;
	return ask_upwards(tree, path[1] ? path : "", question);
}

uint64_t memory_in_groups(const char *list, const char *root, enum memory_question question)
{
	_cleanup_fclose_ FILE *f = fopen(list, "re");
	char line[GROUP_PATH_MAX];
	uint64_t least = UINT64_MAX;

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t found = ask_line(line, root, question);

		least = MIN(least, found);
	}
	return least;
}

uint64_t memory_group_limit(void)
{
	return memory_in_groups(GROUP_LIST, GROUP_ROOT, MEMORY_LIMIT);
}

static uint64_t info(const char *meminfo, const char *name, uint64_t def)
{
	const char *at = strstr(meminfo, name);

	return at ? strtoull(at + strlen(name), NULL, 10) << 10 : def;
}

static void read_meminfo(char text[MEMINFO_MAX])
{
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");
	size_t size = f ? fread(text, 1, MEMINFO_MAX - 1, f) : 0;

	text[size] = '\0';
}

uint64_t memory_unused_in(const char *meminfo)
{
	uint64_t reserve = info(meminfo, "MemTotal:", 0) / RESERVE_DIVISOR;
	uint64_t available = info(meminfo, "MemAvailable:", 0);

	return available > reserve ? available - reserve : 0;
}

uint64_t memory_unused(uint64_t held)
{
	uint64_t groups = memory_in_groups(GROUP_LIST, GROUP_ROOT, MEMORY_UNUSED), machine;
	char meminfo[MEMINFO_MAX];

	read_meminfo(meminfo);
	machine = memory_unused_in(meminfo);
	return MIN(machine > held ? machine - held : 0, groups);
}

uint64_t memory_holdable(void)
{
	uint64_t groups = memory_in_groups(GROUP_LIST, GROUP_ROOT, MEMORY_AVAILABLE), machine;
	char meminfo[MEMINFO_MAX];

	read_meminfo(meminfo);
	machine = memory_unused_in(meminfo);
	return MIN(machine, groups);
}

uint64_t memory_available(void)
{
	uint64_t groups = memory_in_groups(GROUP_LIST, GROUP_ROOT, MEMORY_AVAILABLE), machine;
	char meminfo[MEMINFO_MAX];

	read_meminfo(meminfo);
	machine = info(meminfo, "MemAvailable:", UINT64_MAX);
	return MIN(machine, groups);
}
