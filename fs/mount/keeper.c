/*
 * The daemon's side of the keeper, and what both need before they part: the mount point. Trusts
 * the keeper, which is the same program. The keeper's own side is keeper_process.c.
 */
#include "fs/keeper.h"

#include "crypto/base/log.h"
#include "fs/keeper_process.h"
#include "fs/mount_table.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ANSWER_MS 2000

struct keeper {
	int fd;
	pid_t pid;
	bool asked; /* an answer to keeper_ask() is still to come */
};

void keeper_mount_clear(struct keeper_mount *what)
{
	free(what->source);
	free(what->type);
	*what = (struct keeper_mount){0};
}

static bool is_fuse(const struct mount_entry *entry)
{
	return strncmp(entry->type, "fuse.", 5) == 0 || strcmp(entry->type, "fuse") == 0;
}

/* Absolute, without symbolic links. A dead mount cannot be resolved itself; the directory that it
 * lies in can. */
static int resolve(const char *path, char **ret)
{
	_cleanup_free_ char *copy = strdup(path), *real = NULL;
	char *name;

	if (!copy)
		return -ENOMEM;
	for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	name = strrchr(copy, '/');
	if (name)
		*name++ = '\0';
	real = realpath(!name ? "." : copy[0] ? copy : "/", NULL);
	if (!real)
		return -errno;
	if (asprintf(ret, "%s/%s", real[1] ? real : "", name ? name : copy) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

/* 1: a FUSE mount, *ret, is there and somebody answers; 0: none (any more). */
static int remove_dead_mount(const char *path, struct mount_entry *ret, struct error *err)
{
	_cleanup_free_ char *at = NULL;
	struct mount_entry entry;
	int r = resolve(path, &at);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	r = mount_table_find(at, &entry);
	if (r == -ENOENT || (r == 0 && !is_fuse(&entry)))
		return 0;
	if (r < 0)
		return error_set(err, r, "cannot look for mounts at %s: %s", at, strerror(-r));
	if (!mount_is_dead(at)) {
		*ret = entry;
		return 1;
	}
	r = mount_table_detach(&entry, true);
	if (r < 0)
		return error_set(err, r, "cannot take the dead mount at %s away: %s", at,
				 strerror(-r));
	log_notice("%s: took away a mount whose daemon had died", at);
	return 0;
}

int keeper_remove_dead_mount(const char *path, struct error *err)
{
	struct mount_entry live;
	int r = remove_dead_mount(path, &live, err);

	return r > 0 ? error_set(err, -EEXIST, "%s is served by a daemon that lives; use umount",
				 path)
		     : r;
}

static int check_directory(const struct keeper_mount *what, char **ret, struct error *err)
{
	const char *at = what->path;
	struct mount_entry live;
	struct stat st;
	int r = remove_dead_mount(at, &live, err);

	if (r < 0)
		return r;
	/* A service and an fstab line for one place, say: each would hide the other's models. */
	if (r > 0 && strcmp(live.type, what->type) == 0) {
		error_hint(err, "unmount it, or mount elsewhere");
		return error_set(err, -EBUSY, "mount point %s: sealedfs is mounted there already",
				 at);
	}
	r = stat(at, &st) < 0 ? -errno : 0;
	if (r == -ENOENT && what->make_directory)
		r = mkdir(at, 0755) < 0 || stat(at, &st) < 0 ? -errno : 0;
	if (r == -ENOENT)
		error_hint(err, "make it first: mkdir -p %s", at);
	if (r < 0)
		return error_set(err, r, "mount point %s: %s", at, strerror(-r));
	if (!S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR, "mount point %s is not a directory", at);
	*ret = realpath(at, NULL);
	return *ret ? 0 : error_set(err, -errno, "mount point %s: %s", at, strerror(errno));
}

int keeper_start(const struct keeper_mount *what, struct keeper **ret, struct error *err)
{
	_cleanup_(keeper_freep) struct keeper *k = calloc(1, sizeof(*k));
	_cleanup_free_ char *path = NULL;
	struct keeper_mount exact = *what;
	int fds[2], r;

	if (!k)
		return -ENOMEM;
	k->fd = -1;
	r = check_directory(what, &path, err);
	if (r < 0)
		return r;
	exact.path = path;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	k->pid = fork();
	if (k->pid == 0)
		keeper_process(&exact, fds[1]);
	r = k->pid < 0 ? -errno : 0;
	close(fds[1]);
	k->fd = fds[0];
	if (r < 0)
		return error_set(err, r, "cannot fork: %s", strerror(-r));
	*ret = steal_ptr(k);
	return 0;
}

static int receive(struct keeper *k, struct keeper_answer *answer, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {answer, sizeof(*answer)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(k->fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*answer))
		return n < 0 ? -errno : -EPIPE;
	answer->text[sizeof(answer->text) - 1] = '\0';
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && ret_fd)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return 0;
}

static int send_op(struct keeper *k, enum keeper_op op)
{
	uint8_t byte = (uint8_t)op;

	return send(k->fd, &byte, sizeof(byte), MSG_NOSIGNAL) == sizeof(byte) ? 0 : -errno;
}

static int command(struct keeper *k, enum keeper_op op, int *ret_fd, struct error *err)
{
	struct keeper_answer answer = {0};
	int r = 0;

	if (k->asked)
		(void)keeper_take_answer(k);
	r = send_op(k, op);
	if (r == 0)
		r = receive(k, &answer, ret_fd);
	if (r < 0)
		return error_set(err, r, "the keeper process is gone: %s", strerror(-r));
	return answer.code < 0 ? error_set(err, answer.code, "%s", answer.text) : 0;
}

int keeper_mount(struct keeper *k, int *ret_fd, struct error *err)
{
	int fd = -1, r = command(k, KEEPER_MOUNT, &fd, err);

	if (r == 0 && fd < 0)
		return error_set(err, -EPIPE, "the keeper process gave no connection");
	if (r == 0)
		*ret_fd = fd;
	return r;
}

int keeper_probe(struct keeper *k, struct error *err)
{
	return command(k, KEEPER_PROBE, NULL, err);
}

int keeper_ask(struct keeper *k)
{
	int r = k->asked ? 0 : send_op(k, KEEPER_PROBE);

	if (r == 0)
		k->asked = true;
	return r;
}

int keeper_take_answer(struct keeper *k)
{
	struct keeper_answer answer = {0};
	int r = receive(k, &answer, NULL);

	k->asked = false;
	return r < 0 ? r : answer.code;
}

int keeper_fd(const struct keeper *k)
{
	return k->fd;
}

int keeper_detach(struct keeper *k, struct error *err)
{
	struct pollfd fd = {.fd = k->fd, .events = POLLIN};

	/* A daemon that hangs does not answer the keeper's question. When it ends, the keeper is
	 * free to unmount. */
	if (k->asked && poll(&fd, 1, ANSWER_MS) <= 0)
		return error_set(err, -ETIMEDOUT, "the mount does not answer");
	return command(k, KEEPER_DETACH, NULL, err);
}

void keeper_forget(struct keeper *k)
{
	(void)command(k, KEEPER_FORGET, NULL, NULL);
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	if (k->fd >= 0)
		close(k->fd);
	if (k->pid > 0)
		while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
			;
	free(k);
}
