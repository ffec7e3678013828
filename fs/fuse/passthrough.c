/*
 * FUSE passthrough. Job: add it to the answer of the kernel's first request, and to opens. Trusts
 * the kernel. Sizes, offsets and numbers are those of the protocol, 7.40 and later.
 */
#include "fs/fuse/passthrough.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#define REQUEST_INIT 26
#define INIT_EXTENDED (UINT32_C(1) << 30)    /* flags2 are valid */
#define INIT2_PASSTHROUGH (UINT32_C(1) << 5) /* bit 37 of both */
#define OPEN_PASSTHROUGH (UINT32_C(1) << 7)
#define STACK_DEPTH 1 /* a memory file lies on no other file system */

struct request_head {
	uint32_t length, opcode;
	uint64_t unique, node;
	uint32_t uid, gid, pid;
	uint16_t extra_length, padding;
};
struct init_request {
	uint32_t major, minor, max_readahead, flags, flags2;
};
struct reply_head {
	uint32_t length;
	int32_t error;
	uint64_t unique;
};
struct init_reply {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_granularity;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, stack_depth, unused[6];
};
struct open_reply {
	uint64_t handle;
	uint32_t flags;
	int32_t backing_id;
};

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 13)

static bool offers_passthrough(const uint8_t *in, size_t size)
{
	struct init_request init;

	if (size < sizeof(struct request_head) + sizeof(init))
		return false;
	memcpy(&init, in + sizeof(struct request_head), sizeof(init));
	return (init.flags & INIT_EXTENDED) && (init.flags2 & INIT2_PASSTHROUGH);
}

static ssize_t read_request(int fd, void *buf, size_t size, void *arg)
{
	struct ops_context *c = arg;
	struct request_head head;
	ssize_t n = read(fd, buf, size);

	if (n < (ssize_t)sizeof(head))
		return n;
	memcpy(&head, buf, sizeof(head));
	if (head.opcode == REQUEST_INIT) {
		atomic_store(&c->passthrough_offered, offers_passthrough(buf, (size_t)n));
		atomic_store(&c->init_request, head.unique);
	}
	return n;
}

static void tell(struct ops_context *c, bool offered)
{
	struct error err = {0};

	if (!offered)
		error_set(&err, -EOPNOTSUPP,
			  "models cannot be resident: this kernel has no FUSE passthrough, which "
			  "Linux 6.9 and later can have");
	residents_allow(c->residents, offered ? NULL : &err);
}

static ssize_t write_init(int fd, const struct iovec *iov, const struct reply_head *head,
			  struct ops_context *c)
{
	struct init_reply init;
	struct iovec changed[] = {iov[0], {&init, sizeof(init)}};
	bool offered = atomic_load(&c->passthrough_offered);
	ssize_t n;

	memcpy(&init, iov[1].iov_base, sizeof(init));
	if (offered && head->error == 0) {
		init.flags |= INIT_EXTENDED;
		init.flags2 |= INIT2_PASSTHROUGH;
		init.stack_depth = STACK_DEPTH;
	}
	n = writev(fd, changed, ARRAY_LEN(changed));
	if (n >= 0)
		tell(c, offered);
	return n;
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *arg)
{
	struct ops_context *c = arg;
	struct reply_head head;

	memcpy(&head, iov[0].iov_base, sizeof(head));
	/* Notifications have 0. */
	if (head.unique == 0 || head.unique != atomic_load(&c->init_request))
		return writev(fd, iov, count);
	atomic_store(&c->init_request, 0);
	if (count == 2 && iov[1].iov_len == sizeof(struct init_reply))
		return write_init(fd, iov, &head, c);
	tell(c, false);
	return writev(fd, iov, count);
}

bool passthrough_start(struct ops_context *c, int fd)
{
	static const struct fuse_custom_io io = {.writev = write_reply, .read = read_request};

	return fuse_session_custom_io(c->session, &io, fd) == 0;
}

#else

bool passthrough_start(struct ops_context *c, int fd)
{
	return false;
}

#endif

int passthrough_reply_open(fuse_req_t req, uint64_t handle, uint32_t id)
{
	struct open_reply reply = {handle, OPEN_PASSTHROUGH, (int32_t)id};

	return fuse_reply_buf(req, (const char *)&reply, sizeof(reply));
}

int passthrough_attach(void *arg, int fd, uint32_t *ret, struct error *err)
{
	struct ops_context *c = arg;

	return keeper_backing_open(c->keeper, fuse_session_fd(c->session), fd, ret, err);
}

void passthrough_detach(void *arg, uint32_t id)
{
	struct ops_context *c = arg;

	keeper_backing_close(c->keeper, fuse_session_fd(c->session), id);
}
