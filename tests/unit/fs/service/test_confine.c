/* fs/service/confine: each test confines a child process, which then tries what is forbidden and
 * what is not. In a sanitizer's build there is nothing to test. */
#include "fs/service/confine.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static struct {
	char top[64], source[80], file[96], stage[80], outside[80];
} at;

static int set_up(void **state)
{
	(void)snprintf(at.top, sizeof(at.top), "/tmp/sealedfs-confine.XXXXXX");
	if (!mkdtemp(at.top))
		return -1;
	(void)snprintf(at.source, sizeof(at.source), "%s/source", at.top);
	(void)snprintf(at.file, sizeof(at.file), "%s/file", at.source);
	(void)snprintf(at.stage, sizeof(at.stage), "%s/stage", at.top);
	(void)snprintf(at.outside, sizeof(at.outside), "%s/outside", at.top);
	if (mkdir(at.source, 0755) < 0 || mkdir(at.stage, 0755) < 0)
		return -1;
	close(open(at.file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	close(open(at.outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	return 0;
}

static int tear_down(void **state)
{
	(void)unlink(at.file);
	(void)unlink(at.outside);
	(void)rmdir(at.source);
	(void)rmdir(at.stage);
	return rmdir(at.top);
}

/* A child ends with the number of its first check that fails; 0: none. */
#define CHECK(condition)                                                           \
	do {                                                                       \
		if (!(condition)) {                                                \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, \
				strerror(errno));                                  \
			_exit(1);                                                  \
		}                                                                  \
	} while (0)
#define DENIED(call) CHECK((call) == -1 && (errno == EPERM || errno == EACCES))

static void *nothing(void *arg)
{
	return arg;
}

static void as_daemon(void)
{
	const char *read_only[] = {"/usr", "/lib", "/lib64", "/etc", "/proc", at.source, NULL};
	const char *writable[] = {at.stage}, *devices[] = {"/dev/null", "/dev/none"};

	CHECK(confine_daemon(&(struct confine_files){.read_only = read_only,
						     .read_only_count = ARRAY_LEN(read_only),
						     .writable = writable,
						     .writable_count = 1,
						     .devices = devices,
						     .device_count = ARRAY_LEN(devices)},
			     NULL) == 0);
}

static void no_programs_and_processes(void)
{
	char *argv[] = {(char *)(uintptr_t) "/bin/true", NULL};
	char byte = 0;
	struct iovec v = {&byte, 1};
	pid_t parent = getppid();

	as_daemon();
	DENIED(execve(argv[0], argv, NULL));
	DENIED(syscall(SYS_execveat, AT_FDCWD, argv[0], argv, NULL, 0));
	DENIED(fork());
	DENIED(vfork());
	CHECK(syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS);
	DENIED(ptrace(PTRACE_ATTACH, parent, NULL, NULL));
	DENIED(process_vm_readv(parent, &v, 1, &v, 1, 0));
	DENIED(kill(parent, SIGCONT));
	DENIED(kill(parent, 0));
	DENIED(syscall(SYS_pidfd_open, parent, 0));
	DENIED(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static void no_new_rights(void)
{
	as_daemon();
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == -1 && errno == EPERM);
	DENIED(setuid(0));
	DENIED(setgid(0));
	DENIED(mount("none", "/mnt", "tmpfs", 0, NULL));
	DENIED(umount2("/proc", MNT_DETACH));
	DENIED(unshare(CLONE_NEWUSER));
	DENIED(chroot("/"));
	DENIED(socket(AF_PACKET, SOCK_RAW, 0));
	DENIED(socket(AF_ALG, SOCK_SEQPACKET, 0));
	DENIED(syscall(SYS_bpf, 0, NULL, 0));
	DENIED(syscall(SYS_io_uring_setup, 1, NULL));
	DENIED(syscall(SYS_userfaultfd, 0));
	DENIED(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	DENIED(syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
	DENIED(syscall(SYS_memfd_create, "x", 0));
}

/* For models in memory: what can be executed stays denied. */
static void memory_files(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x0008U; /* MFD_NOEXEC_SEAL */

	CHECK(confine_daemon(&(struct confine_files){.memory_files = true}, NULL) == 0);
	CHECK(memfd_create("x", flags) >= 0 || errno == EINVAL);
	DENIED(memfd_create("x", 0));
	DENIED(memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	DENIED(memfd_create("x", flags | MFD_HUGETLB));
}

static void files_that_are_left(void)
{
	bool has_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
	char path[112];
	int fd;

	as_daemon();
	CHECK((fd = open(at.file, O_RDONLY)) >= 0 && close(fd) == 0);
	(void)snprintf(path, sizeof(path), "%s/new", at.stage);
	CHECK((fd = open(path, O_RDWR | O_CREAT, 0600)) >= 0 && close(fd) == 0);
	CHECK(truncate(path, 0) == -1 && errno == EPERM);
	CHECK(unlink(path) == 0);
	CHECK((fd = open("/dev/null", O_RDWR)) >= 0 && close(fd) == 0);
	CHECK((fd = open("/etc/passwd", O_RDONLY)) >= 0 && close(fd) == 0);
	if (!has_landlock)
		return;
	DENIED(open(at.outside, O_RDONLY));
	DENIED(open(at.file, O_RDWR));
	DENIED(unlink(at.file));
	DENIED(open("/etc/passwd", O_RDWR));
	DENIED(open("/root", O_RDONLY | O_DIRECTORY));
	DENIED(open("/dev/zero", O_RDONLY));
	(void)snprintf(path, sizeof(path), "%s/../outside", at.stage);
	DENIED(open(path, O_RDONLY));
	(void)snprintf(path, sizeof(path), "%s/node", at.stage);
	DENIED(mknod(path, S_IFREG | 0600, 0));
	DENIED(symlink("/", path));
}

static void threads_and_sockets(void)
{
	pthread_t thread;
	void *result = NULL;
	int fd;

	as_daemon();
	CHECK(pthread_create(&thread, NULL, nothing, &at) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == &at);
	CHECK((fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 && close(fd) == 0);
	CHECK((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) >= 0 && close(fd) == 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	DENIED(listen(fd, 1));
	free(malloc(1 << 20));
}

static void *execve_in_a_thread(void *arg)
{
	char *argv[] = {(char *)(uintptr_t) "/bin/true", NULL};

	return execve(argv[0], argv, NULL) == -1 && errno == EPERM ? arg : NULL;
}

static void later_threads_too(void)
{
	pthread_t thread;
	void *result = NULL;

	as_daemon();
	CHECK(pthread_create(&thread, NULL, execve_in_a_thread, &at) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == &at);
}

static void as_keeper(void)
{
	char *argv[] = {(char *)(uintptr_t) "/bin/true", NULL};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(confine_keeper(NULL) == 0);
	DENIED(execve(argv[0], argv, NULL));
	DENIED(fork());
	DENIED(socket(AF_INET, SOCK_STREAM, 0));
	DENIED(socket(AF_UNIX, SOCK_STREAM, 0));
	DENIED(connect(0, NULL, 0));
	DENIED(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	DENIED(mount("none", "/mnt", "tmpfs", 0, NULL));
	DENIED(unlink(at.file));
	DENIED(setuid(0));
	CHECK(umount2("/nowhere", MNT_DETACH) == -1 && errno == ENOENT);
}

static void in_a_child(void (*run)(void))
{
	int status = 0;
	pid_t pid;

#ifdef SEALEDFS_SANITIZED
	skip();
#endif
	pid = fork();
	if (pid == 0) {
		run();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHILD_TEST(f)                      \
	static void test_##f(void **state) \
	{                                  \
		in_a_child(f);             \
	}

CHILD_TEST(no_programs_and_processes)
CHILD_TEST(no_new_rights)
CHILD_TEST(memory_files)
CHILD_TEST(files_that_are_left)
CHILD_TEST(threads_and_sockets)
CHILD_TEST(later_threads_too)
CHILD_TEST(as_keeper)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_programs_and_processes),
		cmocka_unit_test(test_no_new_rights),
		cmocka_unit_test(test_memory_files),
		cmocka_unit_test(test_files_that_are_left),
		cmocka_unit_test(test_threads_and_sockets),
		cmocka_unit_test(test_later_threads_too),
		cmocka_unit_test(test_as_keeper),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
