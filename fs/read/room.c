/*
 * Room in the page cache. Job: add up what the kernel says about it. A file under /sys or /proc
 * that is missing or odd counts as no limit; without /proc/meminfo there is no room at all.
 */
#include "fs/read/room.h"

#include "crypto/base/cleanup.h"

#include <string.h>

#define PATH_BYTES_MAX 4096
#define RESERVE_DIVISOR 20

/* def: when there is no number, as in "max". */
static uint64_t read_number(const char *root, const char *group, const char *name, uint64_t def)
{
	char path[2 * PATH_BYTES_MAX], line[32], *end;
	_cleanup_fclose_ FILE *f = NULL;
	uint64_t v;

	if (snprintf(path, sizeof(path), "%s%s/%s", root, group, name) >= (int)sizeof(path))
		return def;
	f = fopen(path, "re");
	if (!f || !fgets(line, sizeof(line), f) || line[0] < '0' || line[0] > '9')
		return def;
	v = strtoull(line, &end, 10);
	return *end == '\n' || *end == '\0' ? v : def;
}

static uint64_t left_in(const char *root, const char *group)
{
	uint64_t limit = read_number(root, group, "memory.max", UINT64_MAX);
	uint64_t used = read_number(root, group, "memory.current", 0);

	limit = MIN(limit, read_number(root, group, "memory.high", UINT64_MAX));
	limit = MIN(limit, read_number(root, group, "memory.limit_in_bytes", UINT64_MAX));
	used = MAX(used, read_number(root, group, "memory.usage_in_bytes", 0));
	if (limit == UINT64_MAX)
		return UINT64_MAX;
	return limit > used ? limit - used : 0;
}

uint64_t room_in_cgroup(const char *root, const char *cgroup)
{
	char group[PATH_BYTES_MAX];
	uint64_t least = UINT64_MAX;

	if (snprintf(group, sizeof(group), "%s", cgroup) >= (int)sizeof(group))
		return least;
	for (;;) {
		char *slash = strrchr(group, '/');

		least = MIN(least, left_in(root, group));
		if (!slash)
			return least;
		*slash = '\0';
	}
}

static uint64_t meminfo_bytes(const char *meminfo, const char *name)
{
	const char *at = strstr(meminfo, name);

	return at ? strtoull(at + strlen(name), NULL, 10) << 10 : 0;
}

uint64_t room_in_machine(const char *meminfo)
{
	uint64_t all = meminfo_bytes(meminfo, "MemTotal:");
	uint64_t available = meminfo_bytes(meminfo, "MemAvailable:");

	return available > all / RESERVE_DIVISOR ? available - all / RESERVE_DIVISOR : 0;
}

static uint64_t room_of_process(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_BYTES_MAX];
	uint64_t least = UINT64_MAX;

	while (f && fgets(line, sizeof(line), f)) {
		char *path = strrchr(line, ':');

		line[strcspn(line, "\n")] = '\0';
		if (!path)
			continue;
		path = strcmp(path, ":/") == 0 ? path + 2 : path + 1;
		if (strncmp(line, "0::", 3) == 0)
			least = MIN(least, room_in_cgroup("/sys/fs/cgroup", path));
		else if (strstr(line, ":memory:"))
			least = MIN(least, room_in_cgroup("/sys/fs/cgroup/memory", path));
	}
	return least;
}

uint64_t room_now(uint64_t held)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");
	char text[2048];
	size_t size = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	uint64_t machine;

	text[size] = '\0';
	machine = room_in_machine(text);
	return MIN(machine > held ? machine - held : 0, room_of_process());
}
