/*
 * sealctl status: how a mount is, once. The numbers are the daemon's (.sealedfs/status.json), but
 * for what is in the page cache. The exit code tells a monitor which kind of trouble there is.
 */
#include "fs/report_text.h"
#include "tools/mount_report.h"
#include "tools/output.h"
#include "tools/verbs.h"

#include "crypto/name.h"

#include <errno.h>
#include <string.h>

enum { OPTION_PROMETHEUS = CLI_LONG };

static const struct cli_option options[] = {
	{OPTION_PROMETHEUS, "prometheus", NULL, "metrics in Prometheus's text format"},
	{0, NULL, NULL, NULL},
};

/* What is worse comes first. */
static const int troubles[] = {-EBADMSG, -EKEYREJECTED, -EHOSTUNREACH, -EIO};

static size_t rank_of(const json_t *model)
{
	const json_t *reason = json_object_get(model, "reason");
	size_t i = 0;

	while (reason && troubles[i] != mount_report_code(reason))
		i++;
	return reason ? i : ARRAY_LEN(troubles);
}

/* The worst model's trouble becomes the verb's error. */
static int judge(const json_t *report, struct error *err)
{
	const json_t *models = json_object_get(report, "models"), *worst = NULL;
	size_t rank = ARRAY_LEN(troubles), count = 0;
	char name[NAME_PRINTABLE_SIZE];

	for (size_t i = 0; i < json_array_size(models); i++) {
		const json_t *model = json_array_get(models, i);
		size_t own = rank_of(model);

		count += own < ARRAY_LEN(troubles);
		if (own < rank) {
			rank = own;
			worst = model;
		}
	}
	if (!worst)
		return 0;
	name_printable(json_string_value(json_object_get(worst, "name")), name);
	return error_set(err, troubles[rank], "%zu of %zu models in trouble; \"%s\" is %s", count,
			 json_array_size(models), name,
			 json_string_value(json_object_get(worst, "state")));
}

static int run(struct cli *cli, struct error *err)
{
	_cleanup_(mount_report_clear) struct mount_report m = {0};
	bool prometheus = false;
	int id, r = 0;

	while ((id = cli_next(cli, err)) != 0) {
		if (id < 0)
			return id;
		prometheus = true;
	}
	if (cli_operands(cli) != 1)
		return cli_usage_error(cli, err, "one MOUNT is wanted");
	if (prometheus && cli->json)
		return cli_usage_error(cli, err, "either --json or --prometheus");
	r = mount_report_read(cli_operand(cli, 0), &m, err);
	if (r < 0)
		return r;
	mount_report_add_residency(&m);
	if (cli->json)
		r = output_json(json_incref(m.report));
	else if (prometheus)
		report_print_prometheus(m.report, stdout);
	else if (!cli->quiet)
		report_print_text(m.report, stdout);
	cli->failure_reported = true;
	return r < 0 ? r : judge(m.report, err);
}

const struct verb verb_status = {
	.name = "status",
	.summary = "how a mount and its models are",
	.usage = "[OPTIONS] MOUNT|MODEL",
	.help = "Shows how the mount at MOUNT is, or one MODEL or folder in it: what is unlocked and\n"
		"measured, how much of it is in the page cache, how fast it is read, what limits\n"
		"that now, and what went wrong. Opens no model that nobody has opened.\n"
		"\n"
		"Exit status: 0 all is well (a model that nobody has opened is); 2 no sealedfs is\n"
		"mounted there; 3 a model is poisoned, or its seal cannot be used; 4 a key was\n"
		"refused at the last try; 5 what is needed was out of reach at the last try, or the\n"
		"daemon is gone; 1 other failures. Of several the first of 3, 4, 5, 1.",
	.options = options,
	.run = run,
};
