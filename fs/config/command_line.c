/*
 * The command line. Job: turn argv into a checked struct config, or say precisely what is wrong
 * with it. Trusts nobody: a string that is not understood to its last character is refused.
 * Must never take a secret from the command line (key options name files), and must never drop
 * an option it does not know.
 */
#include "fs/config.h"

#include "fs/config_file.h"
#include "fs/config_options.h"

#include "crypto/base/log.h"
#include "fs/source/source.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static int check_consistency(const struct config *c, struct error *err)
{
	if (c->allow_other && c->allow_root)
		return error_set(err, -EINVAL,
				 "options allow_other and allow_root exclude each other");
	if (c->measure_at_mount && c->measure == MEASURE_NONE)
		return error_set(err, -EINVAL,
				 "option measure-when=mount with measure=none: nothing would be "
				 "measured");
	if (c->stage_bytes && !c->stage) {
		error_hint(err, "add stage=DIR");
		return error_set(err, -EINVAL, "option stage-size without stage");
	}
	if (c->stage && !source_spec_is_s3(c->source)) {
		error_hint(err, "leave stage and stage-size out");
		return error_set(err, -EINVAL,
				 "option stage: %s is a directory, and is read where it lies; "
				 "only what comes from S3 is staged",
				 c->source);
	}
	if (c->attest == CONFIG_ATTEST_NONE && c->keyfiles.count == 0) {
		error_hint(err, "add key-file=FILE, or leave attest=none out");
		return error_set(
			err, -EINVAL,
			"option attest=none without a key-file: nothing could be unlocked");
	}
	return 0;
}

/* credential:NAME becomes a path. */
static int resolve_files(struct config_list *list, struct error *err)
{
	for (size_t i = 0; i < list->count; i++) {
		char *path = NULL;
		int r = config_credential_path(list->items[i], &path, err);

		if (r < 0)
			return r;
		free(list->items[i]);
		list->items[i] = path;
	}
	return 0;
}

enum {
	FLAG_TCTI = 1000,
	FLAG_CONFIG,
	FLAG_UNMOUNT,
	FLAG_RELOAD,
};

/* *ret_file: of --config; NULL where that is no option. */
static int parse_flag(struct config *c, int opt, const char **ret_file, struct error *err)
{
	switch (opt) {
	case 'o':
		return config_apply_options(c, optarg, err);
	case FLAG_TCTI:
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
		case 's': /* tolerate what is not known: never, it could be a check */
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

/* What is right for a service: for everybody, whole or not at all, patient. */
static int take_file(struct config *c, const char *path, struct error *err)
{
	_cleanup_free_ char *instance = NULL;
	int r;

	c->foreground = true;
	c->make_mountpoint = true;
	c->unlock_at_mount = true;
	c->wait_s = CONFIG_WAIT_FILE_S;
	c->allow_other = true;
	r = config_file_read(path, config_apply_key, c, err);
	if (r < 0)
		return r;
	if (c->allow_root)
		c->allow_other = false;
	if (!c->source)
		return error_set(err, -EINVAL, "%s: there is no \"source = …\"", path);
	if (c->mountpoint && c->mountpoint[0] != '/')
		return error_set(err, -EINVAL, "%s: mountpoint = %s: must begin with /", path,
				 c->mountpoint);
	if (c->mountpoint)
		return 0;
	if (config_file_instance(path, &instance) < 0)
		return error_set(
			err, -EINVAL,
			"%s: there is no \"mountpoint = …\", and no NAME" CONFIG_FILE_SUFFIX
			" to make it /srv/NAME",
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

/* From the words to *c, without a look at how they fit together. */
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
		return error_set(err, -EINVAL, "--config says it all: \"%.80s\" is too much",
				 argv[optind]);
	return take_file(c, file, err);
}

int config_parse(struct config *c, int argc, char **argv, struct error *err)
{
	int r;

	*c = (struct config){
		.action = CONFIG_MOUNT,
		.measure = MEASURE_VERITY,
		.pcr = PCR_DEFAULT,
		.memory_bytes = CONFIG_MEMORY_DEFAULT,
		.fill = READ_FILL_AUTO,
		.uid = geteuid(),
		.gid = getegid(),
		.mode = 0444,
	};
	if (argc > 0 && called_as_helper(argv[0])) {
		c->is_helper = true;
		c->wait_s = CONFIG_WAIT_HELPER_S;
	}
	r = parse_words(c, argc, argv, err);
	if (r < 0 || (c->action != CONFIG_MOUNT && c->action != CONFIG_NOTHING))
		return r;
	if (c->measure_at_mount)
		c->unlock_at_mount = true;
	/* What root mounts by fstab is for the machine's users; mode= and gid= narrow it. */
	if (c->is_helper && geteuid() == 0 && !c->allow_root)
		c->allow_other = true;
	r = resolve_files(&c->owner_keys, err);
	if (r == 0)
		r = resolve_files(&c->keyfiles, err);
	return r < 0 ? r : check_consistency(c, err);
}

static void list_clear(struct config_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

void config_clear(struct config *c)
{
	list_clear(&c->owner_keys);
	list_clear(&c->keyfiles);
	list_clear(&c->models);
	list_clear(&c->kernel);
	free(c->source);
	free(c->mountpoint);
	free(c->user);
	free(c->event_log);
	free(c->tcti);
	free(c->region);
	free(c->profile);
	free(c->s3_endpoint);
	free(c->kms_endpoint);
	free(c->stage);
	free(c->fsname);
	free(c->subtype);
	*c = (struct config){0};
}

int config_log_level(const struct config *c)
{
	if (c->debug)
		return LOG_DEBUG;
	return c->verbose ? LOG_INFO : LOG_NOTICE;
}

mode_t config_directory_mode(const struct config *c)
{
	return c->mode | (c->mode & 0444) >> 2;
}
