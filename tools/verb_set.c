/*
 * sealctl set: makes, changes and looks at the set of a directory or prefix without touching a
 * payload. Job here: the commands and their options. The work is in set_*.c.
 */
#include "crypto/base/encode.h"
#include "crypto/base/log.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/inspect/describe_set.h"
#include "tools/seal/publish.h"
#include "tools/set/set_change.h"
#include "tools/set/set_check.h"
#include "tools/set/set_values.h"
#include "tools/set_oms.h"
#include "tools/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
	OPTION_NAME = CLI_LONG,
	OPTION_KEY_FILE,
	OPTION_KMS_KEY,
	OPTION_KMS,
	OPTION_SIGN,
	OPTION_OWNER_KEY,
	OPTION_EXPIRES,
	OPTION_MIN_VERSION,
	OPTION_SET_ID,
	OPTION_SET_STATE,
	OPTION_DELETE,
	OPTION_REPLACE,
	OPTION_OMS,
	OPTION_OMS_KEY,
};

static const struct cli_option options[] = {
	{OPTION_NAME, "name", "NAME", "create: what the set is called"},
	{OPTION_KEY_FILE, "key-file", "FILE",
	 "open the set and its members with this key file;\ncreate: also its recipient; repeatable"},
	{OPTION_KMS, "kms", NULL, "open with KMS and the AWS credentials"},
	{OPTION_KMS_KEY, "kms-key", "KEY",
	 "create: recipient: a KMS key id, ARN or alias/NAME;\nrepeatable; implies --kms"},
	{OPTION_SIGN, "sign", "KEY.pem", "sign the set as owner with this private key"},
	{OPTION_OWNER_KEY, "owner-key", "PUB",
	 "the set's owner must be one of this file's public\nkeys; repeatable; default: --sign's"},
	{OPTION_EXPIRES, "expires", "WHEN",
	 "create, add, remove: mounts refuse the set from then on:\n"
	 "2027-01-31T00:00:00Z, 90d, 12h, or never"},
	{OPTION_MIN_VERSION, "min-version", "N", "refuse a set of a lower version"},
	{OPTION_SET_ID, "set-id", "ID",
	 "refuse another set than this one, and none; create:\nwhat --replace replaces"},
	{OPTION_SET_STATE, "set-state", "FILE",
	 "keep the highest versions of sets here, and refuse\nolder or replaced ones; mounts may "
	 "share it"},
	{OPTION_DELETE, "delete", NULL, "remove: delete the seals and payloads, too"},
	{OPTION_REPLACE, "replace", NULL,
	 "create: a new set with a new key in place of the one\nthat is there"},
	{OPTION_OMS, "oms", "BUNDLE",
	 "export: the bundle to write; check: one that must sign\nexactly the set's files"},
	{OPTION_OMS_KEY, "oms-key", "KEY.pem",
	 "export: sign the bundle with this private key (P-256,\nP-384, P-521); check: the "
	 "public key that signs it"},
	{0},
};

struct settings {
	struct cli *cli;
	struct set_command command;
	const char *sign;
	struct set_oms oms;
	bool kms;
	struct owner_keys *owners;
	uint8_t id[SET_ID_SIZE];
};

static int add(const char **list, unsigned *count, const struct cli *cli, struct error *err)
{
	if (*count == SEAL_SLOTS_MAX)
		return cli_usage_error(cli, err, "more than %d recipients", SEAL_SLOTS_MAX);
	list[(*count)++] = cli->value;
	return 0;
}

