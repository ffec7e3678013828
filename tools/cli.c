/*
 * Options and help of every verb. Trusts its tables. Must never accept key material as a value:
 * argv is visible to every user of the machine, so keys are given as paths.
 */
#include "tools/cli.h"

#include "tools/interrupt.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 40
#define HELP_COLUMN 26

enum {
	OPTION_JSON = CLI_LONG + 1000,
	OPTION_REGION,
	OPTION_PROFILE,
	OPTION_S3_ENDPOINT,
	OPTION_KMS_ENDPOINT,
	OPTION_PATH_STYLE,
};

static const struct cli_option common_options[] = {
	{OPTION_JSON, "json", NULL, "results and errors as JSON on standard output"},
	{'q', "quiet", NULL, "no progress line, no report of success"},
	{'h', "help", NULL, "this text"},
	{0},
};
static const struct cli_option aws_cli_options[] = {
	{OPTION_REGION, "region", "REGION", "AWS region; default: AWS_REGION, profile, IMDS"},
	{OPTION_PROFILE, "profile", "NAME", "section of the AWS configuration files"},
	{OPTION_S3_ENDPOINT, "s3-endpoint", "URL", "another S3 server (AWS_ENDPOINT_URL_S3)"},
	{OPTION_KMS_ENDPOINT, "kms-endpoint", "URL", "another KMS server (AWS_ENDPOINT_URL_KMS)"},
	{OPTION_PATH_STYLE, "path-style", NULL, "bucket in the path, not in the host name"},
	{0},
};

static void print_option(const struct cli_option *o)
{
	char left[64];
	bool letter = o->id < CLI_LONG;
	int n = snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", letter ? '-' : ' ',
			 letter ? (char)o->id : ' ', letter ? ',' : ' ', o->name,
			 o->value ? " " : "", o->value ? o->value : "");
	const char *help = o->help;

	printf("%s", left);
	if (n >= HELP_COLUMN) {
		printf("\n");
		n = 0;
	}
	/* Further lines of a help text are indented under the first. */
	for (;;) {
		size_t line = strcspn(help, "\n");

		printf("%*s%.*s\n", HELP_COLUMN - n, "", (int)line, help);
		n = 0;
		if (help[line] == '\0')
			return;
		help += line + 1;
	}
}

static void print_options(const struct cli_option *options)
{
	for (; options && options->id; options++)
		print_option(options);
}

static void print_usage(const struct verb *verb)
{
	const char *line = verb->usage;

	for (bool first = true; *line; first = false) {
		size_t n = strcspn(line, "\n");

		printf("%s sealctl %s %.*s\n", first ? "Usage:" : "      ", verb->name, (int)n,
		       line);
		line += n + (line[n] == '\n');
	}
}

static void print_help(const struct verb *verb)
{
	print_usage(verb);
	printf("\n%s\n\nOptions:\n", verb->help);
	print_options(verb->options);
	if (verb->uses_aws)
		print_options(aws_cli_options);
	print_options(common_options);
	printf("\nExit codes: 0 ok, 1 failure, 2 usage, 3 not authentic, 4 refused by attestation "
	       "or key\npolicy, 5 unreachable.\n");
}

static size_t add_options(const struct cli_option *from, struct option *to, size_t count,
			  char *letters)
{
	for (; from && from->id && count < OPTIONS_MAX - 1; from++) {
		to[count++] =
			(struct option){.name = from->name,
					.has_arg = from->value ? required_argument : no_argument,
					.val = from->id};
		if (from->id < CLI_LONG) {
			size_t n = strlen(letters);

			letters[n] = (char)from->id;
			letters[n + 1] = from->value ? ':' : '\0';
			letters[n + 2] = '\0';
		}
	}
	return count;
}

/* True when the option belongs to every verb and was dealt with. */
static bool take_common(struct cli *cli, int id)
{
	switch (id) {
	case OPTION_JSON:
		cli->json = true;
		return true;
	case 'q':
		cli->quiet = true;
		return true;
	case OPTION_REGION:
		cli->aws_options.region = optarg;
		return true;
	case OPTION_PROFILE:
		cli->aws_options.profile = optarg;
		return true;
	case OPTION_S3_ENDPOINT:
		cli->aws_options.s3_endpoint = optarg;
		return true;
	case OPTION_KMS_ENDPOINT:
		cli->aws_options.kms_endpoint = optarg;
		return true;
	case OPTION_PATH_STYLE:
		cli->aws_options.path_style = true;
		return true;
	default:
		return false;
	}
}

int cli_next(struct cli *cli, struct error *err)
{
	struct option options[OPTIONS_MAX] = {0};
	/* The colon first: tell a missing value from an unknown option. */
	char letters[2 * OPTIONS_MAX + 2] = ":";
	size_t count;
	int id;

	count = add_options(cli->verb->options, options, 0, letters);
	if (cli->verb->uses_aws)
		count = add_options(aws_cli_options, options, count, letters);
	add_options(common_options, options, count, letters);
	opterr = 0;
	do {
		int at = optind;

		id = getopt_long(cli->argc, cli->argv, letters, options, NULL);
		if (id == -1)
			return 0;
		if (id == 'h') {
			print_help(cli->verb);
			cli->help_shown = true;
			return -ECANCELED;
		}
		if (id == ':')
			return cli_usage_error(cli, err, "%s needs a value", cli->argv[optind - 1]);
		if (id == '?')
			return cli_usage_error(cli, err, "there is no option %s",
					       cli->argv[optind > at ? optind - 1 : optind]);
	} while (take_common(cli, id));
	cli->value = optarg;
	return id;
}

int cli_operands(const struct cli *cli)
{
	return cli->argc - optind;
}

const char *cli_operand(const struct cli *cli, int index)
{
	return index < cli_operands(cli) ? cli->argv[optind + index] : NULL;
}

int cli_usage_error(const struct cli *cli, struct error *err, const char *fmt, ...)
{
	char text[ERROR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	error_set(err, -EINVAL, "%s", text);
	error_hint(err, "sealctl %s --help shows how it is used", cli->verb->name);
	return -EINVAL;
}

static void cancel_aws(void *ctx)
{
	aws_cancel(ctx);
}

int cli_aws(struct cli *cli, struct aws **ret, struct error *err)
{
	if (!cli->aws) {
		int r = aws_new(&cli->aws_options, &cli->aws, err);

		if (r == 0)
			r = interrupt_hook(cancel_aws, cli->aws);
		if (r < 0)
			return r;
	}
	*ret = cli->aws;
	return 0;
}

void cli_clear(struct cli *cli)
{
	if (cli->aws)
		interrupt_unhook(cancel_aws, cli->aws);
	aws_free(cli->aws);
	cli->aws = NULL;
}

int cli_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "kMGT";
	unsigned long long v;
	const char *unit;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end == '\0') {
		*ret = v;
		return 0;
	}
	unit = strchr(units, *end);
	if (!unit || end[1] != '\0')
		return -EINVAL;
	for (const char *u = units; u <= unit; u++) {
		if (v > UINT64_MAX >> 10)
			return -EINVAL;
		v <<= 10;
	}
	*ret = v;
	return 0;
}
