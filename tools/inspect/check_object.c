/*
 * Checking of one sealed object. Job: make every check that the given keys allow, report
 * which were made, and continue after a failure if the next check is still meaningful. Trusts
 * nothing that it reads. Must never report a check that was not made.
 */
#include "tools/inspect/check_object.h"

#include "crypto/failure.h"
#include "crypto/name.h"
#include "tools/common/interrupt.h"
#include "tools/common/output.h"
#include "tools/common/target.h"
#include "tools/inspect/check_payload.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct checking {
	struct source *source;
	const char *seal_name;
	char *label; /* for messages: where and what */
	const struct check_options *options;
	struct check_report *report;
	struct seal *seal;
	struct source_object object, payload; /* the seal's and the other */
};

static void add_step(struct check_report *rep, const char *name, enum check_result result,
		     const char *fmt, ...) _printf_(4, 5);

static void add_step(struct check_report *rep, const char *name, enum check_result result,
		     const char *fmt, ...)
{
	struct check_step *step = &rep->steps[rep->count++];
	va_list ap;

	step->name = name;
	step->result = result;
	step->failure = seal_failure_id(SEAL_FAILURE_NONE);
	va_start(ap, fmt);
	(void)vsnprintf(step->detail, sizeof(step->detail), fmt, ap);
	va_end(ap);
}

static void add_failure(struct check_report *rep, const char *name, int code,
			const struct error *err)
{
	add_step(rep, name, CHECK_FAILED, "%s", error_text(err, code));
	rep->steps[rep->count - 1].failure = seal_failure_id(seal_failure_of(err));
	if (rep->code == 0) {
		rep->code = code;
		rep->error = *err;
		if (!rep->error.code)
			error_set(&rep->error, code, "%s", strerror(-code));
	}
}

static int load_head(struct checking *c, struct error *err)
{
	int r = source_stat(c->source, c->seal_name, &c->object, err);

	return r < 0 ? r : target_read_head(c->source, &c->object, c->label, &c->seal, err);
}

/* Only with the keys: before the slot MAC was checked, the size may be forged. */
static int load_tables(struct checking *c, const struct seal_keys *keys, struct error *err)
{
	size_t at = (size_t)seal_tables_offset(c->seal), size = (size_t)seal_tables_size(c->seal);
	uint8_t *tables = malloc(size + 1);
	int r;

	if (!tables)
		return -ENOMEM;
	r = source_read(c->source, c->seal_name, c->object.version, at, size, tables, err);
	if (r == 0)
		return seal_load_tables(c->seal, keys, tables, err);
	free(tables);
	return r;
}

static void check_signature(struct checking *c)
{
	const struct owner_keys *owners = c->options->owners;
	struct error err = {0};
	int r;

	if (!owners || owner_keys_count(owners) == 0) {
		if (seal_is_signed(c->seal))
			add_step(c->report, "signature", CHECK_SKIPPED,
				 "signed by %s; give --owner-key to check it",
				 OUTPUT_HEX(seal_signer_id(c->seal), SIGNER_ID_SIZE));
		else
			add_step(c->report, "signature", CHECK_SKIPPED, "unsigned");
		return;
	}
	r = seal_check_owner(c->seal, owners, &err);
	if (r < 0)
		add_failure(c->report, "signature", r, &err);
	else
		add_step(c->report, "signature", CHECK_PASSED, "signed by %s",
			 OUTPUT_HEX(seal_signer_id(c->seal), SIGNER_ID_SIZE));
}

/* True if the payload exists in its full length. */
static bool check_payload_size(struct checking *c)
{
	uint64_t length = seal_core(c->seal)->length;
	_cleanup_free_ char *label = NULL;
	struct error err = {0};
	int r = seal_payload_name(c->seal, c->seal_name, &c->report->payload_name);

	if (r == 0)
		r = source_stat(c->source, c->report->payload_name, &c->payload, &err);
	if (r == 0 && c->payload.size != length) {
		label = source_describe(c->source, c->report->payload_name);
		r = seal_fail(&err, SEAL_BAD_PAYLOAD_SIZE, label,
			      "it has %llu bytes, the seal states %llu",
			      (unsigned long long)c->payload.size, (unsigned long long)length);
	}
	if (r == -ENOENT) {
		error_clear(&err);
		label = source_describe(c->source, c->report->payload_name);
		error_set(&err, r, "the payload %s is missing", label);
	}
	if (r < 0)
		add_failure(c->report, "payload", r, &err);
	else
		add_step(c->report, "payload", CHECK_PASSED, "%llu bytes",
			 (unsigned long long)length);
	return r == 0;
}

/* Gives an unlock failure the class and text of crypto/FORMAT.md section 9 if it has one. */
static void name_unlock_failure(const struct checking *c, int code, struct error *err)
{
	enum seal_failure failure = code == -EBADMSG  ? SEAL_WRONG_KEY
				    : code == -ENOKEY ? SEAL_NO_RECIPIENT
						      : SEAL_FAILURE_NONE;
	size_t n = strlen(c->label);
	struct error before = *err;
	const char *text = error_text(&before, code);

	if (failure == SEAL_FAILURE_NONE || seal_failure_of(err) != SEAL_FAILURE_NONE)
		return;
	if (strncmp(text, c->label, n) == 0 && strncmp(text + n, ": ", 2) == 0)
		text += n + 2;
	error_clear(err);
	seal_fail(err, failure, c->label, "%s", text);
	error_hint(err, "%s", before.hint);
}

