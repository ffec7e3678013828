/*
 * sealctl verify: what evidence proves (attest/verdict/VERDICT.md). Job: options into expectations,
 * files into evidence, and the verdict in the requested form.
 */
#include "attest/verdict/ear.h"
#include "crypto/base/clock.h"
#include "crypto/base/encode.h"
#include "crypto/base/printable.h"
#include "crypto/key_io.h"
#include "tools/common/output.h"
#include "tools/verbs.h"
#include "tools/verify/expectations.h"
#include "tools/verify/verify_from.h"
#include "tools/verify/verify_input.h"
#include "tools/verify/verify_output.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define TIME_MAX 253402300799 /* the last second of the year 9999 */

enum {
	OPTION_ROOT = CLI_LONG,
	OPTION_NONCE,
	OPTION_MAX_AGE,
	OPTION_AT,
	OPTION_PCR,
	OPTION_MEASUREMENTS,
	OPTION_ALLOW_DEBUG,
	OPTION_EVENT_LOG,
	OPTION_SYSTEMD_LOG,
	OPTION_MODEL_PCR,
	OPTION_MODEL,
	OPTION_MEMBER,
	OPTION_MEASURE,
	OPTION_OWNER_KEY,
	OPTION_SEAL,
	OPTION_ATTEST,
	OPTION_KMS_KEY,
	OPTION_POLICY,
	OPTION_FROM,
	OPTION_PRESENT,
	OPTION_TCTI,
	OPTION_EAR,
	OPTION_EAR_KEY,
	OPTION_EAR_NAMES,
};

static const struct cli_option options[] = {
	{OPTION_POLICY, "policy", "FILE", "all that is expected, as a file"},
	{OPTION_FROM, "from", "URL",
	 "ask a machine: http://, https:// or unix:PATH of\nits sealctl attest --serve"},
	{OPTION_PRESENT, "present", NULL, "and present this machine's own evidence to it"},
	{OPTION_TCTI, "tcti", "TCTI", "which TPM of this machine"},
	{OPTION_NONCE, "nonce", "HEX", "the document must carry it"},
	{OPTION_MAX_AGE, "max-age", "SECONDS", "(300; with --at it is not asked)"},
	{OPTION_AT, "at", "TIME",
	 "judge it at this time: 2026-02-03T10:12:02Z, or\n@SECONDS since 1970"},
	{OPTION_ROOT, "root", "FILE", "another root certificate than AWS's"},
	{OPTION_PCR, "pcr", "N=HEX",
	 "a value that PCR N may have; repeatable, several\nfor one N are alternatives"},
	{OPTION_MEASUREMENTS, "measurements", "FILE",
	 "the same, as nitro-tpm-pcr-compute or nitro-cli\nprints it; repeatable"},
	{OPTION_ALLOW_DEBUG, "allow-debug", NULL, "accept an enclave in debug mode"},
	{OPTION_EVENT_LOG, "event-log", "FILE", "the machine's tpm2-measure.log"},
	{OPTION_SYSTEMD_LOG, "systemd-log", "FILE", "systemd's, where it extends the PCR, too"},
	{OPTION_MODEL, "model", "WHAT",
	 "sha256:, sha384:, verity: or set:HEX, a seal, a\ndirectory (its set, or its seals), or a plaintext;\nrepeatable, in their order"},
	{OPTION_MEMBER, "member", "PATH",
	 "show this member of the set that --model names;\nfails if it has none; repeatable"},
	{OPTION_MEASURE, "measure", "MODE", "an acceptable mode; repeatable"},
	{OPTION_OWNER_KEY, "owner-key", "[NAME=]PUB",
	 "one of these must have signed each seal; repeatable"},
	{OPTION_SEAL, "seal", "WHAT", "seals that the PCR's models may have; repeatable"},
	{OPTION_MODEL_PCR, "model-pcr", "N", "PCR of the models; default: 15"},
	{OPTION_ATTEST, "attest", "HOW", "without a log: the mount's attest= (nitrotpm)"},
	{OPTION_KMS_KEY, "kms-key", "KEY", "without a log: the mount's kms-key=; repeatable"},
	{OPTION_EAR, "ear", NULL, "print an EAT Attestation Result"},
	{OPTION_EAR_KEY, "ear-key", "PEM", "the same as a JWT, signed with this EC key"},
	{OPTION_EAR_NAMES, "ear-names", "NAMES",
	 "2026 (ear_status; default) or dotted (ear.status)"},
	{0},
};

