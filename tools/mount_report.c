/*
 * A mount's report. Job: find the mount, read what it says of itself, and count pages. Trusts the
 * kernel to tell a FUSE mount; takes nothing in the report for more than text and numbers. Must not
 * open a model that nobody has opened: that would unlock and measure it.
 */
#include "tools/mount_report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define REPORT_FILE ".sealedfs/status.json"
#define REPORT_SIZE_MAX ((size_t)512 << 20)
#define MINCORE_WINDOW ((size_t)1 << 30)
#ifndef __NR_cachestat
#define __NR_cachestat 451 /* Linux 6.5; the same number everywhere */
#endif

static int read_report(int fd, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (size == room) {
			char *more =
				room < REPORT_SIZE_MAX ? realloc(text, 2 * room + 65536) : NULL;

			if (!more)
				return -ENOMEM;
			text = more;
			room = 2 * room + 65536;
		}
		n = read(fd, text + size, room - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	*ret = steal_ptr(text);
	*ret_size = size;
	return 0;
}

/* The report in this directory; -ENOENT: there is none. */
static int try_directory(const char *dir, json_t **ret)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	_cleanup_close_ int fd = -1;
	struct statfs fs;
	size_t size = 0;
	int r;

	if (asprintf(&path, "%s/" REPORT_FILE, dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != FUSE_SUPER_MAGIC)
		return -ENOENT;
	r = read_report(fd, &text, &size);
	if (r < 0)
		return r;
	*ret = json_loadb(text, size, 0, NULL);
	if (json_is_string(json_object_get(*ret, "sealedfs")) &&
	    json_is_array(json_object_get(*ret, "models")))
		return 0;
	json_decref(*ret);
	*ret = NULL;
	return -ENOENT;
}

/* Upward from the path itself. */
static int find_mount(struct mount_report *m, const char *absolute)
{
	_cleanup_free_ char *dir = strdup(absolute);
	int r;

	if (!dir)
		return -ENOMEM;
	for (;;) {
		char *slash = strrchr(dir, '/');

		r = try_directory(dir, &m->report);
		if (r != -ENOENT || !*dir)
			break;
		*slash = '\0';
	}
	if (r < 0)
		return r;
	m->inside = strdup(absolute + strlen(dir) + (absolute[strlen(dir)] == '/'));
	m->root = *dir ? steal_ptr(dir) : strdup("/");
	return m->inside && m->root ? 0 : -ENOMEM;
}

static bool is_inside(const char *name, const char *where)
{
	size_t n = strlen(where);

	return n == 0 || (strncmp(name, where, n) == 0 && (name[n] == '\0' || name[n] == '/'));
}

/* Keeps the models inside; inode "": any name, else the one with that inode. */
static void drop_others(json_t *models, const char *inside, const char *inode)
{
	for (size_t i = json_array_size(models); i-- > 0;) {
		const json_t *model = json_array_get(models, i);
		const char *name = json_string_value(json_object_get(model, "name"));
		const char *own = json_string_value(json_object_get(model, "inode"));

		if (*inode ? !own || strcmp(own, inode) != 0 : !name || !is_inside(name, inside))
			json_array_remove(models, i);
	}
}

/* A file may have other names, in an Ollama store: the inode tells. */
static int keep_inside(struct mount_report *m, const char *absolute)
{
	json_t *models = json_object_get(m->report, "models");
	char inode[24] = "";
	struct stat st;

	if (m->inside[0] && stat(absolute, &st) == 0 && S_ISREG(st.st_mode))
		(void)snprintf(inode, sizeof(inode), "%" PRIu64, (uint64_t)st.st_ino);
	drop_others(models, m->inside, inode);
	return m->inside[0] && json_array_size(models) == 0 ? -ENOENT : 0;
}

int mount_report_read(const char *path, struct mount_report *ret, struct error *err)
{
	_cleanup_free_ char *absolute = realpath(path, NULL);
	int r = absolute ? find_mount(ret, absolute) : -errno;

	if (r == -ENOTCONN) {
		error_hint(err, "clean up with: sealedfs --unmount %s", path);
		return error_set(err, -EHOSTUNREACH, "%s: the daemon of this mount is gone", path);
	}
	if (absolute && r == -ENOENT) {
		error_hint(err, "name the mount point, or a model in it");
		return error_set(err, -EINVAL, "%s: no sealedfs is mounted there", path);
	}
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	json_object_set_new(ret->report, "mount", json_string(ret->root));
	if (keep_inside(ret, absolute) < 0)
		return error_set(err, -ENOENT, "%s: it is no model of the mount on %s", path,
				 ret->root);
	return 0;
}

int mount_report_code(const json_t *reason)
{
	switch (json_integer_value(json_object_get(reason, "exit_code"))) {
	case EXIT_CODE_NOT_AUTHENTIC:
		return -EBADMSG;
	case EXIT_CODE_REFUSED:
		return -EKEYREJECTED;
	case EXIT_CODE_UNREACHABLE:
		return -EHOSTUNREACH;
	default:
		return -EIO;
	}
}

void mount_report_clear(struct mount_report *r)
{
	json_decref(r->report);
	free(r->inside);
	free(r->root);
	*r = (struct mount_report){0};
}

/* For kernels without cachestat(2). To others than owner and root mincore() says that all is there.
 */
static int count_mincore(int fd, uint64_t size, uint64_t *ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_free_ unsigned char *there = malloc(MINCORE_WINDOW / page);
	struct stat st;

	if (!there || fstat(fd, &st) < 0)
		return -ENOMEM;
	if (geteuid() != 0 && geteuid() != st.st_uid)
		return -EPERM;
	for (uint64_t at = 0; at < size; at += MINCORE_WINDOW) {
		size_t n = (size_t)MIN(size - at, (uint64_t)MINCORE_WINDOW);
		void *map = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, (off_t)at);
		int r;

		if (map == MAP_FAILED)
			return -errno;
		r = mincore(map, n, there) < 0 ? -errno : 0;
		(void)munmap(map, n);
		if (r < 0)
			return r;
		for (size_t i = 0; i < (n + page - 1) / page; i++)
			*ret += there[i] & 1 ? page : 0;
	}
	return 0;
}

int resident_bytes_of(int fd, uint64_t size, uint64_t *ret)
{
	struct {
		uint64_t offset, length; /* 0: to the end */
	} range = {0, 0};
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted; /* pages */
	} stat = {0};
	int r = 0;

	*ret = 0;
	if (syscall(__NR_cachestat, fd, &range, &stat, 0) == 0)
		*ret = stat.cache * (uint64_t)sysconf(_SC_PAGESIZE);
	else if (errno == ENOSYS)
		r = count_mincore(fd, size, ret);
	else
		r = -errno;
	*ret = MIN(*ret, size);
	return r;
}

static void add_residency(const struct mount_report *m, json_t *model)
{
	const char *name = json_string_value(json_object_get(model, "name"));
	uint64_t size = (uint64_t)json_integer_value(json_object_get(model, "size_bytes"));
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	uint64_t resident;

	/* Only who was opened has read anything. */
	if (!name || !json_object_get(model, "reads"))
		return;
	if (asprintf(&path, "%s/%s", m->root, name) < 0) {
		path = NULL;
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd >= 0 && resident_bytes_of(fd, size, &resident) == 0)
		json_object_set_new(model, "resident_bytes", json_integer((json_int_t)resident));
}

void mount_report_add_residency(struct mount_report *r)
{
	json_t *models = json_object_get(r->report, "models");

	for (size_t i = 0; i < json_array_size(models); i++)
		add_residency(r, json_array_get(models, i));
}
