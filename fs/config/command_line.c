/*
 * The command line. Job: turn argv into a checked struct config, or report exactly what is wrong
 * with it. Trusts no input: a string that cannot be parsed to its last character is refused. Must
 * never take a secret from the command line (key options name files), and must never ignore an
 * unknown option.
 */
#include "fs/config/config.h"

#include "fs/config/file.h"
#include "fs/config/options_internal.h"

#include "attest/tpm.h"
#include "crypto/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

enum {
	FLAG_TCTI = 1000,
	FLAG_CONFIG,
	FLAG_UNMOUNT,
	FLAG_RELOAD,
};

/* *ret_file: the argument of --config; NULL: --config is not allowed. */
static int parse_flag(struct config *c, int opt, const char **ret_file, struct error *err)
{
	switch (opt) {
	case 'o':
		return config_apply_options(c, optarg, err);
	case FLAG_TCTI:
		log_warning("option --tcti will go in the next release; use -o tcti=");
		return config_set_string(&c->tcti, optarg);
	case FLAG_CONFIG:
		if (ret_file)
			*ret_file = optarg;
		return 0;
	case FLAG_UNMOUNT:
		c->action = CONFIG_UNMOUNT;
		return 0;
	case FLAG_RELOAD:
		c->action = CONFIG_RELOAD;
		return 0;
	case 'f':
		c->foreground = true;
		return 0;
	case 'd':
		c->debug = c->foreground = true;
		return 0;
	case 'v':
		c->verbose = true;
		return 0;
	case 'V':
		c->action = CONFIG_VERSION;
		return 0;
	case 'h':
		c->action = CONFIG_HELP;
		return 0;
	default:
		return -EINVAL;
	}
}

static int flag_error(int opt, char *const *argv, struct error *err)
{
	if (opt == ':')
		return error_set(err, -EINVAL, "%s needs a value", argv[optind - 1]);
	error_hint(err, "sealedfs --help lists the options");
	return error_set(err, -EINVAL, "unknown option: %s", argv[optind - 1]);
}

static bool is_final(const struct config *c)
{
	return c->action == CONFIG_HELP || c->action == CONFIG_VERSION;
}