struct verifying {
	struct cli *cli;
	struct expectations expect;
	const char *event_log, *systemd_log, *policy, *ear_key, *from, *tcti;
	uint8_t nonce[DOCUMENT_FIELD_MAX];
	struct occasion when;
	uint8_t tls_key[32];
	bool tls; /* it was met */
	bool has_time, ear, present, has_attest;
	enum ear_names ear_names;
};

static int take_nonce(struct verifying *v, const char *hex, struct error *err)
{
	size_t n = strlen(hex) / 2;

	if (n == 0 || n > sizeof(v->nonce) || hex_decode(hex, v->nonce, n) < 0)
		return cli_usage_error(v->cli, err, "--nonce is not 1 to %d bytes in hex",
				       DOCUMENT_FIELD_MAX);
	v->when.nonce = (struct bytes_view){v->nonce, n};
	return 0;
}

static int take_max_age(struct verifying *v, const char *text, struct error *err)
{
	if (number_parse(text, 10, INT32_MAX, &v->expect.req.max_age_s) < 0)
		return cli_usage_error(v->cli, err, "--max-age is not a number of seconds");
	v->expect.req.has_max_age = true;
	return 0;
}

static int take_time(struct verifying *v, const char *text, struct error *err)
{
	struct tm tm = {0};
	uint64_t seconds;
	const char *end;

	v->has_time = true;
	if (text[0] == '@' && number_parse(text + 1, 10, TIME_MAX, &seconds) == 0) {
		v->when.time_s = (int64_t)seconds;
		return 0;
	}
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end || *end || tm.tm_year < 70)
		return cli_usage_error(v->cli, err,
				       "--at is not a time like 2026-02-03T10:12:02Z or @SECONDS");
	v->when.time_s = (int64_t)timegm(&tm);
	return 0;
}

static int take_attest(struct verifying *v, const char *value, struct error *err)
{
	if (strcmp(value, "nitrotpm") != 0 && strcmp(value, "none") != 0)
		return cli_usage_error(v->cli, err, "--attest must be nitrotpm or none");
	v->expect.req.attest = value;
	v->has_attest = true;
	return 0;
}

static int take_ear_names(struct verifying *v, const char *value, struct error *err)
{
	if (strcmp(value, "2026") != 0 && strcmp(value, "dotted") != 0)
		return cli_usage_error(v->cli, err, "--ear-names must be 2026 or dotted");
	v->ear_names = strcmp(value, "dotted") == 0 ? EAR_NAMES_DOTTED : EAR_NAMES_2026;
	return 0;
}

/* Options whose value is taken as it is. True: it was one. */
static bool take_plain(struct verifying *v, int id)
{
	switch (id) {
	case OPTION_ALLOW_DEBUG:
		v->expect.req.allow_debug = true;
		return true;
	case OPTION_EVENT_LOG:
		v->event_log = v->cli->value;
		return true;
	case OPTION_SYSTEMD_LOG:
		v->systemd_log = v->cli->value;
		return true;
	case OPTION_POLICY:
		v->policy = v->cli->value;
		return true;
	case OPTION_FROM:
		v->from = v->cli->value;
		return true;
	case OPTION_PRESENT:
		v->present = true;
		return true;
	case OPTION_TCTI:
		v->tcti = v->cli->value;
		return true;
	case OPTION_EAR_KEY:
		v->ear_key = v->cli->value;
		v->ear = true;
		return true;
	case OPTION_EAR:
		v->ear = true;
		return true;
	default:
		return false;
	}
}

