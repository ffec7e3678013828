/*
 * The folder of a stage. Job: make it, make sure that it is ours alone, and find what an earlier
 * process has left there. Trusts the kernel for owners, modes and locks; takes no file in it for
 * more than a hint. Must never follow a link, nor touch a file whose name is not a stage's.
 */
#include "fs/source/stage.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/* A daemon that is on its way out still has the lock. */
#define LOCK_TRIES 60
#define LOCK_PAUSE_NS 50000000
/* More than that in one folder is not read but removed: memory is bounded, names are not. */
#define FILES_MAX 4096
#define EXTENTS_MAX ((size_t)1 << 20)

int stage_make_directory(const char *dir, uid_t uid, gid_t gid, struct error *err)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(dir, 0700) < 0) {
		if (errno == EEXIST)
			return 0;
		error_hint(err, "its parent folder must be there");
		return error_set(err, -errno, "cannot make the folder %s for the stage: %s", dir,
				 strerror(errno));
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0700) < 0 ||
	    ((uid != geteuid() || gid != getegid()) && fchown(fd, uid, gid) < 0))
		return error_set(err, -errno, "cannot give %s to user %u: %s", dir, uid,
				 strerror(errno));
	return 0;
}

static int check_folder(int fd, const char *path, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "stage %s: %s", path, strerror(errno));
	if (st.st_uid != geteuid()) {
		error_hint(err, "chown it, or name another folder");
		return error_set(err, -EINVAL,
				 "stage %s belongs to user %u, and this process is user %u", path,
				 st.st_uid, geteuid());
	}
	if (st.st_mode & 022) {
		error_hint(err, "chmod 0700");
		return error_set(err, -EINVAL, "stage %s can be changed by other users", path);
	}
	return 0;
}

static int lock_folder(int dir_fd, const char *path, struct error *err)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
	_cleanup_close_ int fd = openat(
		dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set(err, -errno, "cannot open %s/lock: %s", path, strerror(errno));
	for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_set(err, -errno, "cannot lock %s/lock: %s", path,
					 strerror(errno));
		if (i == LOCK_TRIES) {
			error_hint(err, "give each mount a folder of its own");
			return error_set(err, -EEXIST,
					 "stage %s is in use by another sealedfs process", path);
		}
		(void)nanosleep(&pause, NULL);
	}
	return steal_fd(&fd);
}

int stage_folder_open(const char *path, int *ret_dir_fd, int *ret_lock_fd, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r, lock_fd;

	if (fd < 0) {
		r = -errno;
		if (r == -ELOOP || r == -ENOTDIR)
			return error_set(err, -EINVAL,
					 "stage %s is not a folder (links are not followed)", path);
		return error_set(err, r, "cannot open stage %s: %s", path, strerror(-r));
	}
	r = check_folder(fd, path, err);
	if (r < 0)
		return r;
	lock_fd = lock_folder(fd, path, err);
	if (lock_fd < 0)
		return lock_fd;
	*ret_dir_fd = steal_fd(&fd);
	*ret_lock_fd = lock_fd;
	return 0;
}

/* True: "ID.suffix". */
static bool take_id(const char *name, const char *suffix, char id[STAGE_ID_SIZE])
{
	uint8_t bytes[(STAGE_ID_SIZE - 1) / 2];

	if (strlen(name) != STAGE_ID_SIZE - 1 + strlen(suffix) ||
	    strcmp(name + STAGE_ID_SIZE - 1, suffix) != 0)
		return false;
	memcpy(id, name, STAGE_ID_SIZE - 1);
	id[STAGE_ID_SIZE - 1] = '\0';
	return hex_decode(id, bytes, sizeof(bytes)) == 0;
}

static bool is_known(const struct stage *s, const struct stage_file *f, const char *id)
{
	for (size_t i = 0; i < s->count; i++)
		if ((f && strcmp(s->files[i]->label, f->label) == 0) ||
		    (id && strcmp(s->files[i]->id, id) == 0))
			return true;
	return false;
}

static void tell(const struct stage *s, const char *what, const char *problem)
{
	_cleanup_free_ char *text = NULL;

	if (s->notice && asprintf(&text, "stage %s: %s %s; what is missing is fetched again",
				  s->path, what, problem) >= 0)
		s->notice(s->notice_arg, text);
}

static int take_copy(struct stage *s, const char *id, size_t *extents)
{
	_cleanup_(stage_file_freep) struct stage_file *f = NULL;
	struct stage_file **files;
	int r = s->count < FILES_MAX ? stage_file_load(s->dir_fd, id, EXTENTS_MAX - *extents, &f)
				     : -E2BIG;

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		tell(s, id, "is not a copy that can be used, and was removed");
	if (r < 0 || is_known(s, f, NULL)) {
		stage_file_unlink(s->dir_fd, id);
		return 0;
	}
	if (f->damaged > 0)
		tell(s, f->label, "was cut off");
	f->damaged = 0;
	files = reallocarray(s->files, s->count + 1, sizeof(struct stage_file *));
	if (!files)
		return -ENOMEM;
	*extents += f->extent_count;
	for (size_t i = 0; i < f->extent_count; i++)
		s->tick = MAX(s->tick, f->extents[i].tick);
	s->used += f->bytes;
	s->files = files;
	s->files[s->count++] = steal_ptr(f);
	return 0;
}

/* The first pass takes in indices, the second removes data without one. */
static int scan_pass(struct stage *s, bool indices)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t extents = 0;
	struct dirent *de;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (errno = 0, de = readdir(dir))) {
		char id[STAGE_ID_SIZE];

		if (indices && take_id(de->d_name, ".index", id))
			r = take_copy(s, id, &extents);
		else if (!indices && take_id(de->d_name, ".data", id) && !is_known(s, NULL, id))
			stage_file_unlink(s->dir_fd, id);
	}
	return r == 0 ? -errno : r;
}

int stage_folder_scan(struct stage *s)
{
	int r = scan_pass(s, true);

	return r < 0 ? r : scan_pass(s, false);
}
