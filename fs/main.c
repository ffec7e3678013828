/*
 * sealedfs, the daemon. Job: command line, log, background, exit code. Everything else is in
 * daemon.h. An error is printed here, once.
 */
#include "crypto/backend.h"
#include "crypto/base/fileio.h"
#include "crypto/base/log.h"
#include "crypto/base/secret.h"
#include "fs/config/config.h"
#include "fs/daemon/daemon.h"
#include "fs/fuse/session.h"
#include "fs/mount/keeper_process.h"
#include "fs/mount/mount_point.h"
#include "fs/mount/reload_ask.h"
#include "fs/service/signals.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define DESCRIPTORS_MIN 128

static enum exit_code fail(const struct error *err, int code)
{
	log_error_object(LOG_ERR, err, code, NULL);
	return error_exit_code(code);
}

static enum exit_code run(const struct config *config, struct launch *launch)
{
	_cleanup_(notify_freep) struct notify *notify = NULL;
	_cleanup_(daemon_freep) struct daemon *d = NULL;
	struct error err = {0};
	int r = notify_new(&notify, &err);

	if (r == 0)
		r = daemon_prepare(config, notify, &d, &err);
	if (r == 0)
		r = daemon_run(d, launch, &err);
	if (r == 0)
		return EXIT_CODE_OK;
	if (r == -ENOMEM && err.code == 0) {
		error_hint(&err, "see memory= of the mount, MemoryMax= of the unit, ulimit -v");
		(void)error_set(&err, r, "not enough memory");
	}
	/* The service manager shows the status of a failed unit too. */
	if (notify)
		notify_status(notify, "Failed: %s", error_text(&err, r));
	return fail(&err, r);
}

/* One for each thread that reads, and a connection for each request to S3. */
static int need_descriptors(struct error *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS_MIN)
		return 0;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)DESCRIPTORS_MIN);
	if (limit.rlim_cur == DESCRIPTORS_MIN && setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return 0;
	error_hint(err, "ulimit -n, or LimitNOFILE= of the unit");
	return error_set(err, -EMFILE, "a mount needs %d descriptors, and may open only %ju",
			 DESCRIPTORS_MIN, (uintmax_t)limit.rlim_cur);
}

static enum exit_code mount_it(const struct config *config)
{
	struct launch launch = {.report_fd = -1};
	struct error err = {0};
	enum exit_code code;
	int r;

	/* Then the call that met a limit has an error, and whoever made it goes on without. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	r = need_descriptors(&err);
	if (r == 0)
		r = launch_start(&launch, config->foreground, &err);
	if (r < 0)
		return fail(&err, r);
	code = run(config, &launch);
	if (code != EXIT_CODE_OK)
		launch_failed(&launch, code);
	if (code == EXIT_CODE_OK && config->foreground && mount_interrupted())
		signals_die(SIGINT);
	return code;
}

static enum exit_code unmount(const struct config *config)
{
	const char *subtype = config->subtype ? config->subtype : "sealedfs";
	struct error err = {0};
	int r = mount_point_remove_dead(config->mountpoint, subtype, &err);

	return r < 0 ? fail(&err, r) : EXIT_CODE_OK;
}

static enum exit_code reload(const struct config *config)
{
	struct error err = {0};
	int r = reload_ask(config->mountpoint, &err);

	return r < 0 ? fail(&err, r) : EXIT_CODE_OK;
}

static void print_version(void)
{
	char backends[CRYPTO_BACKEND_TEXT_SIZE];

	crypto_backend_text(backends);
	printf("sealedfs %s (libfuse %s)\n%s\n", SEALEDFS_VERSION, fuse_pkgversion(), backends);
}

/* What was asked for was printed, or got lost. */
static enum exit_code printed(void)
{
	struct error err = {0};

	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_CODE_OK;
	return fail(&err,
		    error_set(&err, -EIO, "cannot write to standard output: %s", strerror(errno)));
}

int main(int argc, char **argv)
{
	_cleanup_(config_clear) struct config config = {0};
	struct error err = {0};
	int r;

	if (file_open_standard() < 0)
		return EXIT_CODE_FAILURE;
	log_setup("sealedfs", LOG_NOTICE, false);
	keeper_title_area(argc, argv);
	r = process_protect_secrets();
	if (r < 0)
		return fail(&err, error_set(&err, r, "cannot keep keys out of core files"));
	r = config_parse(&config, argc, argv, &err);
	if (r < 0)
		return fail(&err, r);
	log_setup("sealedfs", config_log_level(&config), false);
	switch (config.action) {
	case CONFIG_HELP:
		config_print_help(stdout);
		return printed();
	case CONFIG_VERSION:
		print_version();
		return printed();
	case CONFIG_NOTHING:
		return EXIT_CODE_OK;
	case CONFIG_UNMOUNT:
		return unmount(&config);
	case CONFIG_RELOAD:
		return reload(&config);
	default:
		return mount_it(&config);
	}
}
