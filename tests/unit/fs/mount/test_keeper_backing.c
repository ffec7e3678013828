/* fs/mount/keeper_backing: only a memory file that nobody can change any more is registered. */
#include "fs/mount/keeper_backing.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALL_SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

static void *serve(void *arg)
{
	const int *socket = arg;

	while (keeper_backing_serve(*socket) == 0)
		;
	return NULL;
}

struct pair {
	int ours, theirs;
	pthread_t keeper;
};

static void begin(struct pair *p)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	p->ours = fds[0];
	p->theirs = fds[1];
	assert_int_equal(pthread_create(&p->keeper, NULL, serve, &p->theirs), 0);
}

static void end(struct pair *p)
{
	close(p->ours);
	pthread_join(p->keeper, NULL);
	close(p->theirs);
}

/* As the daemon asks; fds: up to two, -1 ends them. */
static int ask(struct pair *p, uint32_t close_id, const int fds[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))] = {0};
	struct keeper_backing request = {close_id};
	struct keeper_backing_answer answer = {1};
	struct iovec iov = {&request, sizeof(request)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t count = fds[0] < 0 ? 0 : fds[1] < 0 ? 1 : 2;
	uint8_t byte = 0;

	if (count > 0) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
							.cmsg_level = SOL_SOCKET,
							.cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, count * sizeof(int));
	}
	assert_int_equal(send(p->ours, &byte, 1, 0), 1);
	assert_int_equal(recv(p->ours, &byte, 1, 0), 1);
	assert_int_equal(sendmsg(p->ours, &msg, 0), sizeof(request));
	assert_int_equal(recv(p->ours, &answer, sizeof(answer), 0), sizeof(answer));
	return answer.code;
}

static int memory_file(int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

/* One that was never mounted: the kernel itself refuses it, once everything else is right. */
static int connection(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip();
	return fd;
}

static void test_only_sealed_memory(void **state)
{
	static const int lacking[] = {0,
				      F_SEAL_SEAL,
				      ALL_SEALS & ~F_SEAL_WRITE,
				      ALL_SEALS & ~F_SEAL_GROW,
				      ALL_SEALS & ~F_SEAL_SHRINK,
				      ALL_SEALS & ~F_SEAL_SEAL};
	int fuse = connection(), file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), sealed, code;
	struct pair p;

	begin(&p);
	for (size_t i = 0; i < ARRAY_LEN(lacking); i++) {
		int fd = memory_file(lacking[i]);

		assert_int_equal(ask(&p, 0, (const int[]){fuse, fd}), -EINVAL);
		close(fd);
	}
	assert_int_equal(ask(&p, 0, (const int[]){fuse, file}), -EINVAL);
	assert_int_equal(ask(&p, 0, (const int[]){fuse, -1}), -EINVAL);
	sealed = memory_file(ALL_SEALS);
	code = ask(&p, 0, (const int[]){fuse, sealed});
	assert_true(code == -EPERM || code == -ENOTTY || code == -EOPNOTSUPP);
	close(sealed);
	close(file);
	close(fuse);
	end(&p);
}

static void test_only_a_connection(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), sealed = memory_file(ALL_SEALS);
	struct pair p;

	begin(&p);
	assert_int_equal(ask(&p, 0, (const int[]){null, sealed}), -EBADF);
	assert_int_equal(ask(&p, 0, (const int[]){sealed, sealed}), -EBADF);
	assert_int_equal(ask(&p, 7, (const int[]){null, -1}), -EBADF);
	assert_int_equal(ask(&p, 7, (const int[]){-1, -1}), -EBADF);
	close(null);
	close(sealed);
	end(&p);
}

static void count_open(unsigned *ret)
{
	*ret = 0;
	for (int fd = 0; fd < 256; fd++)
		*ret += fcntl(fd, F_GETFD) >= 0;
}

/* A copy of the connection would keep the mount alive after the daemon's death. */
static void test_keeps_no_descriptor(void **state)
{
	int fuse = connection(), sealed = memory_file(ALL_SEALS);
	unsigned before, after;
	struct pair p;

	begin(&p);
	count_open(&before);
	for (int i = 0; i < 3; i++)
		(void)ask(&p, 0, (const int[]){fuse, sealed});
	/* It closes after its answer, and before the next request. */
	(void)ask(&p, 7, (const int[]){-1, -1});
	(void)ask(&p, 7, (const int[]){-1, -1});
	count_open(&after);
	assert_int_equal(before, after);
	close(sealed);
	close(fuse);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_sealed_memory),
		cmocka_unit_test(test_only_a_connection),
		cmocka_unit_test(test_keeps_no_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
