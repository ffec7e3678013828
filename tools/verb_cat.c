/*
 * sealctl cat: a sealed model as plaintext for one reader, unlocked and measured as a mount does,
 * for machines without FUSE (Nitro Enclaves). Job here: the options, and the order: where it goes
 * is checked before anything is unlocked.
 */
#include "crypto/name.h"
#include "tools/cat/cat_child.h"
#include "tools/cat/cat_model.h"
#include "tools/common/interrupt.h"
#include "tools/common/target.h"
#include "tools/verbs.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define LISTS_MAX 64

enum { OPTION_CONFIG = CLI_LONG, OPTION_SOURCE };

static const struct cli_option options[] = {
	{'o', "options", "OPTIONS", "options of a mount, as sealedfs -o; repeatable"},
	{OPTION_CONFIG, "config", "FILE", "a mount's configuration file: its source and options"},
	{OPTION_SOURCE, "source", "SOURCE",
	 "the directory or s3://bucket/prefix that a mount would\nshow; OBJECT is then a path in "
	 "it"},
	{0},
};

struct catting {
	const char *lists[LISTS_MAX];
	size_t list_count;
	const char *file, *source;
	char *const *child; /* NULL: standard output */
	struct config config;
	struct cat_model model;
};

/* argv up to "--" remains the verb's; the program's own options must not be taken for ours. */
static char *const *split_child(struct cli *cli)
{
	for (int i = 1; i < cli->argc; i++) {
		if (strcmp(cli->argv[i], "--") != 0)
			continue;
		cli->argc = i;
		return cli->argv + i + 1;
	}
	return NULL;
}

static int take_options(struct catting *c, struct cli *cli, struct error *err)
{
	int id;

	while ((id = cli_next(cli, err)) > 0) {
		if (id == OPTION_CONFIG)
			c->file = cli->value;
		else if (id == OPTION_SOURCE)
			c->source = cli->value;
		else if (c->list_count < LISTS_MAX)
			c->lists[c->list_count++] = cli->value;
		else
			return cli_usage_error(cli, err, "more than %d times -o", LISTS_MAX);
	}
	if (id < 0)
		return id;
	if (cli_operands(cli) != 1)
		return cli_usage_error(cli, err, "give one OBJECT; a program follows \"--\"");
	if (c->child && !cat_child_has_place(c->child))
		return cli_usage_error(cli, err,
				       "the program needs an argument with " CAT_PLACE
				       ", where the model's path goes");
	return 0;
}

/* The place and the path in it, of an object that is named as a whole. */
static int split_object(const char *object, char **ret_source, char **ret_path, struct error *err)
{
	const char *slash = strrchr(object, '/'), *name = slash ? slash + 1 : object;

	if (name[0] == '\0' || (source_spec_is_s3(object) && slash < object + strlen("s3://b")))
		return error_set(err, -EINVAL, "%s names no object", object);
	*ret_source = slash ? strndup(object, (size_t)MAX(slash - object, 1)) : strdup(".");
	*ret_path = strdup(name);
	return *ret_source && *ret_path ? 0 : -ENOMEM;
}

static int make_config(struct catting *c, const char *object, struct error *err)
{
	_cleanup_free_ char *source = NULL, *path = NULL;
	char **items = calloc(1, sizeof(*items));
	size_t size;
	int r = 0;

	if (!items)
		return -ENOMEM;
	if (!c->file && !c->source)
		r = split_object(object, &source, &path, err);
	else if (!(path = strdup(object)))
		r = -ENOMEM;
	if (r == 0)
		r = config_for_tool(&c->config, c->file, source ? source : c->source, c->lists,
				    c->list_count, err);
	if (r < 0) {
		free(items);
		return r;
	}
	size = strlen(path);
	if (name_is_seal(path))
		path[size - strlen(SEAL_SUFFIX)] = '\0';
	/* What a configuration says about other models, and about a mount, does not matter here. */
	for (size_t i = 0; i < c->config.models.count; i++)
		free(c->config.models.items[i]);
	free(c->config.models.items);
	items[0] = steal_ptr(path);
	c->config.models = (struct config_list){items, 1};
	c->config.ollama = OLLAMA_OFF;
	return 0;
}

static void cancel_sink(void *ctx)
{
	sink_cancel(ctx);
}

static int write_to(struct catting *c, struct sink *sink, struct error *err)
{
	int r = interrupt_hook(cancel_sink, sink);

	if (r == 0)
		r = cat_model_write(&c->model, sink, err);
	interrupt_unhook(cancel_sink, sink);
	return interrupt_translate(r, err);
}

static int run_child(struct catting *c, struct error *err)
{
	_cleanup_sink_ struct sink sink = {.fd = -1, .cancel_fd = -1};
	int fd = -1, r = cat_model_open(&c->config, &c->model, err);

	if (r == 0)
		r = cat_child_memory(c->model.size, &fd, err);
	if (r == 0)
		r = sink_open_memory(fd, &sink, err);
	if (r == 0)
		r = write_to(c, &sink, err);
	if (r == 0)
		r = cat_child_seal(fd, err);
	cat_model_close(&c->model);
	if (r < 0)
		return interrupt_translate(r, err);
	(void)signal(SIGXFSZ, SIG_DFL);
	return cat_child_become(c->child, fd, err);
}

static int run_standard(struct catting *c, struct error *err)
{
	_cleanup_sink_ struct sink sink = {.fd = -1, .cancel_fd = -1};
	int r = sink_open_standard(&sink, err);

	if (r == 0)
		r = cat_model_open(&c->config, &c->model, err);
	if (r == 0)
		r = write_to(c, &sink, err);
	cat_model_close(&c->model);
	return interrupt_translate(r, err);
}

static int run(struct cli *cli, struct error *err)
{
	struct catting c = {.child = split_child(cli)};
	int r = take_options(&c, cli, err);

	if (r == 0)
		r = make_config(&c, cli_operand(cli, 0), err);
	if (r == 0)
		r = c.child ? run_child(&c, err) : run_standard(&c, err);
	config_clear(&c.config);
	return r;
}

const struct verb verb_cat = {
	.name = "cat",
	.summary = "write a model to a pipe, or run a program with it in memory",
	.usage = "[OPTIONS] OBJECT\n[OPTIONS] OBJECT -- PROGRAM [ARGUMENT…]",
	.help = "For machines that cannot mount, as Nitro Enclaves. OBJECT is a sealed model in a\n"
		"directory or in S3, with or without .seal. It is opened as sealedfs opens it, with the\n"
		"same options: owner-key, key-file, attest, measure, pcr and the others of sealedfs(8). It is\n"
		"measured into the PCR before its first byte is written, and each byte is checked first. If\n"
		"the place of OBJECT has a set, OBJECT must be a member of it.\n"
		"\n"
		"The plaintext goes to standard output, which must be a pipe, a socket, a file in memory\n"
		"(tmpfs) or /dev/null; a terminal and a file on a disk are refused. With PROGRAM, all of\n"
		"it goes into memory that nobody can change, and only then sealctl becomes PROGRAM.\n"
		"{} in an ARGUMENT becomes the path of that memory, /proc/self/fd/N.\n"
		"\n"
		"If a check fails half-way, what was written before it is good but incomplete: look at the\n"
		"exit code, or use PROGRAM.",
	.options = options,
	.run = run,
};