static int take_expectation(struct verifying *v, int id, struct error *err)
{
	struct expectations *e = &v->expect;
	const char *value = v->cli->value;

	switch (id) {
	case OPTION_ROOT:
		return expect_root(e, value, err);
	case OPTION_PCR:
		return expect_pcr(e, value, err);
	case OPTION_MEASUREMENTS:
		return expect_measurements(e, value, err);
	case OPTION_MODEL_PCR:
		return expect_model_pcr(e, value, err);
	case OPTION_MODEL:
		return expect_model(e, value, err);
	case OPTION_MEMBER:
		return expect_member(e, value, err);
	case OPTION_MEASURE:
		return expect_mode(e, value, err);
	case OPTION_OWNER_KEY:
		return expect_owner(e, value, err);
	case OPTION_SEAL:
		return expect_seal(e, value, err);
	default:
		return expect_kms_key(e, value, err);
	}
}

static int take_option(struct verifying *v, int id, struct error *err)
{
	const char *value = v->cli->value;

	if (take_plain(v, id))
		return 0;
	switch (id) {
	case OPTION_NONCE:
		return take_nonce(v, value, err);
	case OPTION_MAX_AGE:
		return take_max_age(v, value, err);
	case OPTION_AT:
		return take_time(v, value, err);
	case OPTION_ATTEST:
		return take_attest(v, value, err);
	case OPTION_EAR_NAMES:
		return take_ear_names(v, value, err);
	default:
		return take_expectation(v, id, err);
	}
}

static int print_ear(struct verifying *v, const struct verdict *verdict, struct error *err)
{
	json_t *claims = ear_claims(verdict, (int64_t)time(NULL), v->ear_names);
	_cleanup_secret_ struct secret *pem = NULL;
	_cleanup_free_ char *token = NULL;
	int r = claims ? 0 : error_set(err, -ENOMEM, "out of memory");

	v->cli->failure_reported = true;
	if (r == 0 && !v->ear_key)
		return output_json(claims);
	if (r == 0)
		r = key_io_read(v->ear_key, TRUST_SECRET, &pem, err);
	if (r == 0)
		r = jwt_sign(claims, secret_data(pem), secret_size(pem), &token, err);
	json_decref(claims);
	if (r < 0)
		return error_prefix(err, r, "%s", v->ear_key);
	print_safely(stdout, "%s\n", token);
	return 0;
}

static int report(struct verifying *v, const struct verdict *verdict, const char *label,
		  size_t size, struct error *err)
{
	unsigned pcr = v->expect.req.pcr;
	int r = 0;

	if (v->ear) {
		r = print_ear(v, verdict, err);
	} else if (v->cli->json) {
		v->cli->failure_reported = true;
		r = output_json(verify_json(verdict, pcr, label, size));
	} else if (!v->cli->quiet || verdict_ok(verdict)) {
		verify_print(verdict, pcr);
	}
	if (r < 0 || verdict_ok(verdict))
		return r;
	/* The sentence without its full stop, as error messages have none. */
	return error_set(err,
			 verdict->exit_code == EXIT_CODE_NOT_AUTHENTIC ? -EBADMSG : -EKEYREJECTED,
			 "%.*s", (int)strlen(verdict->sentence) - 1, verdict->sentence);
}

/* Evidence made for this call: its nonce, and the TLS key of the connection, are checked. */
static int ask_server(struct verifying *v, struct presented *ret, struct error *err)
{
	struct evidence_options own = {.tcti = v->tcti, .pcr = PCR_DEFAULT};
	int r = verify_from(v->from, v->present ? &own : NULL, v->nonce, v->tls_key, &v->tls, ret,
			    err);

	v->when.nonce = (struct bytes_view){v->nonce, VERIFY_NONCE_SIZE};
	v->when.tls_key = v->tls ? v->tls_key : NULL;
	/* What the server needed for it is not the document's age. */
	v->when.time_s = clock_now_s();
	return r;
}

