/*
 * A mount's report. Job: read the report of a mount, and count pages in the page cache. Trusts
 * mount_root.h to recognise a mount of sealedfs, and report_check.h to validate the report. Must
 * open neither a model that has not been opened yet, which would unlock and measure it, nor
 * anything outside the mount.
 */
#include "tools/mount/mount_report.h"

#include "crypto/base/json.h"
#include "tools/mount/report_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define REPORT_FILE ".sealedfs/status.json"
#define SEALS_FILE ".sealedfs/seals.json"
#define SEALS_SIZE_MAX ((size_t)8 << 20)
#define REPORT_SIZE_MAX ((size_t)64 << 20) /* what a daemon makes at most: fs/fuse/control.c */
#define MINCORE_WINDOW ((size_t)1 << 30)
#ifndef __NR_cachestat
#define __NR_cachestat 451 /* Linux 6.5; the same number everywhere */
#endif

static int read_text(int fd, size_t max, char **ret, size_t *ret_size)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0, room = 0;

	for (;;) {
		ssize_t n;

		if (size == room) {
			char *more = room < max ? realloc(text, 2 * room + 65536) : NULL;

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

/* One of the control files, which check() must accept. path: what the user calls the mount. */
static int read_control(const struct mount_root *root, const char *path, const char *name,
			size_t max, int (*check)(const json_t *, struct error *), json_t **ret,
			struct error *err)
{
	_cleanup_close_ int fd = mount_root_open_below(root, name, O_RDONLY | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	int r = fd < 0 ? fd : read_text(fd, max, &text, &size);

	if (r < 0)
		return error_set(err, r, "%s: cannot read its report: %s", path, strerror(-r));
	*ret = json_object_parse(text, size);
	if (!*ret)
		return error_set(err, -EPROTO, "%s: its report is not a JSON object", path);
	r = check(*ret, err);
	return r < 0 ? error_prefix(err, r, "%s: the report of this mount is not to be believed",
				    path)
		     : 0;
}

/* Members that only this program may set. */
static void drop_ours(json_t *report)
{
	json_t *models = json_object_get(report, "models");

	json_object_del(report, "mount");
	for (size_t i = 0; i < json_array_size(models); i++)
		json_object_del(json_array_get(models, i), "resident_bytes");
}

static int load(struct mount_report *m, const char *path, struct error *err)
{
	int r = read_control(&m->root, path, REPORT_FILE, REPORT_SIZE_MAX, report_check, &m->report,
			     err);

	if (r == 0)
		drop_ours(m->report);
	return r;
}

int mount_report_read_seals(const char *path, json_t **ret, struct error *err)
{
	_cleanup_(mount_root_clear) struct mount_root root = {.fd = -1};
	_cleanup_json_ json_t *found = NULL;
	int r = mount_root_open(path, false, &root, err);

	if (r == 0)
		r = read_control(&root, path, SEALS_FILE, SEALS_SIZE_MAX, report_check_seals,
				 &found, err);
	if (r == 0)
		*ret = steal_ptr(found);
	return r;
}

/* A file may have further names in an Ollama store: compare inodes. */
static void keep_model(json_t *models, uint64_t ino)
{
	char inode[24];

	(void)snprintf(inode, sizeof(inode), "%" PRIu64, ino);
	for (size_t i = json_array_size(models); i-- > 0;) {
		const json_t *own = json_object_get(json_array_get(models, i), "inode");

		if (strcmp(json_string_value(own), inode) != 0)
			json_array_remove(models, i);
	}
}

int mount_report_read(const char *path, struct mount_report *ret, struct error *err)
{
	json_t *models;
	int r = mount_root_open(path, true, &ret->root, err);

	if (r == 0)
		r = load(ret, path, err);
	if (r < 0)
		return r;
	json_object_set_new(ret->report, "mount", json_outside_text(ret->root.path));
	models = json_object_get(ret->report, "models");
	if (ret->root.ino)
		keep_model(models, ret->root.ino);
	if (ret->root.ino && json_array_size(models) == 0)
		return error_set(err, -ENOENT, "%s: it is no model of the mount on %s", path,
				 ret->root.path);
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
	mount_root_clear(&r->root);
	r->report = NULL;
}

/* Looked at before it is opened: to open another file than the one that was reported would unlock
 * and measure it. */
int mount_report_open(const struct mount_report *r, const json_t *model)
{
	const char *name = json_string_value(json_object_get(model, "name"));
	const char *inode = json_string_value(json_object_get(model, "inode"));
	_cleanup_close_ int at = mount_root_open_below(&r->root, name, O_PATH | O_NOFOLLOW);
	char path[64];
	struct stat st;
	int fd;

	if (at < 0)
		return at;
	if (fstat(at, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_ino != strtoull(inode, NULL, 10))
		return -ESTALE;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* For kernels without cachestat(2). For users other than owner and root, mincore() reports all
 * pages as present. */
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
	uint64_t size = (uint64_t)json_integer_value(json_object_get(model, "size_bytes"));
	const char *state = json_string_value(json_object_get(model, "state"));
	_cleanup_close_ int fd = -1;
	const char *kept =
		json_string_value(json_object_get(json_object_get(model, "residency"), "state"));
	uint64_t resident;

	/* What is in the mount's own memory is not in the page cache, and a file that is open for
	 * that question would keep its next readers from that memory. */
	if (kept && strcmp(kept, "none") != 0)
		return;
	/* Only an opened model has pages; opening another one would unlock it. */
	if (!json_object_get(model, "reads") ||
	    (strcmp(state, "unlocked") != 0 && strcmp(state, "measured") != 0))
		return;
	fd = mount_report_open(m, model);
	if (fd >= 0 && resident_bytes_of(fd, size, &resident) == 0)
		json_object_set_new(model, "resident_bytes", json_integer((json_int_t)resident));
}

void mount_report_add_residency(struct mount_report *r)
{
	json_t *models = json_object_get(r->report, "models");

	for (size_t i = 0; i < json_array_size(models); i++)
		add_residency(r, json_array_get(models, i));
}
