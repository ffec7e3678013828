/*
 * The FUSE session. Job: mount, serve, and unmount without leaving a process hanging. Trusts
 * libfuse and the kernel.
 *
 * Ending with busy readers: the mount point is detached, so that no new reader can come in. Readers
 * get a few seconds to finish; then reads fail while the session still answers. A process that
 * populates a mapping at that moment keeps asking the dead connection until it is killed: the
 * kernel does not end its loop otherwise.
 */
#include "fs/fuse/session.h"

#include "crypto/base/log.h"
#include "crypto/base/thread.h"
#include "fs/fuse/mount_options.h"
#include "fs/fuse/passthrough.h"
#include "fs/mount/mount_point.h"
#include "fs/mount/mount_table.h"
#include "fs/service/signals.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Requests to S3 wait in these threads. For local files 2 to 8 would suffice: 0.78 to 0.81 of the
 * throughput of a server that does nothing, 0.78 with 32, 0.73 with clone_fd (fs/read/README.md).
 */
#define THREADS_MAX 32
#define LINGER_MS 1500
#define SLICE_NS UINT64_C(10000000)

struct mount {
	struct fuse_session *session;
	struct keeper *keeper; /* borrowed; NULL: none */
	char *path;	       /* absolute */
	int signal_fd;	       /* borrowed */
	int ended_fd;
	int begun_fd; /* the kernel's first request was answered */
	pthread_t loop;
	bool mounted, looping, begun, detached;
	atomic_int loop_code;  /* negative: the session failed. Set before ended_fd */
	enum mount_event told; /* by a signal while mounting; MOUNT_TIMEOUT: by none */
};

/* libfuse's last error message, for our own; read when it is no longer written. */
static char last_fuse_message[256];
static atomic_bool capture_fuse_messages;
static atomic_bool threads_lacked;

static void warn_of_threads(void)
{
	log_warning("requests are answered by fewer threads than planned: no more can be started");
}

_printf_(2, 0) static void fuse_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char line[sizeof(last_fuse_message)];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	if (atomic_load(&capture_fuse_messages) && level <= FUSE_LOG_ERR)
		memcpy(last_fuse_message, line, sizeof(line));
	else
		log_debug("%s", line);
	if (strstr(line, "creating thread") && !atomic_exchange(&threads_lacked, true) &&
	    !atomic_load(&capture_fuse_messages))
		warn_of_threads();
}

static bool interrupted; /* by SIGINT; of the thread that waits */

