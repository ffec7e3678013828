/* Findings: where memory with plaintext could go, and what limits memory and reading; the clock. */
#include "crypto/base/locked.h"
#include "fs/config/file.h"
#include "tools/doctor/doctor.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A device of dm-crypt, whatever its name is. */
static bool is_encrypted(const struct doctor *d, const char *device)
{
	const char *name = strrchr(device, '/');
	char path[PATH_MAX], uuid[64];

	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/dm/uuid", name ? name + 1 : device);
	return doctor_read(d, path, uuid, sizeof(uuid)) > 0 && strncmp(uuid, "CRYPT-", 6) == 0;
}

static void look_swap(struct doctor *d)
{
	char text[8192], *rest = text, *line;

	if (doctor_read(d, "/proc/swaps", text, sizeof(text)) < 0)
		doctor_skip(d, "swap in use: there is no /proc/swaps");
	(void)doctor_line(&rest); /* the heading */
	while (rest && (line = doctor_line(&rest)) != NULL) {
		char *device = strsep(&line, " \t");

		/* zram is memory. */
		if (*device && strncmp(device, "/dev/zram", 9) != 0 && !is_encrypted(d, device))
			doctor_find(d, FINDING_SWAP, "swap is in use: %s", device);
	}
}

static void look_fstab(struct doctor *d)
{
	char text[16384], *rest = text, *line;

	if (doctor_read(d, "/etc/fstab", text, sizeof(text)) < 0)
		return;
	while ((line = doctor_line(&rest)) != NULL) {
		char *fields[3] = {0}, *field;

		for (size_t n = 0; n < 3 && (field = strsep(&line, " \t")) != NULL;)
			if (*field)
				fields[n++] = field;
		if (fields[2] && fields[0][0] != '#' && strcmp(fields[2], "swap") == 0 &&
		    strncmp(fields[0], "/dev/mapper/", 12) != 0)
			doctor_find(d, FINDING_SWAP_CONFIGURED, "/etc/fstab has the swap %s",
				    fields[0]);
	}
}

static void look_hibernation(struct doctor *d)
{
	char state[128], how[128], device[64], line[4096];

	if (doctor_read(d, "/sys/power/state", state, sizeof(state)) < 0 || !strstr(state, "disk"))
		return;
	if (doctor_read(d, "/sys/power/disk", how, sizeof(how)) > 0 && strstr(how, "[disabled]"))
		return;
	(void)doctor_read(d, "/sys/power/resume", device, sizeof(device));
	if (device[0] && strncmp(device, "0:0", 3) != 0)
		doctor_find(d, FINDING_HIBERNATION, "the kernel would hibernate to device %.16s",
			    strtok(device, "\n"));
	else if (doctor_read(d, "/proc/cmdline", line, sizeof(line)) > 0 && strstr(line, "resume="))
		doctor_find(d, FINDING_HIBERNATION, "the kernel's command line has resume=");
}

static bool coredump_keeps_nothing(const struct doctor *d)
{
	char text[8192], *rest = text, *line;
	bool none = false;

	if (doctor_read(d, "/etc/systemd/coredump.conf", text, sizeof(text)) < 0)
		return false;
	while ((line = doctor_line(&rest)) != NULL)
		if (strncmp(line, "Storage=", 8) == 0)
			none = strcmp(line + 8, "none") == 0;
	return none;
}

/* A pattern without a pipe keeps to the limit of the process, which is 0 by default. */
static void look_core(struct doctor *d)
{
	char text[256], *rest = text;
	const char *pattern;

	if (doctor_read(d, "/proc/sys/kernel/core_pattern", text, sizeof(text)) < 0) {
		doctor_skip(d, "where cores go: there is no /proc/sys/kernel/core_pattern");
		return;
	}
	pattern = doctor_line(&rest);
	if (pattern[0] != '|' || strcmp(pattern, "|/bin/false") == 0 ||
	    strcmp(pattern, "|/bin/true") == 0)
		return;
	if (strstr(pattern, "systemd-coredump") && coredump_keeps_nothing(d))
		return;
	doctor_find(d, FINDING_CORE_PATTERN, "each core goes to a program: %s", pattern);
}

static void look_memlock(struct doctor *d)
{
	size_t limit = locked_limit();

	if (!d->live) {
		doctor_skip(d, "the limit of locked memory: a tree is not a machine that runs");
		return;
	}
	if (d->has_config && !d->from_file && limit < d->config.memory_bytes)
		doctor_find(d, FINDING_MEMLOCK,
			    "%zu kB can be locked, and memory= asks for %zu kB (ulimit -l)",
			    limit >> 10, d->config.memory_bytes >> 10);
}

static unsigned long long number_after(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void look_huge_pages(struct doctor *d)
{
	char text[8192];
	unsigned long long total, reserved;

	if (doctor_read(d, "/proc/meminfo", text, sizeof(text)) < 0)
		return;
	total = number_after(text, "MemTotal:");
	reserved = number_after(text, "HugePages_Total:") * number_after(text, "Hugepagesize:");
	if (reserved > total / 2)
		doctor_find(d, FINDING_HUGE_PAGES, "%llu of %llu kB of memory are huge pages",
			    reserved, total);
}

static void look_dropin(void *arg, const char *folder, const char *name)
{
	static const char *const limits[] = {
		"IOReadBandwidthMax=", "IOReadIOPSMax=", "BlockIOReadBandwidth="};
	struct doctor *d = arg;
	char path[PATH_MAX], text[8192], *rest = text, *line;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (doctor_read(d, path, text, sizeof(text)) < 0)
		return;
	while ((line = doctor_line(&rest)) != NULL)
		for (size_t i = 0; i < ARRAY_LEN(limits); i++)
			if (strncmp(line, limits[i], strlen(limits[i])) == 0 &&
			    line[strlen(limits[i])])
				doctor_find(d, FINDING_IO_LIMIT, "%s: %s", path, line);
}

static void look_io(struct doctor *d)
{
	static const char *const groups[] = {"", "/system.slice"};
	char path[PATH_MAX], text[1024], *instance = NULL;

	doctor_list(d, "/etc/systemd/system/sealedfs@.service.d", look_dropin, d);
	if (d->from_file && config_file_instance(d->label, &instance) == 0) {
		(void)snprintf(path, sizeof(path), "/etc/systemd/system/sealedfs@%s.service.d",
			       instance);
		doctor_list(d, path, look_dropin, d);
	}
	free(instance);
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		char *rest = text;

		(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/io.max", groups[i]);
		if (doctor_read(d, path, text, sizeof(text)) > 0 && strstr(text, "r"))
			doctor_find(d, FINDING_IO_LIMIT, "%s: %s", path, doctor_line(&rest));
	}
}

static void look_clock(struct doctor *d)
{
	static const char *const units[] = {"chrony.service", "chronyd.service",
					    "ntp.service",    "ntpsec.service",
					    "ntpd.service",   "systemd-timesyncd.service"};

	if (!doctor_exists(d, "/etc/systemd")) {
		doctor_skip(d, "what keeps the clock right: there is no systemd");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (doctor_unit(d, units[i]))
			return;
	doctor_find(d, FINDING_CLOCK_SERVICE, "no service keeps the clock right");
}

void doctor_look_memory(struct doctor *d)
{
	look_swap(d);
	look_fstab(d);
	look_hibernation(d);
	look_core(d);
	look_memlock(d);
	look_huge_pages(d);
	look_io(d);
	look_clock(d);
}
