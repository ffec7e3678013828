/*
 * Runs the groups, collects what they say, and prints it. Trusts nothing that files say: all of it
 * goes through the safe printer. Must never change anything.
 */
#include "tools/doctor/doctor.h"

#include "crypto/base/printable.h"
#include "tools/common/output.h"

#include <stdio.h>

static const struct {
	const char *name;
	void (*look)(struct doctor *d);
} groups[] = {
	{"fuse", doctor_look_fuse},	{"memory", doctor_look_memory}, {"tpm", doctor_look_tpm},
	{"aws", doctor_look_aws},	{"policy", doctor_look_policy}, {"oms", doctor_look_bundle},
	{"ollama", doctor_look_ollama}, {"image", doctor_look_image},
};

static json_t *entry(const struct doctor *d, const char *text)
{
	return text ? json_pack("{s:s, s:o}", "group", d->group, "what", output_text(text)) : NULL;
}

void doctor_add_find(struct doctor *d, enum finding what, const char *text)
{
	const struct finding_kind *kind = finding_kind(what);
	json_t *found = entry(d, text);

	if (json_object_set_new(found, "id", json_string(kind->id)) < 0 ||
	    json_object_set_new(found, "why", json_string(kind->why)) < 0 ||
	    json_object_set_new(found, "mend", json_string(kind->mend)) < 0) {
		json_decref(found);
		found = NULL;
	}
	output_append(&d->findings, found);
	d->count++;
}

void doctor_add_note(struct doctor *d, const char *text)
{
	output_append(&d->facts, entry(d, text));
}

void doctor_add_skip(struct doctor *d, const char *text)
{
	output_append(&d->unseen, entry(d, text));
}

int doctor_examine(struct doctor *d, struct error *err)
{
	int r;

	d->findings = json_array();
	d->facts = json_array();
	d->unseen = json_array();
	for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
		d->group = groups[i].name;
		groups[i].look(d);
	}
	d->group = "copies";
	r = doctor_look_copies(d, err);
	if (r < 0)
		return r;
	if (!d->findings || !d->facts || !d->unseen)
		return error_set(err, -ENOMEM, "not enough memory");
	return 0;
}

static const char *text_of(const json_t *entry, const char *name)
{
	return json_string_value(json_object_get(entry, name));
}

static void print_list(const json_t *list, const char *title)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);

		if (i == 0)
			print_safely(stdout, "%s:\n", title);
		print_safely(stdout, "  %s: %s\n", text_of(entry, "group"), text_of(entry, "what"));
	}
}

int doctor_report(struct doctor *d)
{
	if (d->cli->json)
		return output_json(json_pack("{s:O, s:O, s:O}", "findings", d->findings, "noted",
					     d->facts, "not_looked_at", d->unseen));
	for (size_t i = 0; i < json_array_size(d->findings); i++) {
		const json_t *found = json_array_get(d->findings, i);

		print_safely(stdout, "%s: %s\n", text_of(found, "id"), text_of(found, "what"));
		print_safely(stdout, "  why:  %s\n", text_of(found, "why"));
		print_safely(stdout, "  mend: %s\n", text_of(found, "mend"));
	}
	if (!d->cli->quiet) {
		print_list(d->facts, "Noted");
		print_list(d->unseen, "Not looked at");
		if (d->count == 0)
			print_safely(stdout, "No findings.\n");
	}
	return 0;
}