static int parse_flags(struct config *c, int argc, char **argv, const char **ret_file,
		       struct error *err)
{
	static const struct option longs[] = {
		{"tcti", required_argument, NULL, FLAG_TCTI},
		{"config", required_argument, NULL, FLAG_CONFIG},
		{"unmount", no_argument, NULL, FLAG_UNMOUNT},
		{"reload", no_argument, NULL, FLAG_RELOAD},
		{"foreground", no_argument, NULL, 'f'},
		{"debug", no_argument, NULL, 'd'},
		{"verbose", no_argument, NULL, 'v'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int opt, r = 0;

	while (r == 0 && !is_final(c) &&
	       (opt = getopt_long(argc, argv, ":o:fdvVh", longs, NULL)) != -1) {
		if (opt == ':' || opt == '?')
			return flag_error(opt, argv, err);
		r = parse_flag(c, opt, ret_file, err);
	}
	return r;
}

/* "mount.sealedfs SOURCE DIR [-sfnvrw] [-o …] [-t TYPE]": util-linux's mount(8), "External
 * helpers".
 */
static int parse_helper_flags(struct config *c, int argc, char **argv, struct error *err)
{
	static const struct option longs[] = {
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int opt, r = 0;

	while (r == 0 && !is_final(c) &&
	       (opt = getopt_long(argc, argv, ":o:t:sfnvrwVh", longs, NULL)) != -1) {
		switch (opt) {
		case ':':
		case '?':
			return flag_error(opt, argv, err);
		case 'f':
			c->action = CONFIG_NOTHING;
			break;
		case 't': /* our own name */
		case 's': /* tolerate unknown options: never, they could be checks */
		case 'n': /* no /etc/mtab */
		case 'r':
		case 'w':
			break;
		default:
			r = parse_flag(c, opt, NULL, err);
		}
	}
	return r;
}

static int take_operands(struct config *c, int count, char *const *operands, struct error *err)
{
	if (c->action == CONFIG_UNMOUNT || c->action == CONFIG_RELOAD) {
		if (count == 1 && operands[0][0])
			return config_set_string(&c->mountpoint, operands[0]);
		return error_set(err, -EINVAL, "one mount point is needed, or --config FILE");
	}
	if (count != 2) {
		error_hint(err, "usage: sealedfs SOURCE MOUNTPOINT [-o OPTIONS]; see --help");
		return error_set(err, -EINVAL,
				 count < 2 ? "a source and a mount point are needed"
					   : "more than a source and a mount point given");
	}
	if (!operands[0][0] || !operands[1][0])
		return error_set(err, -EINVAL, "source and mount point must not be empty");
	if (config_set_string(&c->source, operands[0]) < 0)
		return -ENOMEM;
	return config_set_string(&c->mountpoint, operands[1]);
}

/* A service has its own defaults: for all users, all models or none, and with time to wait. */
static int take_file(struct config *c, const char *path, struct error *err)
{
	_cleanup_free_ char *instance = NULL;
	int r;

	c->foreground = true;
	c->make_mountpoint = true;
	c->is_service = true;
	c->wait_s = CONFIG_WAIT_FILE_S;
	c->allow_other = true;
	r = config_file_read(path, config_apply_key, c, err);
	if (r < 0)
		return r;
	if (c->allow_root)
		c->allow_other = false;
	if (!c->source)
		return error_set(err, -EINVAL, "%s: \"source = …\" is missing", path);
	if (c->mountpoint && c->mountpoint[0] != '/')
		return error_set(err, -EINVAL, "%s: mountpoint = %s: must begin with /", path,
				 c->mountpoint);
	if (c->mountpoint)
		return 0;
	if (config_file_instance(path, &instance) < 0)
		return error_set(err, -EINVAL,
				 "%s: \"mountpoint = …\" is missing, and the file is not called "
				 "NAME" CONFIG_FILE_SUFFIX ", which would mean /srv/NAME",
				 path);
	if (asprintf(&c->mountpoint, "/srv/%s", instance) < 0) {
		c->mountpoint = NULL;
		return -ENOMEM;
	}
	return 0;
}

static bool called_as_helper(const char *name)
{
	const char *slash = strrchr(name, '/');

	return strcmp(slash ? slash + 1 : name, "mount.sealedfs") == 0;
}

/* Parses the arguments, without checking whether they fit together. */
static int parse_words(struct config *c, int argc, char **argv, struct error *err)
{
	const char *file = NULL;
	int r;

	optind = 0;
	opterr = 0;
	if (c->is_helper)
		r = parse_helper_flags(c, argc, argv, err);
	else
		r = parse_flags(c, argc, argv, &file, err);
	if (r < 0 || is_final(c))
		return r;
	if (!file)
		return take_operands(c, argc - optind, argv + optind, err);
	if (argc > optind)
		return error_set(err, -EINVAL,
				 "unexpected argument \"%.80s\": --config takes no source or mount "
				 "point",
				 argv[optind]);
	return take_file(c, file, err);
}

static void set_defaults(struct config *c)
{
	*c = (struct config){
		.action = CONFIG_MOUNT,
		.measure = MEASURE_VERITY,
		.pcr = PCR_DEFAULT,
		.memory_bytes = CONFIG_MEMORY_DEFAULT,
		.fill = READ_FILL_AUTO,
		.uid = geteuid(),
		.gid = getegid(),
		.mode = 0440,
	};
}

int config_parse(struct config *c, int argc, char **argv, struct error *err)
{
	int r;

	set_defaults(c);
	if (argc > 0 && called_as_helper(argv[0])) {
		c->is_helper = true;
		c->wait_s = CONFIG_WAIT_HELPER_S;
	}
	r = parse_words(c, argc, argv, err);
	if (r < 0 || (c->action != CONFIG_MOUNT && c->action != CONFIG_NOTHING))
		return r;
	r = config_finish(c, err);
	if (r == 0 && c->lock_pcr && c->ready != CONFIG_READY_MEASURED)
		return error_set(err, -EINVAL,
				 "option lock-pcr needs ready=measured: nothing can be measured "
				 "later");
	return r;
}

int config_for_tool(struct config *c, const char *path, const char *source,
		    const char *const *options, size_t count, struct error *err)
{
	int r = 0;

	set_defaults(c);
	if (path)
		r = take_file(c, path, err);
	if (r == 0 && source)
		r = config_set_string(&c->source, source);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = config_apply_options(c, options[i], err);
	return r < 0 ? r : config_finish(c, err);
}

int config_read(struct config *c, const char *path, struct error *err)
{
	return config_for_tool(c, path, NULL, NULL, 0, err);
}
