/*
 * sealctl status: the state of a mount. The numbers come from the daemon (.sealedfs/status.json),
 * except those of the page cache. The exit code identifies the kind of failure for a monitor.
 */
#include "fs/report/writer.h"
#include "tools/common/output.h"
#include "tools/mount/mount_report.h"
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

static int trouble_code(size_t rank)
{
	return rank < ARRAY_LEN(troubles) ? troubles[rank] : -EIO;
}

/* Of a model, or of the listing. */
static size_t rank_of(const json_t *object)
{
	const json_t *reason = json_object_get(object, "reason");
	size_t i = 0;

	while (reason && troubles[i] != mount_report_code(reason))
		i++;
	return reason ? i : ARRAY_LEN(troubles);
}

/* The worst trouble of a model, the PCR or the listing becomes the verb's error. */
static int judge(const json_t *report, struct error *err)
{
	const json_t *models = json_object_get(report, "models"), *worst = NULL;
	const json_t *pcr = json_object_get(report, "pcr");
	const json_t *listing = json_object_get(report, "listing");
	size_t rank = ARRAY_LEN(troubles), count = 0, listing_rank = rank_of(listing);
	char name[NAME_PRINTABLE_SIZE], why[NAME_PRINTABLE_SIZE];

	for (size_t i = 0; i < json_array_size(models); i++) {
		const json_t *model = json_array_get(models, i);
		size_t own = rank_of(model);

		count += own < ARRAY_LEN(troubles);
		if (own < rank) {
			rank = own;
			worst = model;
		}
	}
	/* A model's own failure is more specific. */
	if (json_is_false(json_object_get(pcr, "shows_what_is_served")) &&
	    (!worst || troubles[rank] == -EIO))
		return error_set(err, -EIO, "PCR %lld was not seen to show what is served",
				 (long long)json_integer_value(json_object_get(pcr, "number")));
	if (listing_rank < rank) {
		const json_t *reason = json_object_get(listing, "reason");

		name_printable(json_string_value(json_object_get(reason, "message")), why);
		return error_set(err, trouble_code(listing_rank), "the last reload failed: %s",
				 why);
	}
	if (!worst)
		return 0;
	name_printable(json_string_value(json_object_get(worst, "name")), name);
	name_printable(
		json_string_value(json_object_get(json_object_get(worst, "reason"), "message")),
		why);
	return error_set(err, trouble_code(rank), "%zu of %zu models in trouble; \"%s\" is %s: %s",
			 count, json_array_size(models), name,
			 json_string_value(json_object_get(worst, "state")), why);
}

static int run(struct cli *cli, struct error *err)
{
	_cleanup_(mount_report_clear) struct mount_report m = NO_MOUNT_REPORT;
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
		r = report_print(REPORT_PROMETHEUS, m.report, stdout);
	else if (!cli->quiet)
		r = report_print(REPORT_TEXT, m.report, stdout);
	cli->failure_reported = true;
	return r < 0 ? r : judge(m.report, err);
}

const struct verb verb_status = {
	.name = "status",
	.summary = "show the state of a mount and its models",
	.usage = "[OPTIONS] MOUNT|MODEL",
	.help = "Shows how the mount at MOUNT is, or one MODEL in it: what is unlocked and\n"
		"measured, how much of it is in the page cache, how fast it is read, what limits\n"
		"that now, and what went wrong. Opens no model that nobody has opened.\n"
		"\n"
		"Exit status: 0 all is well (a model that nobody has opened is); 2 no sealedfs is\n"
		"mounted there; 3 a model is poisoned, or its seal cannot be used; 4 a key was\n"
		"refused at the last try; 5 something was unreachable at the last open, read or\n"
		"reload, or the daemon is gone; 1 other failures, such as a payload that is missing\n"
		"or may not be read, a failed reload (until one succeeds), and a PCR that does not\n"
		"show what is served. Of several the first of 3, 4, 5, 1.",
	.options = options,
	.run = run,
};