static int take_option(struct settings *s, int id, struct error *err)
{
	struct set_command *c = &s->command;
	const char *value = s->cli->value;

	switch (id) {
	case OPTION_NAME:
		c->name = value;
		return 0;
	case OPTION_KEY_FILE:
		return add(c->recipients.keyfiles, &c->recipients.keyfile_count, s->cli, err);
	case OPTION_KMS_KEY:
		s->kms = true;
		return add(c->recipients.kms_keys, &c->recipients.kms_count, s->cli, err);
	case OPTION_KMS:
		s->kms = true;
		return 0;
	case OPTION_SIGN:
		s->sign = value;
		return 0;
	case OPTION_OWNER_KEY:
		return owner_keys_add_file(s->owners, value, err);
	case OPTION_EXPIRES:
		c->has_expires = true;
		return set_expiry_parse(value, &c->expires, err);
	case OPTION_MIN_VERSION:
		return set_version_parse(value, &c->access.min_version, err);
	case OPTION_SET_ID:
		c->access.id = s->id;
		return set_id_parse(value, s->id, err);
	case OPTION_SET_STATE:
		c->access.state = value;
		return 0;
	case OPTION_DELETE:
		c->delete = true;
		return 0;
	case OPTION_REPLACE:
		c->replace = true;
		return 0;
	case OPTION_OMS:
		s->oms.bundle = value;
		return 0;
	default:
		s->oms.key = value;
		return 0;
	}
}

static int list(struct settings *s, struct error *err)
{
	const struct set_store *store = &s->command.store;
	json_t *value;
	int r = set_command_load(&s->command, err);

	if (r < 0)
		return r;
	if (!s->cli->json) {
		describe_set(store->set, store->label);
		describe_members(store->set);
		return 0;
	}
	value = describe_set_json(store->set, store->label);
	if (value)
		json_object_set_new(value, "list", describe_members_json(store->set));
	return output_json(value);
}

struct findings {
	const struct cli *cli;
	json_t *all;
	size_t count;
	int code;
	struct error first;
};

static void take_finding(void *arg, const char *label, int code, const struct error *err)
{
	struct findings *f = arg;
	char name[NAME_PRINTABLE_SIZE];

	f->count++;
	/* Not authentic is worse than not expected. */
	if (f->code == 0 || (error_exit_code(code) == EXIT_CODE_NOT_AUTHENTIC &&
			     error_exit_code(f->code) != EXIT_CODE_NOT_AUTHENTIC)) {
		f->code = code;
		f->first = *err;
	}
	if (f->cli->json) {
		output_append(&f->all, json_pack("{s:o, s:o}", "object", output_text(label),
						 "error", output_error_json(err, code)));
		return;
	}
	name_printable(label, name);
	print_safely(stdout, "%s: FAILED: %s\n", name, error_text(err, code));
}

static int check(struct settings *s, struct error *err)
{
	const struct set_store *store = &s->command.store;
	_cleanup_(source_listing_clear) struct source_listing l = {0};
	struct findings f = {.cli = s->cli, .all = json_array()};
	int r = set_command_load(&s->command, err);

	if (r == 0)
		r = set_check_version(store->set, 0, (uint64_t)time(NULL), err);
	if (r == 0)
		r = source_list(store->source, NULL, &l, err);
	if (r == 0)
		r = set_check(store, &l, take_finding, &f, err);
	if (r == 0 && (s->oms.bundle || s->oms.key))
		r = set_oms_check(s->cli, &s->oms, store->set, take_finding, &f, err);
	if (r < 0) {
		json_decref(f.all);
		return r;
	}
	if (s->cli->json) {
		r = output_json(json_pack("{s:b, s:o, s:o, s:o*}", "ok", f.code == 0, "set",
					  describe_set_json(store->set, store->label), "failures",
					  f.all, "oms",
					  s->oms.bundle ? set_oms_json(&s->oms) : NULL));
		s->cli->failure_reported = true;
	} else {
		json_decref(f.all);
		if (f.code == 0 && !s->cli->quiet)
			print_safely(stdout,
				     "%s: ok: version %" PRIu64 ", all %" PRIu32
				     " members are there and nothing else%s\n",
				     store->label, set_header(store->set)->version,
				     set_header(store->set)->member_count,
				     store->keys ? "" : " (without a key: not opened)");
		if (f.code == 0 && s->oms.bundle && !s->cli->quiet)
			set_oms_print(&s->oms);
	}
	if (r == 0 && f.code) {
		*err = f.first;
		r = f.code;
	}
	return r;
}

