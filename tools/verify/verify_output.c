/*
 * Verdicts in words. Job: the sentence first, then each step with its reason, then what was found.
 * Trusts no text of the evidence: all is printed safely.
 */
#include "tools/verify/verify_output.h"

#include "crypto/base/printable.h"
#include "crypto/name.h"
#include "tools/common/output.h"
#include "tools/inspect/describe_document.h"

#include <inttypes.h>
#include <string.h>

/* Why a step passed, or which option requests it. */
static const struct {
	const char *passed, *not_asked;
} notes[STEP_COUNT] = {
	[STEP_DECODE] = {"one COSE_Sign1, ES384", ""},
	[STEP_FIELDS] = {"every field keeps its rule", ""},
	[STEP_CHAIN] = {"leads to the expected root, valid at the document's time", ""},
	[STEP_SIGNATURE] = {"by the key of the leaf", ""},
	[STEP_FRESHNESS] = {"nonce and age as asked", "--nonce and --max-age ask for it"},
	[STEP_TLS] = {"the server's key is in the document", "--from https://… asks for it"},
	[STEP_BOOT] = {"each PCR has an approved value", "--pcr and --measurements ask for it"},
	[STEP_LOG] = {"leads to the PCR's value", "--event-log, or evidence with one, asks for it"},
	[STEP_MODEL] = {"the expected models, in their order and mode",
			"--model and --measure ask for it"},
	[STEP_OWNER] = {"an expected owner signed every seal and set", "--owner-key asks for it"},
};

static const char *note(const struct verdict *v, enum verdict_step step)
{
	switch (v->steps[step].status) {
	case STATUS_PASSED:
		return notes[step].passed;
	case STATUS_FAILED:
		return v->steps[step].reason;
	default:
		return notes[step].not_asked;
	}
}

static void print_model(const struct held_model *m)
{
	print_safely(stdout, "  model  %s, measured as %s\n", m->name, measure_mode_name(m->mode));
	if (m->kinds & DIGEST_OF_VERITY)
		print_safely(stdout, "         verity:%s\n", OUTPUT_HEX(m->digests.verity, 32));
	if (m->kinds & DIGEST_OF_SHA256)
		print_safely(stdout, "         sha256:%s\n", OUTPUT_HEX(m->digests.sha256, 32));
	if (m->kinds & DIGEST_OF_SHA384)
		print_safely(stdout, "         sha384:%s\n", OUTPUT_HEX(m->digests.sha384, 48));
	if (m->kinds & DIGEST_OF_SET)
		print_safely(stdout, "         set:%s\n", OUTPUT_HEX(m->digests.set, 32));
	if (m->owner && m->mode == MEASURE_SET)
		print_safely(stdout, "         version %" PRIu64 ", signed by %s\n", m->version,
			     m->owner);
	else if (m->owner)
		print_safely(stdout, "         sealed by %s\n", m->owner);
}

static void print_member(const struct held_member *m)
{
	char path[NAME_PRINTABLE_SIZE];

	name_printable(m->path, path);
	print_safely(stdout, "  member %s, %" PRIu64 " bytes\n", path, m->length);
	print_safely(stdout, "         verity:%s\n", OUTPUT_HEX(m->verity, 32));
	if (!m->is_stated)
		return;
	print_safely(stdout, "         sha256:%s\n", OUTPUT_HEX(m->sha256, 32));
	print_safely(stdout, "         sha384:%s\n", OUTPUT_HEX(m->sha384, 48));
}

/* Registers that hold nothing say nothing. */
static bool is_used(const struct attest_doc *d, unsigned pcr)
{
	const uint8_t *value = d->pcrs[pcr].value;

	for (size_t i = 0; d->pcrs[pcr].present && i < d->pcrs[pcr].size; i++)
		if (value[i] != 0x00 && value[i] != 0xff)
			return true;
	return false;
}

