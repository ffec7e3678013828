/*
 * Options and help of every verb. Trusts its tables. Must never accept key material as a value:
 * argv is visible to every user of the machine, so keys are given as paths.
 */
#include "tools/common/cli.h"

#include "crypto/base/clock.h"
#include "crypto/base/log.h"
#include "tools/common/interrupt.h"
#include "tools/common/progress.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 40
#define HELP_COLUMN 26
#define SCREEN_COLUMNS 80
#define RETRY_LINE_MS 1000 /* before the first line about servers that fail, and between them */

enum {
	OPTION_JSON = CLI_LONG + 1000,
	OPTION_REGION,
	OPTION_PROFILE,
	OPTION_S3_ENDPOINT,
	OPTION_KMS_ENDPOINT,
	OPTION_ALLOW_HTTP,
	OPTION_PATH_STYLE,
	OPTION_ANONYMOUS,
	OPTION_REQUEST_PAYER,
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
	{OPTION_ALLOW_HTTP, "allow-http", "HOST[:PORT]", "ask this server without TLS; repeatable"},
	{OPTION_PATH_STYLE, "path-style", NULL, "bucket in the path, not in the host name"},
	{OPTION_ANONYMOUS, "no-sign-request", NULL, "ask S3 without credentials"},
	{OPTION_REQUEST_PAYER, "request-payer", NULL, "pay for requests to the bucket"},
	{0},
};

/* Bytes of the next word, and on a terminal its columns: no wide characters are used. */
static size_t word_size(const char *text, unsigned *ret_columns)
{
	size_t n = strcspn(text, " \n");

	*ret_columns = 0;
	for (size_t i = 0; i < n; i++)
		*ret_columns += ((unsigned char)text[i] & 0xC0) != 0x80;
	return n;
}

/*
 * Words up to the screen's edge. at: the column where the text begins; indent: of further lines.
 * Single line feeds are spaces, empty lines stay.
 */
static void print_wrapped(const char *text, unsigned at, unsigned indent)
{
	bool first = true;

	while (*text) {
		unsigned columns;
		size_t n = word_size(text, &columns);

		if (n == 0) {
			if (text[0] == '\n' && text[1] == '\n') {
				printf("\n\n%*s", (int)indent, "");
				at = indent;
				first = true;
			}
			text += 1;
			continue;
		}
		if (!first && at + 1 + columns > SCREEN_COLUMNS) {
			printf("\n%*s", (int)indent, "");
			at = indent;
			first = true;
		}
		printf("%s%.*s", first ? "" : " ", (int)n, text);
		at += columns + !first;
		first = false;
		text += n;
	}
	printf("\n");
}

static void print_option(const struct cli_option *o)
{
	char left[64];
	bool letter = o->id < CLI_LONG;
	int n = snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", letter ? '-' : ' ',
			 letter ? (char)o->id : ' ', letter ? ',' : ' ', o->name,
			 o->value ? " " : "", o->value ? o->value : "");

	printf("%s", left);
	if (n >= HELP_COLUMN) {
		printf("\n");
		n = 0;
	}
	printf("%*s", HELP_COLUMN - n, "");
	print_wrapped(o->help, HELP_COLUMN, HELP_COLUMN);
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

void cli_print_exit_codes(void)
{
	printf("\nExit codes: 0 ok, 1 failure, 2 usage, 3 not authentic, 4 refused by attestation\n"
	       "or key policy, 5 unreachable.\n");
}

void cli_print_help(const struct verb *verb)
{
	print_usage(verb);
	printf("\n");
	print_wrapped(verb->help, 0, 0);
	printf("\nOptions:\n");
	print_options(verb->options);
	if (verb->uses_aws)
		print_options(aws_cli_options);
	print_options(common_options);
	cli_print_exit_codes();
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
	case OPTION_ALLOW_HTTP: /* add_plain_host() */
		return true;
	case OPTION_PATH_STYLE:
		cli->aws_options.path_style = true;
		return true;
	case OPTION_ANONYMOUS:
		cli->aws_options.anonymous = true;
		return true;
	case OPTION_REQUEST_PAYER:
		cli->aws_options.request_payer = true;
		return true;
	default:
		return false;
	}
}

static int add_plain_host(struct cli *cli, const char *host, struct error *err)
{
	struct transport_hosts *list = &cli->aws_options.allow_http;
	const char **items = reallocarray(cli->plain_hosts, list->count + 1, sizeof(*items));

	if (!items)
		return error_set(err, -ENOMEM, "out of memory");
	items[list->count] = host;
	cli->plain_hosts = items;
	*list = (struct transport_hosts){items, list->count + 1};
	return 0;
}

int cli_next(struct cli *cli, struct error *err)
{
	struct option options[OPTIONS_MAX] = {0};
	/* A leading colon makes getopt distinguish a missing value from an unknown option. */
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
			cli_print_help(cli->verb);
			cli->help_shown = true;
			return -ECANCELED;
		}
		if (id == ':')
			return cli_usage_error(cli, err, "%s needs a value", cli->argv[optind - 1]);
		if (id == '?')
			return cli_usage_error(cli, err, "unknown option %s",
					       cli->argv[optind > at ? optind - 1 : optind]);
		if (id == OPTION_ALLOW_HTTP && add_plain_host(cli, optarg, err) < 0)
			return -ENOMEM;
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

/* For a user at a terminal: the work continues, and why it takes long. */
static void tell_retry(void *arg, const char *what, const char *why, bool throttled)
{
	struct cli *cli = arg;
	uint64_t now = monotonic_ms(), last = atomic_load(&cli->told_ms);

	if (now - last < RETRY_LINE_MS ||
	    !atomic_compare_exchange_strong(&cli->told_ms, &last, now))
		return;
	log_notice("%s: %s; trying again", what, why);
}

static void tell_silence(void *arg, const char *host, unsigned seconds)
{
	progress_waiting(host, seconds);
}

int cli_aws(struct cli *cli, struct aws **ret, struct error *err)
{
	if (!cli->aws) {
		int r = aws_new(&cli->aws_options, &cli->aws, err);

		atomic_store(&cli->told_ms, monotonic_ms());
		if (r == 0 && !cli->quiet && isatty(STDERR_FILENO)) {
			aws_observe_retries(cli->aws, tell_retry, cli);
			aws_observe_silence(cli->aws, tell_silence, NULL);
		}
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
	free(cli->plain_hosts);
	cli->plain_hosts = NULL;
}