/* They predict a start event; where a log has one, nothing would compare them with it. */
static int check_start_facts(struct verifying *v, const struct presented *p, struct error *err)
{
	bool has_log = p->event_log.data || p->systemd_log.data;

	if (!has_log || (!v->has_attest && v->expect.req.kms_key_count == 0))
		return 0;
	return cli_usage_error(v->cli, err,
			       "--attest and --kms-key are not checked where there is a log: the "
			       "verdict with --json shows the log's start event");
}

static int judge(struct verifying *v, const char *path, struct error *err)
{
	_cleanup_presented_ struct presented evidence = {0};
	_cleanup_(verdict_freep) struct verdict *verdict = NULL;
	int r = v->from ? ask_server(v, &evidence, err)
			: verify_read_evidence(path, &evidence, err);

	if (r == 0 && !v->from)
		r = verify_read_logs(v->event_log, v->systemd_log, &evidence, err);
	if (r == 0)
		r = check_start_facts(v, &evidence, err);
	if (r == 0)
		r = expectations_judge(&v->expect, &evidence, &v->when, &verdict, err);
	if (r != 0)
		return r;
	return report(v, verdict, path, evidence.document.size, err);
}

static int prepare(struct verifying *v, struct error *err)
{
	struct verdict_request *req = &v->expect.req;
	int r = v->policy ? expect_policy(&v->expect, v->policy, err) : 0;

	if (r == 0 && cli_operands(v->cli) != (v->from ? 0 : 1))
		r = cli_usage_error(v->cli, err, "give one document, or evidence, or --from");
	if (r == 0 && v->from &&
	    (v->has_time || v->when.nonce.data || v->event_log || v->systemd_log))
		r = cli_usage_error(v->cli, err,
				    "with --from the nonce, the time and the logs are not given");
	if (r == 0 && !v->from && (v->present || v->tcti))
		r = cli_usage_error(v->cli, err, "--present and --tcti go with --from");
	if (r == 0 && v->tcti && !v->present)
		r = cli_usage_error(v->cli, err, "--tcti goes with --present");
	if (r == 0 && v->cli->json && v->ear_key)
		r = cli_usage_error(v->cli, err, "a token is not JSON: leave out --json");
	if (!v->has_time)
		v->when.time_s = (int64_t)time(NULL);
	if (!req->has_max_age && !v->has_time) {
		req->has_max_age = true;
		req->max_age_s = VERDICT_MAX_AGE_S;
	}
	return r;
}

static int run(struct cli *cli, struct error *err)
{
	struct verifying v = {.cli = cli};
	int r = expectations_init(&v.expect, cli, err), id;

	while (r == 0 && (id = cli_next(cli, err)) != 0)
		r = id < 0 ? id : take_option(&v, id, err);
	if (r == 0)
		r = prepare(&v, err);
	if (r == 0)
		r = judge(&v, v.from ? v.from : cli_operand(cli, 0), err);
	expectations_clear(&v.expect);
	return r;
}

const struct verb verb_verify = {
	.name = "verify",
	.summary = "what an attestation document proves, in one sentence",
	.usage = "[OPTIONS] DOCUMENT|EVIDENCE\n[OPTIONS] --from URL",
	.help = "Judges an attestation document of a NitroTPM or a Nitro Enclave (raw or base64), or\n"
		"evidence (JSON), which has the logs and seals with it. Needs no TPM, no network and\n"
		"no AWS account. With --from it asks a machine for evidence, with a nonce of its own;\n"
		"over https the machine's document must name the TLS key that was met, whoever its\n"
		"certificate is from; over http and unix sockets that is not asked.\n"
		"\n"
		"Each step is shown as passed, failed or not asked: decode, fields, chain (to AWS's\n"
		"root, at the document's time), signature, freshness, boot, log, model, owner. The\n"
		"document is verified only if every step that was asked has passed; else the exit\n"
		"code is 3 (not authentic) or 4 (not what was expected).\n"
		"\n"
		"Without a log, --model and --owner-key say what the PCR should hold, as in hash --pcr.",
	.options = options,
	.uses_aws = true,
	.run = run,
};
