/*
 * cli.h: verbs, their options and help. One table describes a verb; getopt and the help text are
 * both made from it, so that they cannot differ.
 *
 * A verb's run() takes its options with cli_next() until that returns 0, then its operands with
 * cli_operand(). It prints results itself (output.h) and leaves errors to main().
 */
#ifndef SEALEDFS_TOOLS_CLI_H
#define SEALEDFS_TOOLS_CLI_H

#include "crypto/base/error.h"
#include "fs/aws/aws.h"

#include <stdbool.h>

/* An option's id is its letter ('k': -k and --name), or, from CLI_LONG up, it has none. */
#define CLI_LONG 256

struct cli_option {
	int id;
	const char *name;
	const char *value; /* what the help calls its value; NULL: it takes none */
	const char *help;
};

struct cli;

struct verb {
	const char *name;
	const char *summary;		  /* one line, no full stop */
	const char *usage;		  /* lines after "sealctl NAME " */
	const char *help;		  /* paragraphs; an empty line between two */
	const struct cli_option *options; /* ends with id 0; may be NULL */
	bool uses_aws;			  /* takes --region and its like too */
	bool own_signals;		  /* run() sets up interrupt.h, or takes them itself */
	int (*run)(struct cli *cli, struct error *err);
};

struct cli {
	const struct verb *verb;
	int argc;
	char **argv;
	const char *value; /* of the option that cli_next() returned */
	bool json, quiet;
	_Atomic uint64_t told_ms; /* when the last line about a failing server was printed */
	bool help_shown;
	bool failure_reported; /* the JSON result contains it */
	struct aws_options aws_options;
	const char **plain_hosts; /* what aws_options.allow_http points to */
	struct aws *aws;	  /* made by cli_aws() */
};

/* The next option's id; 0 at the end; -EINVAL; -ECANCELED after help was shown: stop, with
 * success. */
int cli_next(struct cli *cli, struct error *err);
/* Operands left after the options. */
int cli_operands(const struct cli *cli);
const char *cli_operand(const struct cli *cli, int index); /* NULL beyond the last */
/* -EINVAL, saying how the verb is used. */
int cli_usage_error(const struct cli *cli, struct error *err, const char *fmt, ...) _printf_(3, 4);
/* The process's AWS configuration, made at the first call; ctrl-C cancels what it does. */
int cli_aws(struct cli *cli, struct aws **ret, struct error *err);
void cli_clear(struct cli *cli);

/* What --help prints. */
void cli_print_help(const struct verb *verb);
void cli_print_exit_codes(void);

#endif
