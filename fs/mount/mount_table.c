/*
 * Mounts as the kernel lists them. Job: find and detach. Trusts the kernel's format; a line that
 * does not have it is passed over.
 */
#include "fs/mount_table.h"

#include "crypto/base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

/* More mounts of one device than this were not made by us. */
#define DETACH_MAX 64

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* "\040" and its like; in place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

static bool copy_field(char *dst, size_t size, const char *src)
{
	size_t n = src ? strlen(src) : size;

	if (n >= size)
		return false;
	memcpy(dst, src, n + 1);
	return true;
}

/* "ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [TAGS…] - TYPE SOURCE OPTIONS" */
bool mount_table_parse(char *line, struct mount_entry *ret)
{
	char *save = NULL, *word = strtok_r(line, " \n", &save), *device = NULL, *path = NULL;

	for (unsigned i = 0; word && strcmp(word, "-") != 0; i++) {
		if (i == 2)
			device = word;
		else if (i == 4)
			path = word;
		word = strtok_r(NULL, " \n", &save);
	}
	if (!word || !path)
		return false;
	unescape(path);
	return copy_field(ret->device, sizeof(ret->device), device) &&
	       copy_field(ret->path, sizeof(ret->path), path) &&
	       copy_field(ret->type, sizeof(ret->type), strtok_r(NULL, " \n", &save));
}

/* A request that is under way when the daemon dies ends with ECONNABORTED. */
bool mount_is_dead(const char *path)
{
	struct statfs st;
	int r;

	do
		r = statfs(path, &st) < 0 ? -errno : 0;
	while (r == -ECONNABORTED || r == -EINTR);
	return r == -ENOTCONN;
}

struct wanted {
	const char *path;		/* NULL: any */
	const struct mount_entry *like; /* its device and type; NULL: any */
	bool only_dead;
};

static bool is_wanted(const struct wanted *w, const struct mount_entry *e)
{
	if (w->path && strcmp(e->path, w->path) != 0)
		return false;
	if (w->like &&
	    (strcmp(e->device, w->like->device) != 0 || strcmp(e->type, w->like->type) != 0))
		return false;
	return !w->only_dead || mount_is_dead(e->path);
}

/* The last entry is the uppermost mount. */
static int find(const struct wanted *wanted, struct mount_entry *ret)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	struct mount_entry entry;
	bool found = false;
	size_t room = 0;

	if (!f)
		return -errno;
	while (getline(&line, &room, f) >= 0) {
		if (!mount_table_parse(line, &entry) || !is_wanted(wanted, &entry))
			continue;
		*ret = entry;
		found = true;
	}
	return found ? 0 : -ENOENT;
}

int mount_table_find(const char *path, struct mount_entry *ret)
{
	return find(&(struct wanted){.path = path}, ret);
}

int mount_table_detach(const struct mount_entry *what, bool only_dead)
{
	struct wanted wanted = {.like = what, .only_dead = only_dead};
	struct mount_entry entry;

	for (unsigned i = 0; i < DETACH_MAX; i++) {
		int r = find(&wanted, &entry);

		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return r;
		if (umount2(entry.path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
			return -errno;
	}
	return -EBUSY;
}
