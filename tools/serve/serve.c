/*
 * The endpoint's life. Job: make the parts in order, and end in order. What it may do from then on
 * is confined before it talks to anybody: files are read only, but for the TPM's lock and the
 * folder of its own socket.
 */
#include "tools/serve/serve.h"

#include "attest/runtime_dir.h"
#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "crypto/base/thread.h"
#include "fs/service/confine.h"
#include "fs/service/notify.h"
#include "fs/service/signals.h"
#include "tools/serve/serve_http.h"
#include "tools/serve/serve_listen.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define TICK_MS 2000
#define LINGER_S 5 /* for answers that are being made when the signal comes */
#define DEVICE_TCTI "device:"

struct serving {
	const struct serve_options *options;
	struct notify *notify;
	struct serve_site *site;
	struct serve_http *http;
	char place[SERVE_PLACE_SIZE];
	int signal_fd, listen_fd;
};

/* What may be written: the folder of the TPM's lock, and that of the socket, to remove it. */
static int confine(const struct serving *s, struct error *err)
{
	const char *path = serve_unix_path(s->options->place),
		   *slash = path ? strrchr(path, '/') : NULL;
	const char *tcti = s->options->site.evidence.tcti;
	_cleanup_free_ char *folder = slash ? strndup(path, (size_t)MAX(slash - path, 1)) : NULL;
	const char *const root[] = {"/"}, *const writable[] = {runtime_dir(), folder};
	const char *const devices[] = {"/dev/tpmrm0", "/dev/tpm0",
				       tcti && strncmp(tcti, DEVICE_TCTI, strlen(DEVICE_TCTI)) == 0
					       ? tcti + strlen(DEVICE_TCTI)
					       : "/dev/null"};
	char lock[PATH_MAX];
	int r;

	if (slash && !folder)
		return -ENOMEM;
	(void)snprintf(lock, sizeof(lock), "%s/x", runtime_dir());
	r = runtime_parent_make(lock, err);
	if (r < 0)
		return r;
	return confine_server(&(struct confine_files){.read_only = root,
						      .read_only_count = ARRAY_LEN(root),
						      .writable = writable,
						      .writable_count = ARRAY_LEN(writable),
						      .devices = devices,
						      .device_count = ARRAY_LEN(devices)},
			      err);
}

static int start(struct serving *s, struct error *err)
{
	int r = signals_block(&s->signal_fd, err);

	if (r == 0)
		r = notify_new(&s->notify, err);
	if (r == 0)
		r = serve_site_new(&s->options->site, &s->site, err);
	if (r == 0)
		r = serve_listen(s->options->place, &s->listen_fd, s->place, err);
	if (r == 0)
		r = confine(s, err);
	if (r == 0)
		r = serve_http_start(s->listen_fd, s->site, &s->http, err);
	if (r == 0)
		s->listen_fd = -1; /* taken over */
	return r;
}

/* Returns the signal that ends it. */
static int wait_for_end(struct serving *s)
{
	struct pollfd fd = {.fd = s->signal_fd, .events = POLLIN};

	for (;;) {
		int number = poll(&fd, 1, TICK_MS) > 0 ? signals_read(s->signal_fd) : 0;

		if (number == SIGINT || number == SIGTERM)
			return number;
		if (number == SIGHUP && isatty(STDERR_FILENO))
			return SIGTERM;
		serve_http_expire(s->http);
	}
}

static void *stop(void *arg)
{
	serve_http_stop(arg);
	return NULL;
}

/* False: a TPM or a mount does not answer. */
static bool finish(struct serving *s)
{
	struct timespec end;
	pthread_t thread;

	notify_stopping(s->notify);
	if (thread_start(&thread, stop, s->http, NULL) < 0)
		return false;
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += LINGER_S;
	return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &end) == 0;
}

static void clear(struct serving *s)
{
	serve_site_free(s->site);
	notify_free(s->notify);
	closep(&s->listen_fd);
	closep(&s->signal_fd);
}

int serve_run(const struct serve_options *options, struct error *err)
{
	_cleanup_(clear) struct serving s = {.options = options, .signal_fd = -1, .listen_fd = -1};
	const char *path = serve_unix_path(options->place);
	int r = start(&s, err), number = 0;
	bool idle = true;

	if (r == 0) {
		log_notice("serving evidence on %s", s.place);
		notify_status(s.notify, "Serving evidence on %s", s.place);
		notify_ready(s.notify);
		number = wait_for_end(&s);
		idle = finish(&s);
	}
	if (path && s.place[0])
		(void)unlink(path);
	if (r < 0)
		return r;
	if (number == SIGINT)
		signals_die(number);
	/* Only answers without a receiver are unfinished. */
	if (!idle)
		_exit(EXIT_CODE_OK);
	return 0;
}
