/*
 * The filter of system calls. Job: allow what daemon and keeper need, by purpose, and nothing that
 * starts a program, reads another process or changes the user. Trusts libseccomp. Must be
 * installed before there are threads, or not at all.
 */
#include "fs/service/confine.h"

#include "crypto/base/log.h"

#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/prctl.h>

#ifdef SEALEDFS_SANITIZED

int confine_daemon(const struct confine_files *files, struct error *err)
{
	log_info("a build with a sanitizer is not confined");
	return 0;
}

int confine_server(const struct confine_files *files, struct error *err)
{
	return confine_daemon(files, err);
}

int confine_keeper(struct error *err)
{
	return 0;
}

#else

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PR_SET_VMA_NUMBER 0x53564d41 /* names of anonymous memory: newer C libraries */
#define MFD_NOEXEC_SEAL_FLAG 0x0008U /* Linux 6.3 */

/* What a running C program needs: memory, locks, time, its own signals, and to end. */
static const char *const basic[] = {
	"brk",
	"mmap",
	"munmap",
	"mremap",
	"mprotect",
	"madvise",
	"mincore",
	"mlock",
	"mlock2",
	"munlock",
	"memfd_secret",
	"ftruncate", /* keys */
	"futex",
	"set_robust_list",
	"rseq",
	"membarrier",
	"restart_syscall",
	"sched_yield",
	"sched_getaffinity",
	"getcpu",
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigtimedwait",
	"sigaltstack",
	"gettid",
	"getpid",
	"getppid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getresuid",
	"getresgid",
	"getgroups",
	"getrandom",
	"uname",
	"sysinfo",
	"getrusage",
	"prlimit64",
	"getrlimit",
	"exit",
	"exit_group",
};

/* Descriptors, whatever they are. */
static const char *const descriptors[] = {
	"read",	      "write",	     "readv",	     "writev",	 "pread64",	  "pwrite64",
	"preadv",     "pwritev",     "preadv2",	     "pwritev2", "close",	  "close_range",
	"lseek",      "fcntl",	     "dup",	     "dup2",	 "dup3",	  "fstat",
	"poll",	      "ppoll",	     "select",	     "pselect6", "epoll_create1", "epoll_ctl",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe",	  "pipe2",
	"sendto",     "sendmsg",     "sendmmsg",     "recvfrom", "recvmsg",	  "recvmmsg",
	"ioctl",
};

/* Files; Landlock decides which ones. */
static const char *const files_read[] = {
	"open",	      "openat",	   "openat2",  "access",     "faccessat",
	"faccessat2", "stat",	   "lstat",    "newfstatat", "statx",
	"statfs",     "fstatfs",   "readlink", "readlinkat", "getdents64",
	"getcwd",     "fadvise64", "getxattr", "fgetxattr",  "lgetxattr",
};

/* The stage, the measurement log. */
static const char *const files_write[] = {
	"flock", "fsync",   "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat",
	"mkdir", "mkdirat", "fchmod",	 "fchown", "umask",    "utimensat", "linkat",
};

/* Threads; libfuse's pipes; readers first (fs/fuse/session.c); servers. */
static const char *const daemon_only[] = {
	"set_tid_address", "sched_getattr", "sched_setattr", "sched_getparam", "sched_getscheduler",
	"splice",	   "tee",	    "vmsplice",	     "signalfd4",      "timerfd_create",
	"timerfd_settime", "connect",	    "bind",	     "getsockname",    "getpeername",
	"getsockopt",	   "setsockopt",    "shutdown",	     "socketpair",     "setsid",
	"accept4", /* nothing listens but what net= needs, and that does already */
	"chdir",	   "wait4",	    "capget", /* going to the background; the keeper's end
						       */
};

/* Its sockets listen already. */
static const char *const server_only[] = {"accept", "accept4"};

/* Mounting, and dropping the privileges for it. */
static const char *const keeper_only[] = {
	"fsopen", "fsconfig", "fsmount", "move_mount", "umount2", "capget", "capset", "setsid",
};

static int allow_each(scmp_filter_ctx ctx, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]), r;

		/* Unknown to this machine or this library. */
		if (number == __NR_SCMP_ERROR)
			continue;
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, number, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

#define ALLOW(ctx, names) allow_each(ctx, names, ARRAY_LEN(names))

static int allow_threads(scmp_filter_ctx ctx)
{
	static const int options[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA_NUMBER};
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_VSOCK};
	/* Flags are the first argument on all machines that we run on. A thread, not a process. */
	int r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* abort() and the like. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(options); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)options[i]));
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(families); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	return r;
}

static void release(scmp_filter_ctx *ctx)
{
	seccomp_release(*ctx);
}

enum role { DAEMON, SERVER, KEEPER };

static int allow_memory_files(scmp_filter_ctx ctx)
{
	return seccomp_rule_add(
		ctx, SCMP_ACT_ALLOW, SCMP_SYS(memfd_create), 1,
		SCMP_A1(SCMP_CMP_EQ, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL_FLAG));
}

static int filter(enum role role, bool memory_files, struct error *err)
{
	_cleanup_(release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = ctx ? ALLOW(ctx, basic) : -ENOMEM;

	if (r == 0)
		r = ALLOW(ctx, descriptors);
	if (r == 0)
		r = ALLOW(ctx, files_read);
	if (r == 0)
		r = role == KEEPER ? ALLOW(ctx, keeper_only) : ALLOW(ctx, daemon_only);
	if (r == 0 && role == SERVER)
		r = ALLOW(ctx, server_only);
	if (r == 0 && role != KEEPER)
		r = ALLOW(ctx, files_write);
	if (r == 0 && role != KEEPER)
		r = allow_threads(ctx);
	if (r == 0 && memory_files)
		r = allow_memory_files(ctx);
	if (r == 0)
		r = seccomp_load(ctx);
	return r < 0 ? error_set(err, r, "cannot filter system calls: %s", strerror(-r)) : 0;
}

static int confine(const struct confine_files *files, enum role role, struct error *err)
{
	int abi = 0, r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(err, -errno, "cannot give up privileges: %s", strerror(errno));
	r = confine_files(files, &abi);
	if (r < 0)
		return error_set(err, r, "cannot confine to files (Landlock): %s", strerror(-r));
	if (abi == 0)
		log_notice("this kernel has no Landlock: which files the daemon opens is not "
			   "confined");
	return filter(role, files->memory_files, err);
}

int confine_daemon(const struct confine_files *files, struct error *err)
{
	return confine(files, DAEMON, err);
}

int confine_server(const struct confine_files *files, struct error *err)
{
	return confine(files, SERVER, err);
}

int confine_keeper(struct error *err)
{
	return filter(KEEPER, false, err);
}

#endif