static int check_with_key(struct checking *c, bool payload_there, struct error *err)
{
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_seal_keys_ struct seal_keys *keys = NULL;
	struct check_report *rep = c->report;
	struct check_payload_result res = {0};
	struct error failure = {0};
	int r = unlock_data_key(c->options->unlock, c->seal, c->label, &key, &failure);

	if (r == -ECANCELED || r == -EINTR)
		return r;
	if (r < 0) {
		name_unlock_failure(c, r, &failure);
		add_failure(rep, "key", r, &failure);
		return 0;
	}
	add_step(rep, "key", CHECK_PASSED, "fits the seal");
	r = seal_unlock(c->seal, key, &keys, &failure);
	if (r == 0)
		r = load_tables(c, keys, &failure);
	if (r < 0) {
		add_failure(rep, "tables", r, &failure);
		return 0;
	}
	add_step(rep, "tables", CHECK_PASSED, "recipients, tags and hashes are the sealer's");
	if (!payload_there) {
		add_step(rep, "chunks", CHECK_SKIPPED, "no payload of the right length");
		return 0;
	}
	r = check_payload(c->source, &c->payload, c->seal, keys, c->options->quiet, &res, err);
	if (r < 0)
		return r;
	if (res.chunks_code < 0)
		add_failure(rep, "chunks", res.chunks_code, &res.error);
	else
		add_step(rep, "chunks", CHECK_PASSED, "%llu chunk%s",
			 (unsigned long long)seal_core(c->seal)->chunk_count,
			 seal_core(c->seal)->chunk_count == 1 ? "" : "s");
	if (res.chunks_code < 0)
		add_step(rep, "digests", CHECK_SKIPPED, "not every chunk is good");
	else if (res.digests_code < 0)
		add_failure(rep, "digests", res.digests_code, &res.error);
	else
		add_step(rep, "digests", CHECK_PASSED, "SHA-256 and SHA-384 of the plaintext");
	return 0;
}

/* A mount shows it only if its folders follow the rules for names, too. */
static int check_path(const struct checking *c, struct error *err)
{
	size_t size = strlen(c->seal_name) - strlen(SEAL_SUFFIX);
	const char *problem = model_path_problem(c->seal_name, size);

	return problem ? error_set(err, -EILSEQ, "%s: a mount does not show it: %s", c->label,
				   problem)
		       : 0;
}

static int run_checks(struct checking *c, struct error *err)
{
	const struct seal_core *core;
	struct error failure = {0};
	bool payload_there;
	int r = load_head(c, &failure);

	if (r < 0) {
		add_failure(c->report, "structure", r, &failure);
		return interrupt_check(err);
	}
	core = seal_core(c->seal);
	add_step(c->report, "structure", CHECK_PASSED, "%llu bytes sealed in %llu chunk%s, %u %s",
		 (unsigned long long)core->length, (unsigned long long)core->chunk_count,
		 core->chunk_count == 1 ? "" : "s", seal_slot_count(c->seal),
		 seal_slot_count(c->seal) == 1 ? "recipient" : "recipients");
	r = check_path(c, &failure);
	if (r == 0)
		r = seal_check_name(c->seal, c->options->found_name, &failure);
	if (r < 0)
		add_failure(c->report, "name", r, &failure);
	else
		add_step(c->report, "name", CHECK_PASSED, "the seal's own");
	check_signature(c);
	payload_there = check_payload_size(c);
	if (!c->options->unlock)
		add_step(c->report, "key", CHECK_SKIPPED,
			 "give --key-file, --kms or --attest to check every chunk");
	r = c->options->unlock ? check_with_key(c, payload_there, err) : 0;
	return r < 0 ? r : interrupt_check(err);
}

int check_object(struct source *source, const char *seal_name, const struct check_options *options,
		 struct check_report *ret, struct error *err)
{
	struct checking c = {.source = source,
			     .seal_name = seal_name,
			     .options = options,
			     .report = ret,
			     .label = source_describe(source, seal_name)};
	int r;

	*ret = (struct check_report){0};
	if (!c.label)
		return -ENOMEM;
	r = run_checks(&c, err);
	seal_free(c.seal);
	source_object_clear(&c.object);
	source_object_clear(&c.payload);
	free(c.label);
	return r;
}

void check_report_refuse(struct check_report *ret, const char *label, const char *why)
{
	struct error err = {0};

	*ret = (struct check_report){0};
	error_set(&err, -EILSEQ, "%s: a mount does not show it: %s", label, why);
	add_failure(ret, "name", -EILSEQ, &err);
}

void check_report_clear(struct check_report *r)
{
	free(r->payload_name);
	*r = (struct check_report){0};
}
