/*
 * The FUSE session. Job: mount, serve, unmount so that nobody is left hanging. Trusts libfuse and
 * the kernel.
 *
 * Ending with busy readers: the mount point is detached first, so that nobody new comes in; then
 * reads fail, and readers that populate a mapping are let out by the breaker, while the session
 * goes on answering for a short time. Only then may the process end: a populate loop on a dead
 * connection spins for ever.
 */
#include "fs/mount.h"

#include "crypto/base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Requests to S3 wait in their threads. For local files 2 to 8 would do: 0.78 to 0.81 of a server
 * that does nothing, against 0.78 with 32; clone_fd 0.73 (fs/read/README.md). */
#define THREADS_MAX 32
#define READAHEAD_KIB "4096" /* as in keeper_process.c */
#define LINGER_MS 1500
#define SLICE_NS UINT64_C(10000000)

struct mount {
	struct fuse_session *session;
	struct keeper *keeper; /* borrowed; NULL: none */
	char *path;	       /* absolute */
	int signal_fd, ended_fd;
	pthread_t loop;
	bool mounted, looping;
};

/* libfuse's last complaint, for our own error message. Written by one thread, before the loop. */
static char last_fuse_message[256];
static bool capture_fuse_messages;

_printf_(2, 0) static void fuse_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[sizeof(last_fuse_message)];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	if (capture_fuse_messages && level <= FUSE_LOG_ERR)
		memcpy(last_fuse_message, line, sizeof(line));
	else
		log_debug("%s", line);
}

static int check_mountpoint(const struct config *config, char **ret_path, struct error *err)
{
	const char *at = config->mountpoint;
	struct statvfs fs;
	struct stat st;

	/* Of a dead mount the kernel may still know the attributes, but nobody tells its size. */
	if (stat(at, &st) < 0 || statvfs(at, &fs) < 0) {
		int r = -errno;

		if (r == -ENOENT)
			error_hint(err, "make it first: mkdir -p %s", at);
		if (r == -ENOTCONN)
			error_hint(err, "a daemon died there; clean up with: umount -l %s", at);
		return error_set(err, r, "mount point %s: %s", at,
				 r == -ENOTCONN ? "it is a dead mount" : strerror(-r));
	}
	if (!S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR, "mount point %s is not a directory", at);
	*ret_path = realpath(at, NULL);
	return *ret_path ? 0 : error_set(err, -errno, "mount point %s: %s", at, strerror(errno));
}

static int add_named(char **options, const char *name, const char *value)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "%s=%s", name, value) < 0)
		return -ENOMEM;
	return fuse_opt_add_opt_escaped(options, text) < 0 ? -ENOMEM : 0;
}

/* A relative path would mean nothing in /proc/mounts. */
static char *shown_source(const struct config *c)
{
	char *absolute = NULL;

	if (!c->fsname && !source_spec_is_s3(c->source))
		absolute = realpath(c->source, NULL);
	return absolute ? absolute : strdup(c->fsname ? c->fsname : c->source);
}

/* One escaped -o list. */
static int make_options(const struct config *c, char **ret)
{
	_cleanup_free_ char *source = shown_source(c);
	int r = source ? fuse_opt_add_opt(ret, "ro,nosuid,nodev,default_permissions") : -1;

	if (r == 0)
		r = add_named(ret, "fsname", source);
	if (r == 0)
		r = add_named(ret, "subtype", c->subtype ? c->subtype : "sealedfs");
	if (r == 0 && c->allow_other)
		r = fuse_opt_add_opt(ret, "allow_other");
	if (r == 0 && c->allow_root)
		r = fuse_opt_add_opt(ret, "allow_root");
	/* libfuse does not know nodiratime; no time of access is kept here anyway. */
	for (size_t i = 0; r == 0 && i < c->kernel.count; i++)
		if (strcmp(c->kernel.items[i], "nodiratime") != 0)
			r = fuse_opt_add_opt(ret, c->kernel.items[i]);
	return r < 0 ? -ENOMEM : 0;
}

static int make_session(struct mount *m, const struct config *config, struct ops_context *ops,
			struct error *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	_cleanup_free_ char *options = NULL;
	int r = make_options(config, &options);

	if (r == 0 && (fuse_opt_add_arg(&args, "sealedfs") < 0 ||
		       fuse_opt_add_arg(&args, "-o") < 0 || fuse_opt_add_arg(&args, options) < 0 ||
		       (config->debug && fuse_opt_add_arg(&args, "-d") < 0)))
		r = -ENOMEM;
	if (r == 0) {
		m->session = fuse_session_new(&args, &sealedfs_ops, sizeof(sealedfs_ops), ops);
		if (!m->session)
			r = error_set(err, -EINVAL, "cannot start FUSE: %s", last_fuse_message);
	}
	fuse_opt_free_args(&args);
	return r;
}

