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
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/set.h"
#include "fs/source/source.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <string.h>

#define SERVICE_GROUP "sealedfs" /* of systemd/sealedfs.sysusers */

static int check_consistency(const struct config *c, struct error *err)
{
	int r = source_check_spec(c->source, err);

	if (r == 0 && c->mountpoint &&
	    strncmp(c->mountpoint, "/dev/fd/", strlen("/dev/fd/")) == 0) {
		error_hint(err, "let sealedfs mount, with CAP_SYS_ADMIN or by fusermount3");
		r = error_set(err, -EINVAL,
			      "mount point %s: a FUSE connection that another program has "
			      "mounted is refused: its mount options are unknown",
			      c->mountpoint);
	}
	if (r < 0)
		return r;
	if (c->allow_other && c->allow_root)
		return error_set(err, -EINVAL,
				 "options allow_other and allow_root exclude each other");
	if (c->stage_bytes && !c->stage) {
		error_hint(err, "add stage=DIR");
		return error_set(err, -EINVAL, "option stage-size without stage");
	}
	if (c->stage && !source_spec_is_s3(c->source)) {
		error_hint(err, "remove stage and stage-size");
		return error_set(err, -EINVAL,
				 "option stage: %s is a directory; only objects from S3 are staged",
				 c->source);
	}
	if (c->attest == CONFIG_ATTEST_NONE && c->keyfiles.count == 0 &&
	    (tpm_missing(c->tcti) || tpm_is_nsm(c->tcti))) {
		error_hint(err, "add key-file=FILE, or remove attest=none");
		return error_set(
			err, -EINVAL,
			"option attest=none without key-file, and this machine has no TPM: no model "
			"could be unlocked");
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

/* From unlock= and measure-when=; `early`: the default is to be ready with measured models. */
static enum config_ready decide_by_old_options(const struct config *c, bool early)
{
	early = early && c->old_unlock != CONFIG_OLD_OPEN;
	if (c->old_measure == CONFIG_OLD_MOUNT || (c->old_measure == CONFIG_OLD_NONE && early))
		return CONFIG_READY_MEASURED;
	return early || c->old_unlock == CONFIG_OLD_MOUNT ? CONFIG_READY_UNLOCKED
							  : CONFIG_READY_OPEN;
}

/*
 * A service, and a mount that is explicitly an Ollama store, measure before they are ready: many
 * may open their models in any order (Ollama opens all of them when it starts).
 */
static int decide_ready(struct config *c, struct error *err)
{
	bool old = c->old_unlock != CONFIG_OLD_NONE || c->old_measure != CONFIG_OLD_NONE;
	bool asked = c->ready == CONFIG_READY_MEASURED || c->old_measure == CONFIG_OLD_MOUNT;

	if (old && c->ready != CONFIG_READY_DEFAULT)
		return error_set(err, -EINVAL,
				 "option ready replaces unlock and measure-when: use ready alone");
	if (asked && c->measure == MEASURE_NONE)
		return error_set(err, -EINVAL,
				 "option ready=measured with measure=none: nothing would be "
				 "measured");
	if (c->ready == CONFIG_READY_DEFAULT)
		c->ready = decide_by_old_options(c, c->is_service || c->ollama == OLLAMA_ON);
	if (c->ready == CONFIG_READY_MEASURED && c->measure == MEASURE_NONE)
		c->ready = CONFIG_READY_UNLOCKED;
	if (old)
		log_warning("options unlock and measure-when will go in the next release; use "
			    "ready=%s",
			    config_word(c, "ready"));
	return 0;
}

/* A mount by root for other users belongs to a group of its own, whose members may read plaintext.
 */
static void share_with_group(struct config *c)
{
	const struct group *g;

	if (!c->allow_other || c->gid_given || geteuid() != 0)
		return;
	g = getgrnam(SERVICE_GROUP);
	if (g)
		c->gid = g->gr_gid;
}

/* What names a set's measurement, id or version can only mean a mount of a set. */
static int decide_set(struct config *c, struct error *err)
{
	bool needed = c->measure == MEASURE_SET || c->set_id || c->set_min_version > 0 || c->oms;
	uint8_t id[SET_ID_SIZE];

	if (c->set == CONFIG_SET_OFF && (needed || c->set_state))
		return error_set(err, -EINVAL,
				 "option set=off excludes measure=set, set-id, set-min-version, "
				 "set-state and oms");
	if (c->set_id && hex_decode(c->set_id, id, sizeof(id)) < 0)
		return error_set(err, -EINVAL,
				 "option set-id=%s: must be the 64 hex digits that sealctl set "
				 "list prints",
				 c->set_id);
	if (!c->oms != !c->oms_key || (c->oms_read && !c->oms)) {
		error_hint(err, "oms names the bundle, oms-key the public key that signs it");
		return error_set(err, -EINVAL,
				 "options oms and oms-key need each other, and oms-read needs "
				 "both");
	}
	if (c->oms && c->oms[0] != '/')
		return error_set(err, -EINVAL, "option oms=%s: must begin with /", c->oms);
	if (needed)
		c->set = CONFIG_SET_REQUIRE;
	if (c->set_state && c->set_state[0] != '/')
		return error_set(err, -EINVAL, "option set-state=%s: must begin with /",
				 c->set_state);
	return 0;
}

/* What attests, and which PCRs it has for models. */
static int decide_module(struct config *c, struct error *err)
{
	bool nsm = tpm_is_nsm(c->tcti);

	if (c->attest == CONFIG_ATTEST_NSM && !nsm && !c->tcti) {
		if (config_set_string(&c->tcti, "nsm") < 0)
			return -ENOMEM;
		nsm = true;
	}
	if (c->attest == CONFIG_ATTEST_NSM && !nsm)
		return error_set(err, -EINVAL, "option attest=nsm: tcti=%s is a TPM", c->tcti);
	if (c->attest == CONFIG_ATTEST_NITROTPM && nsm)
		c->attest = CONFIG_ATTEST_NSM;
	if (!c->pcr_given && nsm)
		c->pcr = PCR_DEFAULT_NSM;
	if (nsm && !pcr_is_allowed_nsm(c->pcr))
		return error_set(err, -EINVAL,
				 "option pcr=%u: must be 16 to 31; in a Nitro Enclave 0 to 15 are "
				 "the image's",
				 c->pcr);
	if (!nsm && !pcr_is_allowed(c->pcr))
		return error_set(err, -EINVAL,
				 "option pcr=%u: must be 0 to 15; software can reset 16 and 23, "
				 "and 17 to 22 belong to the processor",
				 c->pcr);
	if (c->lock_pcr && (!nsm || c->measure == MEASURE_NONE))
		return error_set(err, -EINVAL, "option lock-pcr: %s",
				 nsm ? "with measure=none there is nothing to lock"
				     : "only the PCRs of a Nitro Enclave can be locked");
	return 0;
}

/* Sets what follows from the options, and checks whether they fit together. */
static int finish(struct config *c, struct error *err)
{
	int r = decide_ready(c, err);

	if (r == 0)
		r = decide_set(c, err);
	if (r == 0)
		r = decide_module(c, err);
	if (r == 0)
		r = config_check_resident(c, err);
	if (r < 0)
		return r;
	/* A mount by root from fstab is for other users, too, as far as mode and group allow. */
	if (c->is_helper && geteuid() == 0 && !c->allow_root)
		c->allow_other = true;
	share_with_group(c);
	r = resolve_files(&c->owner_keys, err);
	if (r == 0)
		r = resolve_files(&c->keyfiles, err);
	if (r == 0 && c->oms_key)
		r = resolve_files(&(struct config_list){&c->oms_key, 1}, err);
	return r < 0 ? r : check_consistency(c, err);
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
	r = finish(c, err);
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
	return r < 0 ? r : finish(c, err);
}

int config_read(struct config *c, const char *path, struct error *err)
{
	return config_for_tool(c, path, NULL, NULL, 0, err);
}
