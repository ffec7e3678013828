/*
 * /dev/nsm for tests, by CUSE: cuse_nsm SOCKET. Each ioctl becomes one message to the emulator at
 * SOCKET (tests/emu/nsm.py), and its answer one back. Needs /dev/cuse and root. The device behaves
 * as the kernel's driver: the same number and struct, the same limits, EMSGSIZE, and the true
 * length in the struct.
 */
#define FUSE_USE_VERSION 31
#include <cuse_lowlevel.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX 0x1000
#define RESPONSE_MAX 0x3000

struct raw {
	uint64_t request, request_size, response, response_size;
};
#define NSM_IOCTL _IOWR(0x0A, 0x0, struct raw)

static const char *path;

static int ask(const void *request, size_t size, void *response)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), n = -1;

	memcpy(to.sun_path, path, strlen(path) + 1);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    send(fd, request, size, MSG_NOSIGNAL) == (ssize_t)size)
		n = (int)recv(fd, response, RESPONSE_MAX, 0);
	if (fd >= 0)
		close(fd);
	return n > 0 ? n : -EIO;
}

static void on_open(fuse_req_t req, struct fuse_file_info *fi)
{
	fuse_reply_open(req, fi);
}

static void answer(fuse_req_t req, struct raw raw, const void *request)
{
	static uint8_t out[sizeof(struct raw) + RESPONSE_MAX];
	int n = ask(request, (size_t)raw.request_size, out + sizeof(raw));

	if (n < 0) {
		fuse_reply_err(req, -n);
		return;
	}
	if ((uint64_t)n < raw.response_size)
		raw.response_size = (uint64_t)n;
	memcpy(out, &raw, sizeof(raw));
	fuse_reply_ioctl(req, 0, out, sizeof(raw) + (size_t)raw.response_size);
}

static void on_ioctl(fuse_req_t req, int cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
		     const void *in, size_t in_size, size_t out_size)
{
	struct iovec ins[2] = {{arg, sizeof(struct raw)}}, outs[2] = {{arg, sizeof(struct raw)}};
	struct raw raw;

	(void)fi, (void)flags, (void)out_size;
	if ((unsigned)cmd != NSM_IOCTL) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	if (in_size < sizeof(raw)) {
		fuse_reply_ioctl_retry(req, ins, 1, NULL, 0);
		return;
	}
	memcpy(&raw, in, sizeof(raw));
	if (raw.request_size == 0 || raw.request_size > REQUEST_MAX) {
		fuse_reply_err(req, raw.request_size ? EMSGSIZE : EINVAL);
		return;
	}
	if (raw.response_size > RESPONSE_MAX)
		raw.response_size = RESPONSE_MAX;
	if (in_size == sizeof(raw)) {
		ins[1] = (struct iovec){(void *)(uintptr_t)raw.request, (size_t)raw.request_size};
		outs[1] =
			(struct iovec){(void *)(uintptr_t)raw.response, (size_t)raw.response_size};
		fuse_reply_ioctl_retry(req, ins, 2, outs, 2);
		return;
	}
	answer(req, raw, (const uint8_t *)in + sizeof(raw));
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"DEVNAME=nsm"};
	const struct cuse_info info = {.dev_info_argc = 1,
				       .dev_info_argv = (const char **)(uintptr_t)names,
				       .flags = CUSE_UNRESTRICTED_IOCTL};
	const struct cuse_lowlevel_ops ops = {.open = on_open, .ioctl = on_ioctl};
	char *words[] = {argv[0], (char[]){"-f"}, (char[]){"-s"}, NULL};

	if (argc != 2 || strlen(argv[1]) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		fprintf(stderr, "usage: cuse_nsm SOCKET\n");
		return 2;
	}
	path = argv[1];
	return cuse_lowlevel_main(3, words, &info, &ops, NULL);
}
