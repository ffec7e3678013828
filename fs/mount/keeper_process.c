/*
 * The keeper. Job: mount, probe and unmount what was fixed when it was started. Requests of the
 * daemon carry no data, but for those of keeper_backing.h. Must never outlive the daemon and leave
 * the mount behind.
 */
#include "fs/mount/keeper_process.h"

#include "fs/mount/keeper_backing.h"
#include "fs/mount/mount_table.h"
#include "fs/service/confine.h"
#include "fs/service/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define MOUNT_ATTRIBUTES                                                                \
	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | \
	 MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODIRATIME)
#define KEEPER_NAME "sealedfs-keeper" /* 15 bytes, as many as a name may have */

struct state {
	const struct keeper_mount *what;
	int dir_fd; /* the mount point */
	struct mount_entry entry;
	bool mounted;
	bool raised;
};

const char *const keeper_label_names[KEEPER_LABELS] = {"context", "fscontext", "defcontext",
						       "rootcontext"};

static struct {
	char *start;
	size_t size;
} title;

void keeper_mount_clear(struct keeper_mount *what)
{
	free(what->source);
	*what = (struct keeper_mount){0};
}

void keeper_title_area(int argc, char *const *argv)
{
	char *end = argc > 0 ? argv[0] : NULL;

	for (int i = 0; i < argc && argv[i] == end; i++)
		end = argv[i] + strlen(argv[i]) + 1;
	if (end) {
		title.start = argv[0];
		title.size = (size_t)(end - argv[0]);
	}
}

static void show_title(void)
{
	static const char name[] = KEEPER_NAME;

	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
	if (title.size == 0)
		return;
	memset(title.start, 0, title.size);
	memcpy(title.start, name, MIN(sizeof(name), title.size) - 1);
}

static int fail(struct keeper_answer *answer, int code, const char *fmt, ...) _printf_(3, 4);

static int fail(struct keeper_answer *answer, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(answer->text, sizeof(answer->text), fmt, ap);
	va_end(ap);
	return code;
}

static int set(int fs, unsigned command, const char *key, const char *value)
{
	return syscall(SYS_fsconfig, fs, command, key, value, 0) < 0 ? -errno : 0;
}

static int set_number(int fs, const char *key, unsigned value)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", value);
	return set(fs, FSCONFIG_SET_STRING, key, text);
}

/* All options of the file system; fd: the connection. */
static int configure(int fs, const struct keeper_mount *w, int fd)
{
	int r = set(fs, FSCONFIG_SET_STRING, "source", w->source);

	if (r == 0)
		r = set(fs, FSCONFIG_SET_STRING, "subtype", w->subtype);
	if (r == 0)
		r = set_number(fs, "fd", (unsigned)fd);
	if (r == 0)
		r = set(fs, FSCONFIG_SET_STRING, "rootmode", "40000");
	if (r == 0)
		r = set_number(fs, "user_id", getuid());
	if (r == 0)
		r = set_number(fs, "group_id", getgid());
	if (r == 0)
		r = set(fs, FSCONFIG_SET_FLAG, "default_permissions", NULL);
	if (r == 0 && w->allow_other)
		r = set(fs, FSCONFIG_SET_FLAG, "allow_other", NULL);
	if (r == 0)
		r = set(fs, FSCONFIG_SET_FLAG, "ro", NULL);
	for (size_t i = 0; r == 0 && i < KEEPER_LABELS; i++)
		if (w->labels[i])
			r = set(fs, FSCONFIG_SET_STRING, keeper_label_names[i], w->labels[i]);
	return r < 0 ? r : set(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
}

/* The mount, not yet anywhere; its id. */
static int make_mount(const struct keeper_mount *w, int fd, int *ret_mount, uint64_t *ret_id)
{
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
	int r = fs < 0 ? -errno : configure(fs, w, fd);

	if (r < 0)
		return r;
	*ret_mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTRIBUTES);
	return *ret_mount < 0 ? -errno : mount_id_of(*ret_mount, ret_id);
}

static bool has_label(const struct keeper_mount *w)
{
	for (size_t i = 0; i < KEEPER_LABELS; i++)
		if (w->labels[i])
			return true;
	return false;
}

/* A kernel without FUSE, or a mount point that is busy. Elsewhere these mean a server or TPM that
 * cannot be reached, which is another exit status. */
static int local_code(int r)
{
	return r == -ENODEV || r == -EBUSY || r == -EAGAIN ? -EIO : r;
}

