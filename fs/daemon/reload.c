/*
 * Reloads. Job: one at a time, in a thread that no request waits for, and then the kernel's memory
 * of names. Trusts the catalog to keep what is open.
 */
#include "fs/reload.h"

#include "crypto/base/log.h"
#include "fs/ops_changes.h"
#include "fs/read/monotonic.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

#define ASK_PAUSE_MS 20
#define ASK_MS 600000

struct reload {
	const struct listing *listing;
	struct ops_context *ops;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool running, again, ended;
};

int reload_new(const struct listing *listing, struct ops_context *ops, struct reload **ret)
{
	struct reload *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->listing = listing;
	r->ops = ops;
	pthread_mutex_init(&r->lock, NULL);
	monotonic_cond_init(&r->changed);
	*ret = r;
	return 0;
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static int reload_once(struct reload *r, struct error *err)
{
	const struct listing *l = r->listing;
	struct generation *g = NULL, *old = NULL;
	int code = listing_read(l, NULL, &g, err);

	if (code < 0)
		return code;
	listing_log(l, g);
	(void)listing_unlock(l, g, NULL, err);
	catalog_commit(l->catalog, g, &old);
	ops_listing_changed(r->ops, old, g);
	catalog_release(l->catalog, old);
	catalog_reap(l->catalog);
	return 0;
}

/* The outcome is there for whoever asked before the service manager hears of it. */
static void reload_and_tell(struct reload *r)
{
	const struct listing *l = r->listing;
	struct error err = {0};
	struct generation *g;
	int code;

	notify_reloading(l->notify);
	code = reload_once(r, &err);
	if (code < 0)
		log_error_object(LOG_ERR, &err, code, "the listing stays as it was");
	else
		log_notice("read the listing again");
	atomic_store(&r->ops->reload_failed, code < 0);
	atomic_fetch_add(&r->ops->reloads, 1);
	g = catalog_acquire(l->catalog);
	listing_show_status(l, g);
	catalog_release(l->catalog, g);
	notify_ready(l->notify);
}

static void *run(void *arg)
{
	struct reload *r = arg;

	pthread_mutex_lock(&r->lock);
	do {
		r->again = false;
		pthread_mutex_unlock(&r->lock);
		reload_and_tell(r);
		pthread_mutex_lock(&r->lock);
	} while (r->again && !r->ended);
	r->running = false;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

void reload_begin(struct reload *r)
{
	pthread_attr_t detached;
	pthread_t thread;

	pthread_mutex_lock(&r->lock);
	if (r->running || r->ended) {
		r->again = true;
	} else if (pthread_attr_init(&detached) == 0) {
		pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
		if (pthread_create(&thread, &detached, run, r) == 0)
			r->running = true;
		else
			log_error("cannot start a thread to read the listing");
		pthread_attr_destroy(&detached);
	}
	pthread_mutex_unlock(&r->lock);
}

bool reload_end(struct reload *r, unsigned wait_ms)
{
	uint64_t deadline = monotonic_ms() + wait_ms;
	bool over;

	pthread_mutex_lock(&r->lock);
	r->ended = true;
	while (r->running && monotonic_cond_wait(&r->changed, &r->lock, deadline) == 0)
		;
	over = !r->running;
	pthread_mutex_unlock(&r->lock);
	return over;
}

static int get_attribute(const char *path, const char *name, char *buf, size_t size,
			 struct error *err)
{
	ssize_t n = getxattr(path, name, buf, size - 1);

	if (n < 0) {
		error_hint(err, "is it the mount point itself?");
		return error_set(err, -errno, "%s: no sealedfs answers there: %s", path,
				 strerror(errno));
	}
	buf[n] = '\0';
	return 0;
}

/* systemd tells who the main process is; else the mount does. */
static int find_daemon(const char *mountpoint, pid_t *ret, struct error *err)
{
	const char *text = getenv("MAINPID");
	char buf[32], *end = NULL;
	long pid;

	if (!text) {
		int r = get_attribute(mountpoint, RELOAD_PID_ATTRIBUTE, buf, sizeof(buf), err);

		if (r < 0)
			return r;
		text = buf;
	}
	errno = 0;
	pid = strtol(text, &end, 10);
	if (errno || *end || pid <= 1 || pid > INT32_MAX)
		return error_set(err, -EINVAL, "not a process: \"%.20s\"", text);
	*ret = (pid_t)pid;
	return 0;
}

int reload_ask(const char *mountpoint, struct error *err)
{
	struct timespec pause = {.tv_nsec = ASK_PAUSE_MS * 1000000L};
	uint64_t end_ms = monotonic_ms() + ASK_MS;
	char before[32], now[32];
	pid_t pid = 0;
	int r = get_attribute(mountpoint, RELOAD_ATTRIBUTE, before, sizeof(before), err);

	if (r == 0)
		r = find_daemon(mountpoint, &pid, err);
	if (r < 0)
		return r;
	if (kill(pid, SIGHUP) < 0)
		return error_set(err, -errno, "cannot signal process %d: %s", (int)pid,
				 strerror(errno));
	do {
		(void)nanosleep(&pause, NULL);
		r = get_attribute(mountpoint, RELOAD_ATTRIBUTE, now, sizeof(now), err);
	} while (r == 0 && strcmp(before, now) == 0 && monotonic_ms() < end_ms);
	if (r < 0)
		return r;
	if (strcmp(before, now) == 0)
		return error_set(err, -ETIMEDOUT, "%s: no new listing in %d s", mountpoint,
				 ASK_MS / 1000);
	if (strstr(now, "failed")) {
		error_hint(err, "its log says why");
		return error_set(err, -EIO, "%s: the listing could not be read", mountpoint);
	}
	return 0;
}