static int block_signals(struct mount *m)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	m->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return m->signal_fd < 0 || m->ended_fd < 0 ? -errno : 0;
}

int mount_plan(const struct config *config, struct keeper_mount *ret)
{
	static const struct {
		const char *name;
		unsigned long flag;
	} kernel[] = {
		{"noexec", MS_NOEXEC}, {"noatime", MS_NOATIME}, {"nodiratime", MS_NODIRATIME}};
	const char *subtype = config->subtype ? config->subtype : "sealedfs";

	*ret = (struct keeper_mount){
		.path = config->mountpoint,
		.make_directory = config->make_mountpoint,
		.flags = MS_RDONLY | MS_NOSUID | MS_NODEV,
		.allow_other = config->allow_other || config->allow_root,
	};
	for (size_t i = 0; i < config->kernel.count; i++)
		for (size_t k = 0; k < ARRAY_LEN(kernel); k++)
			if (strcmp(config->kernel.items[i], kernel[k].name) == 0)
				ret->flags |= kernel[k].flag;
	ret->source = shown_source(config);
	if (asprintf(&ret->type, "fuse.%s", subtype) < 0)
		ret->type = NULL;
	if (ret->source && ret->type)
		return 0;
	keeper_mount_clear(ret);
	return -ENOMEM;
}

static int mount_by_keeper(struct mount *m, struct error *err)
{
	char name[32];
	int fd = -1, r = keeper_mount(m->keeper, &fd, err);

	if (r < 0)
		return r;
	m->mounted = true;
	/* How libfuse is told that the mount is there already; the descriptor is its own now. */
	(void)snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	if (fuse_session_mount(m->session, name) < 0) {
		close(fd);
		return error_set(err, -EIO, "cannot start FUSE: %s", last_fuse_message);
	}
	return 0;
}

static int mount_by_libfuse(struct mount *m, struct error *err)
{
	if (fuse_session_mount(m->session, m->path) < 0) {
		error_hint(err, "FUSE needs /dev/fuse and, for other users than root, fusermount3");
		return error_set(err, -EIO, "cannot mount on %s: %s", m->path,
				 last_fuse_message[0] ? last_fuse_message : "fusermount3 failed");
	}
	m->mounted = true;
	return 0;
}

int mount_start(const struct config *config, struct ops_context *ops, struct keeper *keeper,
		struct mount **ret, struct error *err)
{
	_cleanup_(mount_freep) struct mount *m = calloc(1, sizeof(*m));
	int r = 0;

	if (!m)
		return -ENOMEM;
	m->signal_fd = m->ended_fd = -1;
	m->keeper = keeper;
	if (!keeper)
		r = check_mountpoint(config, &m->path, err);
	if (r < 0)
		return r;
	fuse_set_log_func(fuse_message);
	capture_fuse_messages = true;
	r = make_session(m, config, ops, err);
	if (r == 0)
		r = block_signals(m);
	if (r < 0)
		return r;
	ops->session = m->session;
	r = keeper ? mount_by_keeper(m, err) : mount_by_libfuse(m, err);
	if (r < 0)
		return r;
	capture_fuse_messages = false;
	*ret = steal_ptr(m);
	return 0;
}

/* As the kernel has it: glibc 2.36 does not know it, and <linux/sched/types.h> contradicts
 * <sched.h>. sched_setattr(2), first published size. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

/*
 * A reader that has got its pages is to go on at once, and ask for the next ones, before anybody
 * here begins another chunk. As batch work, our threads do not push it off its processor when they
 * are woken: 0.85 of a server that does nothing, against 0.60. With a slice longer than the
 * reader's it pushes them off theirs (Linux 6.12 and later): 0.89 against 0.79, and no more time in
 * which all is answered and nothing asked. Threads inherit both.
 */
static void let_readers_go_first(void)
{
	struct attributes a = {0};

	if (syscall(SYS_sched_getattr, 0, &a, (unsigned)sizeof(a), 0U) < 0 ||
	    (a.policy != SCHED_OTHER && a.policy != SCHED_BATCH))
		return;
	a.size = sizeof(a);
	a.policy = SCHED_BATCH;
	a.runtime_ns = SLICE_NS;
	if (syscall(SYS_sched_setattr, 0, &a, 0U) < 0)
		log_debug("threads are not batch work: %s", strerror(errno));
}

