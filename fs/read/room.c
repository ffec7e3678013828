/*
 * Room in the page cache. Job: add up what the kernel says about it. A file under /sys or /proc
 * that is missing or odd counts as no limit; without /proc/meminfo there is no room at all.
 */
#include "fs/read/room.h"

#include "crypto/base/cleanup.h"
#include "fs/read/cgroup.h"

#include <string.h>

#define RESERVE_DIVISOR 20

static uint64_t left_in(const char *root, const char *group)
{
	uint64_t limit = cgroup_number(root, group, "memory.max", UINT64_MAX);
	uint64_t used = cgroup_number(root, group, "memory.current", 0);

	limit = MIN(limit, cgroup_number(root, group, "memory.high", UINT64_MAX));
	limit = MIN(limit, cgroup_number(root, group, "memory.limit_in_bytes", UINT64_MAX));
	used = MAX(used, cgroup_number(root, group, "memory.usage_in_bytes", 0));
	if (limit == UINT64_MAX)
		return UINT64_MAX;
	return limit > used ? limit - used : 0;
}

uint64_t room_in_cgroup(const char *root, const char *cgroup)
{
	char group[CGROUP_PATH_MAX];
	uint64_t least = UINT64_MAX, left;

	if (snprintf(group, sizeof(group), "%s", cgroup) >= (int)sizeof(group))
		return least;
	for (;;) {
		char *slash = strrchr(group, '/');

		left = left_in(root, group);
		least = MIN(least, left);
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

uint64_t room_now(uint64_t held)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/meminfo", "re");
	char text[2048];
	size_t size = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	uint64_t machine;

	text[size] = '\0';
	machine = room_in_machine(text);
	return MIN(machine > held ? machine - held : 0,
		   cgroup_least(CGROUP_LIST, CGROUP_ROOT, room_in_cgroup));
}
