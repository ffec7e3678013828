/*
 * Mounts as the kernel lists them. Job: find and detach. Trusts the kernel's format; a line that
 * does not have it is passed over.
 */
#include "fs/mount/mount_table.h"

#include "crypto/base/cleanup.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

/* More mounts of one device than this were not made by us. */
#define DETACH_MAX 64
/* 1 MiB: 0.54 of a server that does nothing, 2 MiB 0.59, 4 MiB 0.63, 8 and 16 MiB the same; each
 * reader may have twice as much locked at a time (fs/read/README.md). */
#define READAHEAD_KIB "4096"

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

/* "rw,user_id=0,group_id=0,…": of the kernel; FUSE alone has it. */
static uint32_t user_of(const char *options)
{
	static const char name[] = ",user_id=";
	const char *at = options ? strstr(options, name) : NULL;
	char number[12];
	uint64_t user;
	size_t n;

	if (!at)
		return UINT32_MAX;
	at += sizeof(name) - 1;
	n = strcspn(at, ",");
	if (n >= sizeof(number))
		return UINT32_MAX;
	(void)snprintf(number, sizeof(number), "%.*s", (int)n, at);
	return number_parse(number, 10, UINT32_MAX - 1, &user) < 0 ? UINT32_MAX : (uint32_t)user;
}

/* "ID PARENT MAJOR:MINOR ROOT PATH OPTIONS [TAGS…] - TYPE SOURCE OPTIONS" */
bool mount_table_parse(char *line, struct mount_entry *ret)
{
	char *save = NULL, *word = strtok_r(line, " \n", &save), *device = NULL, *path = NULL;

	ret->id = 0;
	ret->whole = false;

	for (unsigned i = 0; word && strcmp(word, "-") != 0; i++) {
		if (i == 0)
			ret->id = strtoull(word, NULL, 10);
		else if (i == 2)
			device = word;
		else if (i == 3)
			ret->whole = strcmp(word, "/") == 0;
		else if (i == 4)
			path = word;
		word = strtok_r(NULL, " \n", &save);
	}
	if (!word || !path)
		return false;
	unescape(path);
	word = strtok_r(NULL, " \n", &save);
	if (!copy_field(ret->device, sizeof(ret->device), device) ||
	    !copy_field(ret->path, sizeof(ret->path), path) ||
	    !copy_field(ret->type, sizeof(ret->type), word))
		return false;
	(void)strtok_r(NULL, " \n", &save); /* the source */
	ret->user = user_of(strtok_r(NULL, " \n", &save));
	return true;
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
	const uint64_t *id;		/* same */
	const struct mount_entry *like; /* its device and type; NULL: any */
	bool only_dead;
};

static bool is_wanted(const struct wanted *w, const struct mount_entry *e)
{
	if ((w->path && strcmp(e->path, w->path) != 0) || (w->id && e->id != *w->id))
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
	struct mount_entry entry = {0};
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

int mount_table_each(const char *type, int (*each)(void *arg, const struct mount_entry *entry),
		     void *arg)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	struct mount_entry entry = {0};
	size_t room = 0;
	int r = f ? 0 : -errno;

	while (r >= 0 && getline(&line, &room, f) >= 0)
		if (mount_table_parse(line, &entry) && strcmp(entry.type, type) == 0)
			r = each(arg, &entry);
	return MIN(r, 0);
}

int mount_table_find(const char *path, struct mount_entry *ret)
{
	return find(&(struct wanted){.path = path}, ret);
}

int mount_table_find_id(uint64_t id, struct mount_entry *ret)
{
	return find(&(struct wanted){.id = &id}, ret);
}

int mount_id_of(int fd, uint64_t *ret)
{
	static const char name[] = "mnt_id:";
	char path[64], line[128];
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, sizeof(name) - 1) == 0) {
			*ret = strtoull(line + sizeof(name) - 1, NULL, 10);
			return 0;
		}
	return -ENODATA;
}

/* -ESTALE: something else is at its path. O_PATH asks no file system. */
static int detach_one(const struct mount_entry *e)
{
	_cleanup_close_ int fd = open(e->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t id = 0;
	char path[64];
	int r;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -ESTALE : -errno;
	r = mount_id_of(fd, &id);
	if (r < 0 || id != e->id)
		return r < 0 ? r : -ESTALE;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return umount2(path, MNT_DETACH) < 0 && errno != EINVAL ? -errno : 0;
}

int mount_table_detach(const struct mount_entry *what, bool only_dead)
{
	struct wanted wanted = {.like = what, .only_dead = only_dead};
	struct mount_entry entry = {0};

	for (unsigned i = 0; i < DETACH_MAX; i++) {
		int r = find(&wanted, &entry);

		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return r;
		r = detach_one(&entry);
		if (r < 0 && r != -ESTALE)
			return r;
	}
	return -EBUSY;
}

int mount_raise_readahead(const char *device)
{
	char path[64];
	_cleanup_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, READAHEAD_KIB, sizeof(READAHEAD_KIB) - 1) < 0)
		return -errno;
	return 0;
}