void verify_print(const struct verdict *v, unsigned pcr)
{
	print_safely(stdout, "%s\n\n", v->sentence);
	for (enum verdict_step s = 0; s < STEP_COUNT; s++)
		print_safely(stdout, "  %-9s  %-9s  %s\n", verdict_step_name(s),
			     verdict_status_name(v->steps[s].status), note(v, s));
	if (v->model_count + v->start_count > 0)
		print_safely(stdout, "\nPCR %u holds\n", pcr);
	for (size_t i = 0; i < v->start_count; i++)
		print_safely(stdout, "  start  %s\n", v->starts[i]);
	for (size_t i = 0; i < v->model_count; i++)
		print_model(&v->models[i]);
	for (size_t i = 0; verdict_ok(v) && i < v->member_count; i++)
		print_member(&v->members[i]);
	if (!v->document)
		return;
	print_safely(stdout, "\n%s (PCRs of zeros or ones are left out)\n", v->document->module_id);
	for (unsigned i = 0; i < DOCUMENT_PCRS_MAX; i++)
		if (is_used(v->document, i))
			print_safely(
				stdout, "  PCR %-2u  %s\n", i,
				OUTPUT_HEX(v->document->pcrs[i].value, v->document->pcrs[i].size));
}

static json_t *digest_json(const struct held_model *m, unsigned kind, const void *digest,
			   size_t size)
{
	return m->kinds & kind ? output_hex_json(digest, size) : json_null();
}

static json_t *members_json(const struct verdict *v)
{
	json_t *members = json_array();

	for (size_t i = 0; verdict_ok(v) && i < v->member_count; i++) {
		const struct held_member *m = &v->members[i];

		output_append(
			&members,
			json_pack("{s:o, s:I, s:o, s:o, s:o}", "path", output_text(m->path),
				  "length", (json_int_t)m->length, "verity",
				  output_hex_json(m->verity, 32), "sha256",
				  m->is_stated ? output_hex_json(m->sha256, 32) : json_null(),
				  "sha384",
				  m->is_stated ? output_hex_json(m->sha384, 48) : json_null()));
	}
	return members;
}

static json_t *held_json(const struct verdict *v, unsigned pcr)
{
	json_t *models = json_array(), *starts = json_array();

	for (size_t i = 0; i < v->start_count; i++)
		output_append(&starts, output_text(v->starts[i]));
	for (size_t i = 0; i < v->model_count; i++) {
		const struct held_model *m = &v->models[i];
		const struct model_digests *d = &m->digests;

		output_append(
			&models,
			json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
				  output_text(m->name), "mode", measure_mode_name(m->mode),
				  "verity", digest_json(m, DIGEST_OF_VERITY, d->verity, 32),
				  "sha256", digest_json(m, DIGEST_OF_SHA256, d->sha256, 32),
				  "sha384", digest_json(m, DIGEST_OF_SHA384, d->sha384, 48), "set",
				  digest_json(m, DIGEST_OF_SET, d->set, 32), "owner",
				  m->owner ? output_text(m->owner) : json_null(), "version",
				  m->version ? json_integer((json_int_t)m->version) : json_null()));
	}
	return json_pack("{s:i, s:b, s:o, s:o, s:o, s:I, s:I}", "pcr", (int)pcr, "known",
			 v->holds_known, "starts", starts, "models", models, "members",
			 members_json(v), "unknown_events", (json_int_t)v->unknown_count,
			 "systemd_events", (json_int_t)v->systemd_count);
}

static json_t *document_json(const struct verdict *v, const char *label, size_t size)
{
	json_t *document;

	if (!v->document)
		return json_null();
	document = describe_document_json(v->document, label, size);
	/* What is verified, the steps say. */
	(void)json_object_del(document, "verified");
	return document;
}

json_t *verify_json(const struct verdict *v, unsigned pcr, const char *label, size_t size)
{
	json_t *steps = json_array();

	for (enum verdict_step s = 0; s < STEP_COUNT; s++)
		output_append(&steps, json_pack("{s:s, s:s, s:o}", "step", verdict_step_name(s),
						"status", verdict_status_name(v->steps[s].status),
						"reason", output_text(note(v, s))));
	return json_pack("{s:b, s:o, s:i, s:o, s:o, s:o, s:o}", "verified", verdict_ok(v),
			 "sentence", output_text(v->sentence), "exit_code", (int)v->exit_code,
			 "steps", steps, "age_s",
			 v->document ? json_integer(v->age_s) : json_null(), "holds",
			 held_json(v, pcr), "document", document_json(v, label, size));
}