static int export(struct settings *s, struct error *err)
{
	int r = set_command_load(&s->command, err);

	return r < 0 ? r : set_oms_export(s->cli, &s->oms, &s->command.store, err);
}

/* One line for each path that differs; the members are sorted. */
static size_t print_differences(const struct cli *cli, const struct set *a, const struct set *b,
				json_t **all)
{
	const struct set_member *x = set_member(a, 0), *y = set_member(b, 0);
	size_t i = 0, k = 0, count = 0;

	while (x || y) {
		int order = !x ? 1 : !y ? -1 : strcmp(x->path, y->path);
		const char *what = order < 0 ? "removed" : order > 0 ? "added" : "changed";
		char name[NAME_PRINTABLE_SIZE];

		if (order != 0 || x->length != y->length ||
		    memcmp(x->verity, y->verity, sizeof(x->verity)) != 0) {
			count++;
			name_printable(order > 0 ? y->path : x->path, name);
			if (cli->json)
				output_append(
					all, json_pack("{s:s, s:o}", "change", what, "path",
						       output_text(order > 0 ? y->path : x->path)));
			else
				print_safely(stdout, "%-8s %s\n", what, name);
		}
		if (order <= 0)
			x = set_member(a, ++i);
		if (order >= 0)
			y = set_member(b, ++k);
	}
	return count;
}

static int diff(struct settings *s, struct error *err)
{
	/* The second may be an older version, or another set. */
	struct set_command other = {.access = {.owners = s->owners}};
	json_t *all = json_array();
	size_t count = 0;
	int r = set_command_load(&s->command, err);

	other.source_spec = cli_operand(s->cli, 2);
	if (r == 0)
		r = set_command_open(&other, s->cli, err);
	if (r == 0)
		r = set_command_load(&other, err);
	if (r == 0)
		count = print_differences(s->cli, s->command.store.set, other.store.set, &all);
	if (r == 0 && s->cli->json)
		r = output_json(json_pack("{s:b, s:O}", "equal", count == 0, "changes", all));
	set_command_clear(&other);
	json_decref(all);
	if (r == 0 && count > 0) {
		s->cli->failure_reported = true;
		r = error_set(err, -EKEYREJECTED, "the sets differ in %zu of their members", count);
	}
	return r;
}

static int report_change(struct settings *s, struct error *err)
{
	const struct set_store *store = &s->command.store;
	const struct set_header *h = set_header(store->set);
	char id[2 * SET_ID_SIZE + 1], name[NAME_PRINTABLE_SIZE];

	if (s->cli->json)
		return output_json(json_pack("{s:o, s:I, s:I}", "set",
					     describe_set_json(store->set, store->label), "added",
					     (json_int_t)s->command.added_count, "removed",
					     (json_int_t)s->command.removed_count));
	if (s->cli->quiet)
		return 0;
	for (size_t i = 0; s->command.added && i < s->command.added_count; i++) {
		name_printable(s->command.added[i], name);
		print_safely(stdout, "added    %s\n", name);
	}
	hex_encode(h->id, SET_ID_SIZE, id);
	print_safely(stdout, "%s: version %" PRIu64 ", %" PRIu32 " member%s, id %s\n", store->label,
		     h->version, h->member_count, h->member_count == 1 ? "" : "s", id);
	return 0;
}

static int change(struct settings *s, int (*work)(struct set_command *c, struct error *err),
		  struct error *err)
{
	int r = work(&s->command, err);

	return r < 0 ? r : report_change(s, err);
}

static const struct {
	const char *name;
	int operands_min, operands_max; /* with the name */
	int (*look)(struct settings *s, struct error *err);
	int (*work)(struct set_command *c, struct error *err);
} commands[] = {
	{"create", 2, INT32_MAX, NULL, set_command_create},
	{"add", 2, INT32_MAX, NULL, set_command_add},
	{"remove", 3, INT32_MAX, NULL, set_command_remove},
	{"list", 2, 2, list, NULL},
	{"check", 2, 2, check, NULL},
	{"diff", 3, 3, diff, NULL},
	{"export", 2, 2, export, NULL},
};

