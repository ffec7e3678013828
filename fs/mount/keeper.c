/*
 * The daemon's side of the keeper. Trusts the keeper, which is the same program; its own side is
 * keeper_process.c.
 */
#include "fs/mount/keeper.h"

#include "crypto/base/log.h"
#include "crypto/base/thread.h"
#include "fs/mount/keeper_backing.h"
#include "fs/mount/keeper_process.h"
#include "fs/mount/mount_point.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define ANSWER_MS 2000

struct keeper {
	int fd;
	pid_t pid;
	bool asked; /* an answer to keeper_ask() is still to come */
	int backing_fd;
	pthread_mutex_t backing; /* one request at a time */
};

int keeper_start(const struct keeper_mount *what, struct keeper **ret, struct error *err)
{
	_cleanup_(keeper_freep) struct keeper *k = calloc(1, sizeof(*k));
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int dir_fd = -1;
	struct keeper_mount exact = *what;
	int fds[2], backing[2], r;

	if (!k)
		return -ENOMEM;
	k->fd = k->backing_fd = -1;
	pthread_mutex_init(&k->backing, NULL);
	r = mount_point_open(what->path, what->make_directory, what->subtype, &dir_fd, &path, err);
	if (r < 0)
		return r;
	exact.path = path;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
	k->fd = fds[0];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, backing) < 0) {
		r = error_set(err, -errno, "cannot make a socket: %s", strerror(errno));
		close(fds[1]);
		return r;
	}
	k->backing_fd = backing[0];
	k->pid = fork();
	if (k->pid == 0)
		keeper_process(&exact, fds[1], backing[1], dir_fd);
	r = k->pid < 0 ? -errno : 0;
	close(fds[1]);
	close(backing[1]);
	if (r < 0)
		return error_no_process(err, r);
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

void keeper_hint_no_fuse(struct error *err)
{
	error_hint(err, "load it with 'modprobe fuse'; a container must be given it: docker run "
			"--device /dev/fuse --cap-add SYS_ADMIN");
}

int keeper_mount(struct keeper *k, int *ret_fd, struct error *err)
{
	int fd = -1, r = command(k, KEEPER_MOUNT, &fd, err);

	if (r < 0 && access("/dev/fuse", R_OK | W_OK) < 0)
		keeper_hint_no_fuse(err);
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

static int send_backing(struct keeper *k, const struct keeper_backing *request, const int *fds,
			size_t count)
{
	char control[CMSG_SPACE(KEEPER_BACKING_FDS * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)request, sizeof(*request)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	return sendmsg(k->backing_fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static bool receive_backing(struct keeper *k, void *to, size_t size)
{
	ssize_t n;

	do
		n = recv(k->backing_fd, to, size, 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)size;
}

static int ask_backing(struct keeper *k, uint32_t close_id, const int *fds, size_t count)
{
	struct keeper_backing request = {.close_id = close_id};
	struct keeper_backing_answer answer = {.code = -EPIPE};
	uint8_t byte = 0;
	bool done;

	pthread_mutex_lock(&k->backing);
	done = send(k->backing_fd, &byte, sizeof(byte), MSG_NOSIGNAL) == sizeof(byte) &&
	       receive_backing(k, &byte, sizeof(byte)) &&
	       send_backing(k, &request, fds, count) == 0 &&
	       receive_backing(k, &answer, sizeof(answer));
	pthread_mutex_unlock(&k->backing);
	return done ? answer.code : -EPIPE;
}

int keeper_backing_open(struct keeper *k, int connection, int fd, uint32_t *ret, struct error *err)
{
	const int fds[] = {connection, fd};
	int r = ask_backing(k, 0, fds, ARRAY_LEN(fds));

	if (r <= 0)
		return error_set(err, r < 0 ? r : -EPROTO,
				 "the kernel takes no memory file for the mount's readers: %s",
				 strerror(r < 0 ? -r : EPROTO));
	*ret = (uint32_t)r;
	return 0;
}

void keeper_backing_close(struct keeper *k, int connection, uint32_t id)
{
	(void)ask_backing(k, id, &connection, 1);
}

void keeper_forget(struct keeper *k)
{
	(void)command(k, KEEPER_FORGET, NULL, NULL);
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	closep(&k->fd);
	closep(&k->backing_fd);
	if (k->pid > 0)
		while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
			;
	pthread_mutex_destroy(&k->backing);
	free(k);
}
