/*
 * Backing files. Job: check what the daemon sent, and register it with its connection. Trusts
 * nothing of it: whoever controls the daemon chooses the descriptors.
 */
#include "fs/mount/keeper_backing.h"

#include "crypto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* As the kernel has it since 6.9; headers of Debian 12 are older. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define FUSE_MAJOR 10
#define FUSE_MINOR 229
#define BACKING_OPEN _IOW(FUSE_MINOR, 1, struct backing_map)
#define BACKING_CLOSE _IOW(FUSE_MINOR, 2, uint32_t)

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

/* /dev/fuse: its numbers are fixed in the kernel. */
static bool is_connection(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(FUSE_MAJOR, FUSE_MINOR);
}

/* Other files have no seals at all. */
static bool is_sealed(int fd)
{
	int seals = fd >= 0 ? fcntl(fd, F_GET_SEALS) : -1;

	return seals >= 0 && (seals & SEALS) == SEALS;
}

static int32_t handle(const struct keeper_backing *request, const int fds[KEEPER_BACKING_FDS])
{
	struct backing_map map = {.fd = fds[1]};
	int id;

	if (!is_connection(fds[0]))
		return -EBADF;
	if (request->close_id != 0)
		return ioctl(fds[0], BACKING_CLOSE, &request->close_id) < 0 ? -errno : 0;
	if (!is_sealed(fds[1]))
		return -EINVAL;
	id = ioctl(fds[0], BACKING_OPEN, &map);
	return id < 0 ? -errno : id;
}

static int receive(int socket, struct keeper_backing *request, int fds[KEEPER_BACKING_FDS])
{
	char control[CMSG_SPACE(KEEPER_BACKING_FDS * sizeof(int))] = {0};
	struct iovec iov = {request, sizeof(*request)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c),
		       MIN((size_t)c->cmsg_len - CMSG_LEN(0), KEEPER_BACKING_FDS * sizeof(int)));
	return n == sizeof(*request) ? 0 : -EPIPE;
}

static bool confirm(int socket)
{
	uint8_t byte;
	ssize_t n;

	do
		n = recv(socket, &byte, sizeof(byte), 0);
	while (n < 0 && errno == EINTR);
	return n == sizeof(byte) && send(socket, &byte, sizeof(byte), MSG_NOSIGNAL) == sizeof(byte);
}

int keeper_backing_serve(int socket)
{
	struct keeper_backing request = {0};
	struct keeper_backing_answer answer;
	int fds[KEEPER_BACKING_FDS] = {-1, -1}, r = -EPIPE;

	if (confirm(socket))
		r = receive(socket, &request, fds);
	if (r == 0) {
		answer.code = handle(&request, fds);
		if (send(socket, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
			r = -EPIPE;
	}
	/* A copy of the connection here would keep it alive when the daemon has died. */
	for (size_t i = 0; i < KEEPER_BACKING_FDS; i++)
		closep(&fds[i]);
	return r;
}
