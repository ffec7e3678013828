/*
 * The keeper. Job: mount, probe, unmount; nothing else, and nothing that the daemon could choose
 * after it was started. Trusts the daemon to ask, not to tell: requests carry no data. Must never
 * outlive the daemon with the mount still there.
 */
#include "fs/keeper_process.h"

#include "fs/mount_table.h"
#include "fs/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* 1 MiB: 0.54 of a server that does nothing, 2 MiB 0.59, 4 MiB 0.63, 8 and 16 MiB the same; each
 * reader may have twice as much locked at a time (fs/read/README.md). */
#define READAHEAD_KIB "4096"
#define KEEPER_NAME "sealedfs-keeper" /* 15 bytes, as many as a name may have */

struct state {
	const struct keeper_mount *what;
	struct mount_entry entry;
	bool mounted;
	bool raised;
};

static struct {
	char *start;
	size_t size;
} title;

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

/* *ret_fd: the connection; the caller closes it. */
static int do_mount(struct state *s, int *ret_fd, struct keeper_answer *answer)
{
	const struct keeper_mount *w = s->what;
	char data[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return fail(answer, -errno, "cannot open /dev/fuse: %s", strerror(errno));
	*ret_fd = fd;
	(void)snprintf(data, sizeof(data),
		       "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s", fd,
		       getuid(), getgid(), w->allow_other ? ",allow_other" : "");
	if (mount(w->source, w->path, w->type, w->flags, data) < 0)
		return fail(answer, -errno, "cannot mount on %s: %s", w->path, strerror(errno));
	r = mount_table_find(w->path, &s->entry);
	if (r < 0) {
		(void)umount2(w->path, MNT_DETACH | UMOUNT_NOFOLLOW);
		return fail(answer, r, "mounted on %s, but it is not there", w->path);
	}
	s->mounted = true;
	return 0;
}

/* The kernel reads ahead 128 KiB at most unless it is told on the mount's own device. Where it
 * cannot be told (/sys read-only), reading is slower, no more. */
static void raise_readahead(const struct state *s)
{
	char path[64];
	_cleanup_close_ int fd = -1;

	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", s->entry.device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, READAHEAD_KIB, sizeof(READAHEAD_KIB) - 1) < 0)
		return;
}

/* All that was to be done with more than unmounting takes. */
static int rest(struct state *s)
{
	raise_readahead(s);
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

	if (statfs(s->what->path, &st) < 0)
		return fail(answer, -errno, "%s is mounted but does not answer: %s", s->what->path,
			    strerror(errno));
	return s->raised ? 0 : rest(s);
}

static int detach(struct state *s, bool only_dead, struct keeper_answer *answer)
{
	int r = s->mounted ? mount_table_detach(&s->entry, only_dead) : 0;

	s->mounted = false;
	return r < 0 ? fail(answer, r, "cannot unmount %s: %s", s->what->path, strerror(-r)) : 0;
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

/* Alone, quiet, and deaf to what ends the daemon: that is to be seen to its end. */
static int settle(int socket)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
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
	/* Not least the pipe by which the one who started the daemon waits for it. */
	if (socket > 3 && syscall(SYS_close_range, 3, socket - 1, 0) < 0)
		return -errno;
	return syscall(SYS_close_range, socket + 1, UINT32_MAX, 0) < 0 ? -errno : 0;
}

void keeper_process(const struct keeper_mount *what, int fd)
{
	struct state s = {.what = what};
	struct keeper_answer ignored = {0};
	uint8_t op;
	ssize_t n;

	if (settle(fd) < 0)
		_exit(EXIT_CODE_FAILURE);
	for (;;) {
		n = recv(fd, &op, sizeof(op), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(op) || serve(&s, fd, (enum keeper_op)op) < 0)
			break;
	}
	(void)detach(&s, true, &ignored);
	_exit(EXIT_CODE_OK);
}