static void *run_loop(void *arg)
{
	struct mount *m = arg;
	uint64_t one = 1;

	let_readers_go_first();
#if FUSE_USE_VERSION >= 312
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
	fuse_loop_cfg_set_idle_threads(config, THREADS_MAX);
	(void)fuse_session_loop_mt(m->session, config);
	fuse_loop_cfg_destroy(config);
#else
	struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = THREADS_MAX};

	(void)fuse_session_loop_mt(m->session, &config);
#endif
	if (write(m->ended_fd, &one, sizeof(one)) != sizeof(one))
		log_debug("cannot tell the main thread that the session has ended");
	return NULL;
}

/* The kernel reads ahead 128 KiB at most unless it is told on the mount's own device. */
static void raise_readahead(dev_t device)
{
	char path[64];
	_cleanup_fclose_ FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(device),
		       minor(device));
	f = fopen(path, "we");
	if (!f || fputs(READAHEAD_KIB, f) < 0 || fflush(f) != 0)
		log_debug("%s: not raised: %s", path, strerror(errno));
}

int mount_serve(struct mount *m, struct error *err)
{
	struct stat st;
	int r = pthread_create(&m->loop, NULL, run_loop, m);

	if (r != 0)
		return error_set(err, -r, "cannot start a thread: %s", strerror(r));
	m->looping = true;
	if (m->keeper)
		return keeper_probe(m->keeper, err);
	if (stat(m->path, &st) < 0)
		return error_set(err, -errno, "%s is mounted but does not answer: %s", m->path,
				 strerror(errno));
	raise_readahead(st.st_dev);
	return 0;
}

/* True when the session has ended. */
static bool has_ended(struct mount *m, int timeout_ms)
{
	struct pollfd fd = {.fd = m->ended_fd, .events = POLLIN};
	int n;

	do
		n = poll(&fd, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

enum mount_event mount_wait(struct mount *m, int fd, int timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = m->ended_fd, .events = POLLIN},
		{.fd = m->signal_fd, .events = POLLIN},
		{.fd = fd, .events = POLLIN},
	};
	struct signalfd_siginfo info;
	int n;

	do
		n = poll(fds, ARRAY_LEN(fds), timeout_ms);
	while (n < 0 && errno == EINTR);
	if (fds[0].revents)
		return MOUNT_ENDED;
	if (fds[1].revents && read(m->signal_fd, &info, sizeof(info)) == sizeof(info))
		return info.ssi_signo == SIGHUP ? MOUNT_HANGUP : MOUNT_STOP;
	return fds[2].revents ? MOUNT_READABLE : MOUNT_TIMEOUT;
}

/* Without root only the set-uid helper may unmount. */
static void detach_by_helper(struct mount *m)
{
	char *argv[] = {(char *)(uintptr_t) "fusermount3",
			(char *)(uintptr_t) "-u",
			(char *)(uintptr_t) "-q",
			(char *)(uintptr_t) "-z",
			(char *)(uintptr_t) "--",
			m->path,
			NULL};
	pid_t pid;

	if (umount2(m->path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM)
		return;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
}

static void detach(struct mount *m)
{
	struct error err = {0};

	if (!m->keeper)
		detach_by_helper(m);
	else if (keeper_detach(m->keeper, &err) < 0)
		log_error_object(LOG_ERR, &err, err.code, NULL);
}

bool mount_stop(struct mount *m)
{
	if (!m->looping)
		return true;
	if (has_ended(m, 0)) {
		if (m->keeper)
			keeper_forget(m->keeper);
	} else {
		detach(m);
		if (!has_ended(m, LINGER_MS))
			return false;
	}
	pthread_join(m->loop, NULL);
	m->looping = false;
	return true;
}

void mount_free(struct mount *m)
{
	if (!m)
		return;
	/* A keeper's mount is its own to take away, once nobody answers. */
	if (m->mounted && !m->looping && !m->keeper)
		fuse_session_unmount(m->session);
	if (m->session && !m->looping)
		fuse_session_destroy(m->session);
	if (m->signal_fd >= 0)
		close(m->signal_fd);
	if (m->ended_fd >= 0)
		close(m->ended_fd);
	free(m->path);
	free(m);
}
