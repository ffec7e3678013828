/*
 * sealctl: the tool of model owners, consumers and operators. Job here: find the verb, run it,
 * print its error once, turn it into an exit code. What the verbs do is in verb_*.c.
 */
#include "crypto/base/fileio.h"
#include "crypto/base/locked.h"
#include "crypto/base/log.h"
#include "crypto/base/secret.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/verbs.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static const struct verb *const verbs[] = {
	&verb_keygen,  &verb_seal,   &verb_set,	   &verb_rewrap, &verb_recipients, &verb_inspect,
	&verb_hash,    &verb_check,  &verb_clean,  &verb_attest, &verb_cat,	   &verb_policy,
	&verb_tpm_key, &verb_verify, &verb_status, &verb_warm,	 &verb_evict,	   &verb_doctor};

/* Finishes the output; fails if part of it was lost. */
static int printed(void)
{
	struct error err = {0};
	int r = output_finish(&err);

	if (r < 0)
		log_error_object(LOG_ERR, &err, r, NULL);
	return r < 0 ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static int print_help(void)
{
	printf("Usage: sealctl VERB [OPTIONS] …\n\nVerbs:\n");
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		printf("  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
	printf("\nsealctl help VERB shows a verb's options. sealctl --version shows the version.\n");
	cli_print_exit_codes();
	return printed();
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

static int unknown_verb(const char *name)
{
	log_error("unknown verb \"%s\"; sealctl --help lists them", name);
	return EXIT_CODE_USAGE;
}

static int help(const char *name)
{
	const struct verb *verb = name ? find_verb(name) : NULL;

	if (!name)
		return print_help();
	if (!verb)
		return unknown_verb(name);
	cli_print_help(verb);
	return printed();
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
	struct cli cli = {
		.verb = verb, .argc = argc, .argv = argv, .aws_options.interactive = true};
	struct error err = {0};
	int r;

	/* Also for a usage error that comes before the option is reached. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		cli.json = cli.json || strcmp(argv[i], "--json") == 0;
	r = verb->run(&cli, &err);
	cli_clear(&cli);
	if (cli.help_shown)
		r = 0;
	if (r == 0)
		r = output_finish(&err);
	if (r == 0)
		return EXIT_CODE_OK;
	r = interrupt_translate(r, &err);
	if (cli.json && !cli.failure_reported)
		output_json_error(&err, r);
	log_error_object(LOG_ERR, &err, r, verb->name);
	(void)output_finish(NULL);
	interrupt_die();
	return error_exit_code(r);
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	int r;

	if (file_open_standard() < 0)
		return EXIT_CODE_FAILURE;
	log_setup("sealctl", LOG_NOTICE, false);
	if (argc < 2) {
		log_error("no verb was given; sealctl --help lists them");
		return EXIT_CODE_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0)
		return help(argc > 2 ? argv[2] : NULL);
	if (strcmp(argv[1], "--version") == 0) {
		printf("sealctl %s\n", SEALEDFS_VERSION);
		return printed();
	}
	verb = find_verb(argv[1]);
	if (!verb)
		return unknown_verb(argv[1]);
	/* Also for the memory of secrets, which is a file. EFBIG then, and what was begun is
	 * removed. */
	(void)signal(SIGXFSZ, SIG_IGN);
	r = process_protect_secrets();
	if (r == 0)
		r = locked_begin();
	if (r == 0 && !verb->own_signals)
		r = interrupt_setup();
	if (r < 0) {
		log_error("cannot start: %s", strerror(-r));
		return EXIT_CODE_FAILURE;
	}
	return run_verb(verb, argc - 1, argv + 1);
}
