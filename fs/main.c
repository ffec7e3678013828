/*
 * sealedfs, the daemon. Job: command line, log, background, exit code. Everything else is in
 * daemon.h. An error is printed here, once.
 */
#include "crypto/backend.h"
#include "crypto/base/log.h"
#include "crypto/base/secret.h"
#include "fs/config.h"
#include "fs/daemon.h"
#include "fs/keeper.h"
#include "fs/reload.h"

#include <fuse_lowlevel.h>
#include <signal.h>

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
	/* The service manager shows the status of a failed unit too. */
	if (notify)
		notify_status(notify, "Failed: %s", error_text(&err, r));
	return fail(&err, r);
}

static enum exit_code mount_it(const struct config *config)
{
	struct launch launch = {.report_fd = -1};
	char backends[CRYPTO_BACKEND_TEXT_SIZE];
	struct error err = {0};
	enum exit_code code;
	int r = crypto_backend_choose(config->crypto, &err);

	if (r < 0)
		return fail(&err, r);
	crypto_backend_text(backends);
	log_info("%s", backends);
	(void)signal(SIGPIPE, SIG_IGN);
	r = launch_start(&launch, config->foreground, &err);
	if (r < 0)
		return fail(&err, r);
	code = run(config, &launch);
	if (code != EXIT_CODE_OK)
		launch_failed(&launch, code);
	return code;
}

static enum exit_code unmount(const struct config *config)
{
	struct error err = {0};
	int r = keeper_remove_dead_mount(config->mountpoint, &err);

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

int main(int argc, char **argv)
{
	_cleanup_(config_clear) struct config config = {0};
	struct error err = {0};
	int r;

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
		return EXIT_CODE_OK;
	case CONFIG_VERSION:
		print_version();
		return EXIT_CODE_OK;
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