/* *ret_fd: the connection; the caller closes it. */
static int do_mount(struct state *s, int *ret_fd, struct keeper_answer *answer)
{
	const struct keeper_mount *w = s->what;
	_cleanup_close_ int made = -1;
	uint64_t id = 0;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return fail(answer, local_code(-errno), "cannot open /dev/fuse: %s",
			    strerror(errno));
	*ret_fd = fd;
	r = make_mount(w, fd, &made, &id);
	if (r == 0 && syscall(SYS_move_mount, made, "", s->dir_fd, "",
			      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		r = -errno;
	if (r == -EINVAL && has_label(w))
		return fail(answer, r,
			    "cannot mount on %s: this kernel takes no label; context= and its like "
			    "are for SELinux",
			    w->path);
	if (r < 0)
		return fail(answer, local_code(r), "cannot mount on %s: %s", w->path, strerror(-r));
	close(steal_fd(&s->dir_fd));
	/* Its path may be another by now. */
	r = mount_table_find_id(id, &s->entry);
	if (r < 0)
		return fail(answer, r, "mounted on %s, but it is not there", w->path);
	s->mounted = true;
	return 0;
}

/* Last steps that need more privileges than unmounting does. */
static int rest(struct state *s)
{
	(void)mount_raise_readahead(s->entry.device);
	s->raised = true;
	/* Not earlier: where systemd waits at the mount point (x-systemd.automount), only its own
	 * process group may pass. */
	(void)setsid();
	return privileges_keep_unmount();
}

/* statfs() is answered by the daemon each time: the kernel keeps nothing of it. */
static int probe(struct state *s, struct keeper_answer *answer)
{
	struct statfs st;

	/* Directories may have been renamed since. */
	(void)mount_table_find_id(s->entry.id, &s->entry);
	if (statfs(s->entry.path, &st) < 0)
		return fail(answer, -errno, "%s is mounted but does not answer: %s", s->entry.path,
			    strerror(errno));
	return s->raised ? 0 : rest(s);
}

static int detach(struct state *s, bool only_dead, struct keeper_answer *answer)
{
	int r = s->mounted ? mount_table_detach(&s->entry, only_dead) : 0;

	s->mounted = false;
	return r < 0 ? fail(answer, r, "cannot unmount %s: %s", s->entry.path,
			    r == -EBUSY ? "another mount lies over it" : strerror(-r))
		     : 0;
}

static int reply(int socket, const struct keeper_answer *answer, int passed_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)answer, sizeof(*answer)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (passed_fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
				      .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(c), &passed_fd, sizeof(passed_fd));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int serve(struct state *s, int socket, enum keeper_op op)
{
	struct keeper_answer answer = {0};
	_cleanup_close_ int fd = -1;

	switch (op) {
	case KEEPER_MOUNT:
		answer.code = do_mount(s, &fd, &answer);
		break;
	case KEEPER_PROBE:
		answer.code = probe(s, &answer);
		break;
	case KEEPER_DETACH:
		answer.code = detach(s, false, &answer);
		break;
	case KEEPER_FORGET:
		s->mounted = false;
		break;
	default:
		answer.code = fail(&answer, -EINVAL, "not a request");
	}
	return reply(socket, &answer, answer.code == 0 ? fd : -1);
}

#define KEPT 3

/* All from 3 on but these. */
static int close_others(const int kept[KEPT])
{
	unsigned from = 3;

	for (;;) {
		unsigned next = UINT32_MAX;

		for (size_t i = 0; i < KEPT; i++)
			if ((unsigned)kept[i] >= from)
				next = MIN(next, (unsigned)kept[i]);
		if (next > from &&
		    syscall(SYS_close_range, from, next == UINT32_MAX ? next : next - 1, 0) < 0)
			return -errno;
		if (next == UINT32_MAX)
			return 0;
		from = next + 1;
	}
}

/* Own name, no output, and no signals that end the daemon: the keeper must outlive it briefly. */
static int settle(const int kept[KEPT])
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXFSZ};
	struct privileges keep = {.mount = true};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

	show_title();
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	r = privileges_drop(&keep, NULL);
	if (r == 0 && (null < 0 || chdir("/") < 0))
		r = -errno;
	for (int fd = 0; r == 0 && fd <= 2; fd++)
		r = dup2(null, fd) < 0 ? -errno : 0;
	if (r < 0)
		return r;
	/* Among them the pipe on which the parent of the daemon waits. */
	return close_others(kept);
}

/* False: the daemon has ended. */
static bool serve_next(struct state *s, int fd, int backing_fd)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = backing_fd, .events = POLLIN}};
	uint8_t op;

	if (poll(fds, ARRAY_LEN(fds), -1) < 0)
		return errno == EINTR;
	if (fds[0].revents) {
		ssize_t n = recv(fd, &op, sizeof(op), 0);

		return (n < 0 && errno == EINTR) ||
		       (n == sizeof(op) && serve(s, fd, (enum keeper_op)op) == 0);
	}
	return keeper_backing_serve(backing_fd) == 0;
}

void keeper_process(const struct keeper_mount *what, int fd, int backing_fd, int dir_fd)
{
	const int kept[KEPT] = {fd, backing_fd, dir_fd};
	struct state s = {.what = what, .dir_fd = dir_fd};
	struct keeper_answer ignored = {0};

	if (settle(kept) < 0 || (!what->unconfined && confine_keeper(NULL) < 0))
		_exit(EXIT_CODE_FAILURE);
	while (serve_next(&s, fd, backing_fd))
		;
	(void)detach(&s, true, &ignored);
	_exit(EXIT_CODE_OK);
}
