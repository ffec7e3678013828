/*
 * sealctl clean: payloads that no seal names. They are left when a model was replaced or sealing
 * was interrupted. Job: list them, and remove them with --delete. Trusts the seals' structure only.
 * Must never remove what a seal names, nor anything while one seal cannot be read, because the
 * payload that it needs is unknown.
 */
#include "crypto/base/printable.h"
#include "crypto/name.h"
#include "crypto/seal.h"
#include "tools/common/output.h"
#include "tools/common/target.h"
#include "tools/set/set_members.h"
#include "tools/verbs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define AGE_DEFAULT_S 86400
#define NS_PER_S 1000000000

enum { OPTION_DELETE = CLI_LONG, OPTION_OLDER_THAN };

static const struct cli_option options[] = {
	{OPTION_DELETE, "delete", NULL, "remove them; without it they are only listed"},
	{OPTION_OLDER_THAN, "older-than", "AGE",
	 "keep younger ones, which may belong to a running seal: a number and s, m, h or d; "
	 "default 1d"},
	{0},
};

struct cleaner {
	struct cli *cli;
	bool remove;
	struct set_store set; /* of the current source */
	uint64_t age_s;
	json_t *unused;
	uint64_t count, young, bytes;
};

static int parse_age(const char *text, uint64_t *ret)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	char *end;
	unsigned long long n;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || n > UINT32_MAX)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (end[0] == units[i].unit && !end[1]) {
			*ret = n * units[i].seconds;
			return 0;
		}
	return -EINVAL;
}

/* A pending seal that the set does not name: of a writer that is at work, or was killed. */
static bool is_abandoned(const struct cleaner *c, const char *name)
{
	return set_name_is_pending(name) && !set_members_pending_is_named(c->set.set, name);
}

/* The payload that a seal names. */
static int read_seal(struct source *source, const struct source_object *o, char **ret,
		     struct error *err)
{
	_cleanup_seal_ struct seal *seal = NULL;
	_cleanup_free_ char *label = source_describe(source, o->name);
	int r = label ? target_read_head(source, o, label, &seal, err) : -ENOMEM;

	if (r == 0 && set_name_is_pending(o->name))
		r = set_pending_payload(o->name, ret);
	else if (r == 0)
		r = seal_payload_name(seal, o->name, ret);
	if (r < 0 && r != -ENOMEM)
		error_hint(err, "nothing was removed: which payload this seal names is not known");
	return r < 0 ? error_prefix(err, r, "%s", label ? label : o->name) : 0;
}

/* The payloads that the seals of a listing name. */
static int find_used(const struct cleaner *c, struct source *source, const struct source_listing *l,
		     struct used_payloads *used, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->count; i++) {
		char *name = NULL;

		if (!name_is_seal(l->objects[i].name) && !set_name_is_pending(l->objects[i].name))
			continue;
		if (is_abandoned(c, l->objects[i].name))
			continue;
		r = read_seal(source, &l->objects[i], &name, err);
		if (r == 0)
			r = used_payloads_add(used, name);
	}
	return r;
}

static int clean_one(struct cleaner *c, struct source *source, const struct source_object *o,
		     struct error *err)
{
	_cleanup_free_ char *label = source_describe(source, o->name);
	char safe[NAME_PRINTABLE_SIZE], amount[OUTPUT_AMOUNT_SIZE];
	int64_t age_s = (int64_t)time(NULL) - o->mtime_ns / NS_PER_S;
	int r = 0;

	if (!label)
		return -ENOMEM;
	if (age_s < 0 || (uint64_t)age_s < c->age_s) {
		c->young++;
		return 0;
	}
	if (c->remove)
		r = source_remove(source, o->name, err);
	if (r < 0)
		return r;
	c->count++;
	c->bytes += o->size;
	if (c->cli->json) {
		output_append(&c->unused,
			      json_pack("{s:o, s:I, s:I, s:b}", "name", output_text(label), "bytes",
					(json_int_t)o->size, "age_seconds", (json_int_t)age_s,
					"removed", c->remove));
		return 0;
	}
	name_printable(label, safe);
	if (!c->cli->quiet)
		print_safely(stdout, "%s%s (%s)\n", c->remove ? "removed: " : "", safe,
			     output_amount((double)o->size, amount));
	return 0;
}

