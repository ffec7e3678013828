/*
 * Bundles of `sealctl set`. Job: options and words; the work is in tools/set and fs/oms. Must never
 * call something checked that was not.
 */
#include "tools/set_oms.h"

#include "crypto/base/printable.h"
#include "tools/common/output.h"

static int need_both(struct cli *cli, const struct set_oms *o, struct error *err)
{
	return o->bundle && o->key ? 0 : cli_usage_error(cli, err, "give --oms and --oms-key");
}

int set_oms_check(struct cli *cli, struct set_oms *o, const struct set *set, oms_finding *finding,
		  void *arg, struct error *err)
{
	_cleanup_(oms_statement_freep) struct oms_statement *statement = NULL;
	_cleanup_(oms_key_freep) struct oms_key *key = NULL;
	int r = need_both(cli, o, err);

	if (r == 0)
		r = oms_key_load_public(o->key, &key, err);
	if (r == 0)
		r = oms_read(o->bundle, key, NULL, &statement, &o->summary, err);
	if (r == 0)
		(void)oms_compare(statement, set, o->bundle, &o->summary, finding, arg);
	return r;
}

void set_oms_print(const struct set_oms *o)
{
	const struct oms_summary *s = &o->summary;

	print_safely(stdout, "%s: ok: signed by the key of %s, and its %zu files are the set's\n",
		     o->bundle, o->key, s->files);
	if (s->ignored > 0)
		print_safely(stdout, "%s: it leaves out %zu of the set's members, \"%s\" first\n",
			     o->bundle, s->ignored, s->first_ignored);
	if (s->unchecked[0])
		print_safely(stdout, "%s: not checked: %s\n", o->bundle, s->unchecked);
}

json_t *set_oms_json(const struct set_oms *o)
{
	const struct oms_summary *s = &o->summary;

	return json_pack("{s:s, s:o, s:I, s:I, s:o}", "key", s->key, "name", output_text(s->name),
			 "files", (json_int_t)s->files, "ignored", (json_int_t)s->ignored,
			 "not_checked", s->unchecked[0] ? output_text(s->unchecked) : json_null());
}

int set_oms_export(struct cli *cli, const struct set_oms *o, const struct set_store *store,
		   struct error *err)
{
	_cleanup_(oms_key_freep) struct oms_key *key = NULL;
	struct set_export_result done = {0};
	int r = need_both(cli, o, err);

	if (r == 0)
		r = oms_key_load_private(o->key, &key, err);
	if (r == 0)
		r = set_export_oms(store, key, o->bundle, &done, err);
	if (r < 0)
		return r;
	if (cli->json)
		return output_json(json_pack("{s:o, s:I, s:I, s:s}", "bundle",
					     output_text(o->bundle), "files",
					     (json_int_t)done.files, "left_out",
					     (json_int_t)done.left_out, "key", oms_key_hint(key)));
	if (cli->quiet)
		return 0;
	print_safely(stdout, "%s: %zu files of the set, signed by the key %s\n", o->bundle,
		     done.files, oms_key_hint(key));
	if (done.left_out > 0)
		print_safely(stdout,
			     "%s: left out, as the specification of OMS says: %zu of the members, "
			     "\"%s\" first\n",
			     o->bundle, done.left_out, done.first);
	return 0;
}