static int prepare(struct settings *s, struct error *err)
{
	struct set_command *c = &s->command;
	struct unlock_options u = {.keyfiles = c->recipients.keyfiles,
				   .keyfile_count = c->recipients.keyfile_count};
	int r = s->sign ? signing_key_load(s->sign, &c->signer, err) : 0;

	if (r == 0 && c->signer && owner_keys_count(s->owners) == 0)
		r = owner_keys_add_signer(s->owners, c->signer);
	if (r == 0 && s->kms)
		r = cli_aws(s->cli, &c->aws, err);
	u.aws = s->kms ? c->aws : NULL;
	if (r == 0 && (u.aws || u.keyfile_count > 0))
		r = unlock_new(&u, &c->access.unlock, err);
	c->access.owners = s->owners;
	c->source_spec = cli_operand(s->cli, 1);
	for (int i = 2; r == 0 && i < cli_operands(s->cli); i++)
		c->path_count++;
	c->paths = c->path_count
			   ? (const char *const *)&s->cli->argv[s->cli->argc - (int)c->path_count]
			   : NULL;
	c->quiet = s->cli->quiet;
	return r < 0 ? r : set_command_open(c, s->cli, err);
}

static int run_command(struct settings *s, struct error *err)
{
	const char *name = cli_operand(s->cli, 0);
	int count = cli_operands(s->cli), r;

	for (size_t i = 0; name && i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (count < commands[i].operands_min || count > commands[i].operands_max)
			return cli_usage_error(s->cli, err, "%s: wrong number of operands", name);
		r = prepare(s, err);
		if (r < 0)
			return r;
		return commands[i].look ? commands[i].look(s, err)
					: change(s, commands[i].work, err);
	}
	return cli_usage_error(s->cli, err,
			       "give a command: create, add, remove, list, check, diff or export");
}

static int run(struct cli *cli, struct error *err)
{
	struct settings s = {.cli = cli};
	int r = owner_keys_new(&s.owners), id;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&s, id, err);
	if (r == 0)
		r = run_command(&s, err);
	set_command_clear(&s.command);
	unlock_free(s.command.access.unlock);
	signing_key_free(s.command.signer);
	owner_keys_free(s.owners);
	return r;
}

const struct verb verb_set = {
	.name = "set",
	.summary = "make, change and check the set of a directory or prefix",
	.usage = "create --name NAME [OPTIONS] PLACE [PATH…]\n"
		 "add|remove [OPTIONS] PLACE [PATH…]\n"
		 "list|check [OPTIONS] PLACE\n"
		 "diff [OPTIONS] PLACE PLACE\n"
		 "export --oms BUNDLE --oms-key KEY.pem [OPTIONS] PLACE",
	.help = "A set is one object, sealed.set, that states which models a directory or\n"
		"s3://bucket/prefix/ holds, and that its owner signs. A mount opens all members with one\n"
		"request, and refuses what is missing, exchanged, older or foreign. No command touches\n"
		"a payload. sealctl seal --set seals and makes members in one step.\n"
		"\n"
		"create makes a set of models that are sealed already, add and remove write its next\n"
		"version; PATH is relative to PLACE, and without any, create and add take every model\n"
		"there. Members get a slot of the set beside their own; a key that opens them is needed.\n"
		"sealctl rewrap changes who can open the set. Who is dropped may have kept its key: only\n"
		"create --replace and sealing again excludes them.\n"
		"\n"
		"list shows the set, and check compares the place with it: exit code 3 for a member that\n"
		"is missing or not the one that is named, 4 for models that are no members. diff compares\n"
		"the plaintexts of two sets: exit code 4 if they differ. These need no key.\n"
		"\n"
		"export writes an OpenSSF Model Signing bundle of the plaintexts' SHA-256, which the\n"
		"public tools check against the mounted directory; nothing is read. check --oms\n"
		"compares the set with such a bundle of somebody else.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