/* before: listed first. Seals are read from a second listing, so that what was published meanwhile
 * counts. */
static int clean_unused(struct cleaner *c, struct source *source,
			const struct source_listing *before, struct error *err)
{
	struct source_listing now = {0};
	_cleanup_(used_payloads_clear) struct used_payloads used = {0};
	const struct set_access look = {0};
	int r = source_list(source, NULL, &now, err);

	/* After the listing: a pending seal in it is then named, or was not yet. */
	if (r == 0)
		r = set_store_load(&c->set, source, &look, err);
	if (r == 0)
		r = find_used(c, source, &now, &used, err);
	for (size_t i = 0; r == 0 && i < before->count; i++) {
		const char *name = before->objects[i].name;

		if (!is_abandoned(c, name) &&
		    (!name_is_payload(name) || used_payloads_has(&used, name)))
			continue;
		r = clean_one(c, source, &before->objects[i], err);
	}
	set_store_clear(&c->set);
	source_listing_clear(&now);
	return r;
}

/* A mistyped place has nothing to clean, too. */
static bool has_sealed(const struct source_listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (name_is_seal(l->objects[i].name) || name_is_payload(l->objects[i].name))
			return true;
	return false;
}

static int clean_target(struct cleaner *c, const char *operand, struct error *err)
{
	_cleanup_target_ struct target t = {0};
	struct source_listing before = {0};
	int r = target_open(c->cli, operand, &t, err);

	if (r == 0 && t.name)
		r = cli_usage_error(c->cli, err, "%s is one seal; give a directory or a prefix",
				    operand);
	if (r == 0)
		r = source_list(t.source, NULL, &before, err);
	if (r == 0 && !has_sealed(&before))
		r = error_set(err, -ENOENT, "there is no sealed object in %s", operand);
	if (r == 0)
		r = clean_unused(c, t.source, &before, err);
	source_listing_clear(&before);
	return r;
}

static int report(const struct cleaner *c)
{
	char amount[OUTPUT_AMOUNT_SIZE];

	if (c->cli->json)
		return output_json(json_pack("{s:O, s:I, s:I}", "unused", c->unused, "bytes",
					     (json_int_t)c->bytes, "younger",
					     (json_int_t)c->young));
	if (c->cli->quiet)
		return 0;
	print_safely(stdout, "%llu payload%s without a seal, %s%s", (unsigned long long)c->count,
		     c->count == 1 ? "" : "s", output_amount((double)c->bytes, amount),
		     c->remove || !c->count ? "" : "; --delete removes them");
	if (c->young)
		print_safely(stdout, "; %llu younger left alone", (unsigned long long)c->young);
	print_safely(stdout, "\n");
	return 0;
}

static int run(struct cli *cli, struct error *err)
{
	struct cleaner c = {.cli = cli, .age_s = AGE_DEFAULT_S};
	int id, r = 0;

	while ((id = cli_next(cli, err)) > 0) {
		if (id == OPTION_DELETE)
			c.remove = true;
		else if (parse_age(cli->value, &c.age_s) < 0)
			return cli_usage_error(cli, err,
					       "--older-than %s: not a number and s, m, "
					       "h or d",
					       cli->value);
	}
	if (id < 0)
		return id;
	if (cli_operands(cli) == 0)
		return cli_usage_error(cli, err, "give a directory or s3://bucket/prefix/");
	c.unused = json_array();
	for (int i = 0; r == 0 && i < cli_operands(cli); i++)
		r = clean_target(&c, cli_operand(cli, i), err);
	if (r == 0)
		r = report(&c);
	json_decref(c.unused);
	return r;
}

const struct verb verb_clean = {
	.name = "clean",
	.summary = "list or remove payloads that no seal names",
	.usage = "[--delete] [OPTIONS] DIRECTORY|s3://bucket/prefix/…",
	.help = "Lists the payloads (NAME.<id>.sealed) that no seal in the same place names: "
		"replaced ones, and what an interrupted run left. --delete removes them. No key is "
		"needed.\n\n"
		"Name the whole directory or prefix: seals outside it are not read. Mounts that "
		"still read a replaced payload fail when it is removed; reload them first. If one "
		"seal cannot be read, nothing is removed.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
