/*
 * sealctl doctor: what may keep a mount from working, or plaintext from staying secret, before it
 * does. Job here: options, and the configuration of the mount.
 */
#include "crypto/base/fileio.h"
#include "fs/config/config.h"
#include "fs/config/file.h"
#include "tools/doctor/doctor.h"
#include "tools/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MOUNT_OPTIONS_MAX 32
#define SEARCH_MAX 32

enum { OPTION_ROOT = CLI_LONG, OPTION_ATTESTABLE, OPTION_SEARCH };

static const struct cli_option options[] = {
	{'o', "options", "OPTIONS", "mount options, as sealedfs takes them; repeatable"},
	{OPTION_ROOT, "root", "DIR",
	 "look at the files of a system in DIR, an image's tree;\nnothing is asked of this machine"},
	{OPTION_ATTESTABLE, "attestable", NULL,
	 "nobody may be able to log in; default with --root"},
	{OPTION_SEARCH, "search", "DIR",
	 "look below DIR for plaintext copies of the sealed\nmodels, by digest; repeatable"},
	{0},
};

struct settings {
	const char *mount[2 * MOUNT_OPTIONS_MAX]; /* "-o", OPTIONS, … */
	size_t mount_count;
	const char *root, *search[SEARCH_MAX];
	size_t search_count;
	bool attestable;
};

static int take_option(struct settings *s, struct cli *cli, int id, struct error *err)
{
	switch (id) {
	case 'o':
		if (s->mount_count == ARRAY_LEN(s->mount))
			return cli_usage_error(cli, err, "more than %d options -o",
					       MOUNT_OPTIONS_MAX);
		s->mount[s->mount_count++] = "-o";
		s->mount[s->mount_count++] = cli->value;
		return 0;
	case OPTION_ROOT:
		s->root = cli->value;
		return 0;
	case OPTION_SEARCH:
		if (s->search_count == ARRAY_LEN(s->search))
			return cli_usage_error(cli, err, "more than %d options --search",
					       SEARCH_MAX);
		s->search[s->search_count++] = cli->value;
		return 0;
	default:
		s->attestable = true;
		return 0;
	}
}

static bool is_config_file(const char *operand)
{
	struct stat st;
	size_t n = strlen(operand), end = strlen(CONFIG_FILE_SUFFIX);

	return n > end && strcmp(operand + n - end, CONFIG_FILE_SUFFIX) == 0 &&
	       (stat(operand, &st) < 0 || !S_ISDIR(st.st_mode));
}

/* As "sealedfs PLACE MOUNTPOINT -o OPTIONS"; where it would be mounted does not matter. */
static int parse_place(const struct settings *s, const char *place, struct config *ret,
		       struct error *err)
{
	char *argv[ARRAY_LEN(s->mount) + 5] = {0};
	const char *const rest[] = {"--", place, "/"};
	int argc = 0, r = 0;

	argv[argc++] = strdup("sealedfs");
	for (size_t i = 0; i < s->mount_count; i++)
		argv[argc++] = strdup(s->mount[i]);
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		argv[argc++] = strdup(rest[i]);
	for (int i = 0; i < argc; i++)
		if (!argv[i])
			r = -ENOMEM;
	if (r == 0)
		r = config_parse(ret, argc, argv, err);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return r;
}

/* Credentials are there for the unit only; what is read of them is not looked at here. */
static int parse_file(const char *path, struct config *ret, struct error *err)
{
	if (setenv("CREDENTIALS_DIRECTORY", "/run/credentials", 0) < 0)
		return -ENOMEM;
	return config_read(ret, path, err);
}

static int examine(struct settings *s, struct doctor *d, struct error *err)
{
	const char *operand = cli_operand(d->cli, 0);
	int r = 0;

	d->live = !s->root;
	d->attestable = s->attestable || s->root;
	d->label = operand;
	d->search = s->search;
	d->search_count = s->search_count;
	d->root = open(s->root ? s->root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->root < 0)
		return error_set(err, -EINVAL, "%s: %s", s->root, strerror(errno));
	if (operand) {
		d->has_config = true;
		d->from_file = is_config_file(operand);
		r = d->from_file ? parse_file(operand, &d->config, err)
				 : parse_place(s, operand, &d->config, err);
	}
	if (r == 0)
		r = doctor_examine(d, err);
	return r < 0 ? r : doctor_report(d);
}

static int run(struct cli *cli, struct error *err)
{
	struct doctor d = {.cli = cli, .root = -1};
	struct settings s = {0};
	int id, r = 0;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, cli, id, err);
	if (r < 0)
		return r;
	if (cli_operands(cli) > 1)
		return cli_usage_error(cli, err, "\"%s\" is not expected", cli_operand(cli, 1));
	if (s.mount_count && (cli_operands(cli) == 0 || is_config_file(cli_operand(cli, 0))))
		return cli_usage_error(cli, err, "-o belongs to a PLACE");
	if (s.search_count && cli_operands(cli) == 0)
		return cli_usage_error(cli, err, "--search needs the PLACE of the models");
	r = examine(&s, &d, err);
	cli_clear(cli); /* its options point into the configuration */
	config_clear(&d.config);
	closep(&d.root);
	json_decref(d.findings);
	json_decref(d.facts);
	json_decref(d.unseen);
	if (r < 0 || d.count == 0)
		return r;
	cli->failure_reported = true;
	return error_set(err, -EIO, "%zu finding%s", d.count, d.count == 1 ? "" : "s");
}

const struct verb verb_doctor = {
	.name = "doctor",
	.summary = "find what may keep a mount from working or secret",
	.usage = "[OPTIONS] [FILE.conf]\n[OPTIONS] PLACE [-o OPTIONS]",
	.help = "Looks at this machine, or at the tree of an image, for what may keep sealedfs from\n"
		"working and plaintext from staying secret. Each finding says what there is, why it\n"
		"matters and how to mend it; then follows what could not be looked at. With the\n"
		"configuration of a mount, or its PLACE and options, also what belongs to that mount.\n"
		"Changes nothing, and needs no privileges: as root it can look at more.\n"
		"\n"
		"Exit status: 0 no findings, 1 findings, 2 wrong configuration.",
	.options = options,
	.run = run,
};