static int make_session(struct mount *m, const struct config *config, struct ops_context *ops,
			struct error *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	_cleanup_free_ char *options = NULL;
	int r = mount_options(config, &options);

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

static void refuse_residents(struct residents *residents, const char *why)
{
	struct error err = {0};

	error_set(&err, -EOPNOTSUPP, "models cannot be resident: %s", why);
	residents_allow(residents, &err);
}

static int mount_by_keeper(struct mount *m, struct ops_context *ops, struct error *err)
{
	char name[32];
	int fd = -1, r = keeper_mount(m->keeper, &fd, err);

	if (r < 0)
		return r;
	m->mounted = true;
	if (ops->residents && passthrough_start(ops, fd))
		return 0;
	if (ops->residents)
		refuse_residents(ops->residents, "it takes libfuse 3.13 or later");
	/* This tells libfuse that the mount exists; libfuse owns the descriptor now. */
	(void)snprintf(name, sizeof(name), "/dev/fd/%d", fd);
	if (fuse_session_mount(m->session, name) < 0) {
		close(fd);
		return error_set(err, -EIO, "cannot start FUSE: %s", last_fuse_message);
	}
	return 0;
}

/* Where libfuse looks for it: its own directory, usually /usr/bin, and PATH. */
static bool has_fusermount(void)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	if (access("/usr/bin/fusermount3", X_OK) == 0)
		return true;
	for (size_t n; path && *path; path += n + (path[n] == ':')) {
		n = strcspn(path, ":");
		if (snprintf(file, sizeof(file), "%.*s/fusermount3", (int)n, path) <
			    (int)sizeof(file) &&
		    access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static int mount_by_libfuse(struct mount *m, struct ops_context *ops, struct error *err)
{
	if (ops->residents)
		refuse_residents(ops->residents,
				 "it takes the privilege to mount (CAP_SYS_ADMIN) at start");
	if (access("/dev/fuse", F_OK) < 0) {
		keeper_hint_no_fuse(err);
		return error_set(err, -ENOENT, "cannot mount on %s: there is no /dev/fuse",
				 m->path);
	}
	if (fuse_session_mount(m->session, m->path) < 0) {
		/* libfuse's own message needs no guess beside it. */
		if (last_fuse_message[0])
			return error_set(err, -EIO, "cannot mount on %s: %s", m->path,
					 last_fuse_message);
		/* Where it is, it has told the reason on standard error. */
		if (!has_fusermount())
			error_hint(err, "other users than root need fusermount3 (Debian: package "
					"fuse3)");
		return error_set(err, -EIO, "cannot mount on %s: fusermount3 failed", m->path);
	}
	m->mounted = true;
	return 0;
}

int mount_start(const struct config *config, struct ops_context *ops, struct keeper *keeper,
		int signal_fd, struct mount **ret, struct error *err)
{
	_cleanup_(mount_freep) struct mount *m = calloc(1, sizeof(*m));
	_cleanup_close_ int dir_fd = -1;
	int r = 0;

	if (!m)
		return -ENOMEM;
	m->signal_fd = signal_fd;
	m->told = MOUNT_TIMEOUT;
	m->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->begun_fd = ops->begun_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->keeper = keeper;
	if (m->ended_fd < 0 || m->begun_fd < 0)
		return error_set(err, -errno, "cannot make an event descriptor: %s",
				 strerror(errno));
	if (!keeper)
		r = mount_point_open(config->mountpoint, config->make_mountpoint,
				     config->subtype ? config->subtype : "sealedfs", &dir_fd,
				     &m->path, err);
	if (r < 0)
		return r;
	fuse_set_log_func(fuse_message);
	atomic_store(&capture_fuse_messages, true);
	r = make_session(m, config, ops, err);
	if (r < 0)
		return r;
	ops->session = m->session;
	r = keeper ? mount_by_keeper(m, ops, err) : mount_by_libfuse(m, ops, err);
	if (r < 0)
		return r;
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
 * A reader that has got its pages should run at once and request the next ones, before our threads
 * start another chunk. With SCHED_BATCH, our threads do not preempt it when they are woken: 0.85 of
 * the throughput of a server that does nothing, instead of 0.60. With a slice longer than the
 * reader's, the reader preempts them (Linux 6.12 and later): 0.89 instead of 0.79. Threads inherit
 * both.
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
	m->loop_code = fuse_session_loop_mt(m->session, config);
	fuse_loop_cfg_destroy(config);
#else
	struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = THREADS_MAX};

	m->loop_code = fuse_session_loop_mt(m->session, &config);
#endif
	if (write(m->ended_fd, &one, sizeof(one)) != sizeof(one))
		log_debug("cannot tell the main thread that the session has ended");
	return NULL;
}

static void raise_readahead(dev_t device)
{
	char text[MOUNT_TABLE_DEVICE_SIZE];
	int r;

	(void)snprintf(text, sizeof(text), "%u:%u", major(device), minor(device));
	r = mount_raise_readahead(text);
	if (r < 0)
		log_debug("the readahead of %s is not raised: %s", text, strerror(-r));
}

static bool is_readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* True when the session has ended. */
static bool has_ended(const struct mount *m, int timeout_ms)
{
	return is_readable(m->ended_fd, timeout_ms);
}

bool mount_interrupted(void)
{
	return interrupted;
}

enum mount_event mount_wait(struct mount *m, int fd, int timeout_ms)
{
	struct pollfd fds[] = {
		{.fd = m->ended_fd, .events = POLLIN},
		{.fd = m->signal_fd, .events = POLLIN},
		{.fd = fd, .events = POLLIN},
	};
	enum mount_event told = m->told;
	int n, number;

	m->told = MOUNT_TIMEOUT;
	if (told != MOUNT_TIMEOUT)
		return told;
	do
		n = poll(fds, ARRAY_LEN(fds), timeout_ms);
	while (n < 0 && errno == EINTR);
	if (fds[0].revents)
		return MOUNT_ENDED;
	number = fds[1].revents ? signals_read(m->signal_fd) : 0;
	interrupted = interrupted || number == SIGINT;
	if (number)
		return number == SIGHUP ? MOUNT_HANGUP : MOUNT_STOP;
	return fds[2].revents ? MOUNT_READABLE : MOUNT_TIMEOUT;
}

/* An access to the mount would wait forever if the loop had not started. */
static int wait_for_begin(struct mount *m, struct error *err)
{
	enum mount_event event, told = MOUNT_TIMEOUT;

	while ((event = mount_wait(m, m->begun_fd, -1)) != MOUNT_READABLE && event != MOUNT_ENDED)
		told = event;
	atomic_store(&capture_fuse_messages, false);
	m->told = told;
	/* Both events may have come before the poll. */
	m->begun = event == MOUNT_READABLE || is_readable(m->begun_fd, 0);
	if (m->begun && atomic_load(&threads_lacked))
		warn_of_threads();
	if (m->begun)
		return 0;
	error_hint(err,
		   "raise the limit on processes and threads: ulimit -u, TasksMax= of the unit, "
		   "pids.max of the control group");
	return error_set(err, -ENOMEM, "the session ended before it started: %s",
			 last_fuse_message[0] ? last_fuse_message : "the kernel closed it");
}

/* Unmounted from outside. A session that never started, or failed, has left its mount point. */
static bool was_unmounted(const struct mount *m)
{
	return !m->detached && has_ended(m, 0) && m->begun && m->loop_code >= 0;
}

int mount_serve(struct mount *m, struct error *err)
{
	struct stat st;
	int r = thread_start(&m->loop, run_loop, m, err);

	if (r < 0)
		return r;
	m->looping = true;
	r = wait_for_begin(m, err);
	if (r < 0 || was_unmounted(m))
		return r;
	if (m->keeper)
		return keeper_probe(m->keeper, err);
	if (stat(m->path, &st) < 0)
		return error_set(err, -errno, "%s is mounted but does not answer: %s", m->path,
				 strerror(errno));
	raise_readahead(st.st_dev);
	return 0;
}

static void detach(struct mount *m)
{
	struct error err = {0};

	if (!m->keeper)
		(void)mount_point_detach(m->path);
	else if (keeper_detach(m->keeper, &err) < 0)
		log_error_object(LOG_ERR, &err, err.code, NULL);
}

int mount_result(const struct mount *m, struct error *err)
{
	if (!has_ended(m, 0) || m->loop_code >= 0)
		return 0;
	return error_set(err, -EIO, "the FUSE session failed: %s", strerror(-m->loop_code));
}

bool mount_detach(struct mount *m, unsigned wait_ms)
{
	if (!m->detached && !was_unmounted(m)) {
		m->detached = true;
		detach(m);
	}
	return has_ended(m, (int)wait_ms);
}

bool mount_stop(struct mount *m)
{
	if (!m->looping)
		return true;
	if (was_unmounted(m)) {
		if (m->keeper)
			keeper_forget(m->keeper);
	} else if (!mount_detach(m, LINGER_MS)) {
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
	/* A keeper removes its mount itself when the session no longer answers. */
	if (m->mounted && !m->looping && !m->keeper)
		fuse_session_unmount(m->session);
	if (m->session && !m->looping)
		fuse_session_destroy(m->session);
	if (m->ended_fd >= 0)
		close(m->ended_fd);
	if (m->begun_fd >= 0)
		close(m->begun_fd);
	free(m->path);
	free(m);
}
