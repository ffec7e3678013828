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
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define THREADS_MAX 32
#define READAHEAD_KIB "4096"
#define LINGER_MS 1500

struct mount {
	struct fuse_session *session;
	char *path; /* absolute */
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

/* One escaped -o list. */
static int make_options(const struct config *c, char **ret)
{
	/* A relative path would mean nothing in /proc/mounts. */
	_cleanup_free_ char *absolute =
		source_spec_is_s3(c->source) ? NULL : realpath(c->source, NULL);
	const char *source = absolute ? absolute : c->source;
	int r = fuse_opt_add_opt(ret, "ro,nosuid,nodev,default_permissions");

	if (r == 0)
		r = add_named(ret, "fsname", c->fsname ? c->fsname : source);
	if (r == 0)
		r = add_named(ret, "subtype", c->subtype ? c->subtype : "sealedfs");
	if (r == 0 && c->allow_other)
		r = fuse_opt_add_opt(ret, "allow_other");
	if (r == 0 && c->allow_root)
		r = fuse_opt_add_opt(ret, "allow_root");
	for (size_t i = 0; r == 0 && i < c->kernel.count; i++)
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

int mount_start(const struct config *config, struct ops_context *ops, struct mount **ret,
		struct error *err)
{
	_cleanup_(mount_freep) struct mount *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->signal_fd = m->ended_fd = -1;
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
	if (fuse_session_mount(m->session, m->path) < 0) {
		error_hint(err, "FUSE needs /dev/fuse and, for other users than root, fusermount3");
		return error_set(err, -EIO, "cannot mount on %s: %s", m->path,
				 last_fuse_message[0] ? last_fuse_message : "fusermount3 failed");
	}
	capture_fuse_messages = false;
	m->mounted = true;
	*ret = steal_ptr(m);
	return 0;
}

static void *run_loop(void *arg)
{
	struct mount *m = arg;
	uint64_t one = 1;
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
	if (stat(m->path, &st) < 0)
		return error_set(err, -errno, "%s is mounted but does not answer: %s", m->path,
				 strerror(errno));
	raise_readahead(st.st_dev);
	return 0;
}

/* True when the session has ended; false on a signal or after timeout_ms (-1: none). */
static bool wait_for_end(struct mount *m, int timeout_ms, bool with_signals)
{
	struct pollfd fds[2] = {
		{.fd = m->ended_fd, .events = POLLIN},
		{.fd = with_signals ? m->signal_fd : -1, .events = POLLIN},
	};
	int n;

	do
		n = poll(fds, ARRAY_LEN(fds), timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0 && (fds[0].revents & POLLIN);
}

bool mount_wait(struct mount *m)
{
	return wait_for_end(m, -1, true);
}

/* Without root only the set-uid helper may unmount. */
static void detach(struct mount *m)
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

bool mount_stop(struct mount *m)
{
	if (!m->looping)
		return true;
	if (!wait_for_end(m, 0, false)) {
		detach(m);
		if (!wait_for_end(m, LINGER_MS, false))
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
	if (m->mounted && !m->looping)
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
