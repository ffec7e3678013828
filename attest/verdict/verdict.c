/*
 * The verdict. Job: run each step in its order, and combine the results (VERDICT.md). Must
 * never return "verified" when a step that was asked did not pass, also not one that could not be
 * judged.
 */
#include "attest/verdict/verdict_internal.h"

#include "attest/certificate.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *const step_names[STEP_COUNT] = {
	[STEP_DECODE] = "decode",	[STEP_FIELDS] = "fields",
	[STEP_CHAIN] = "chain",		[STEP_SIGNATURE] = "signature",
	[STEP_FRESHNESS] = "freshness", [STEP_TLS] = "tls",
	[STEP_BOOT] = "boot",		[STEP_LOG] = "log",
	[STEP_MODEL] = "model",		[STEP_OWNER] = "owner",
};

const char *verdict_step_name(enum verdict_step step)
{
	return step < STEP_COUNT ? step_names[step] : "unknown";
}

const char *verdict_status_name(enum verdict_status status)
{
	return status == STATUS_PASSED	 ? "passed"
	       : status == STATUS_FAILED ? "failed"
					 : "not asked";
}

int step_pass(struct verdict *v, enum verdict_step step)
{
	v->steps[step].status = STATUS_PASSED;
	return 0;
}

int step_fail(struct verdict *v, enum verdict_step step, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&v->steps[step].reason, fmt, args);
	va_end(args);
	v->steps[step].status = STATUS_FAILED;
	if (n < 0)
		v->steps[step].reason = NULL;
	return n < 0 ? -ENOMEM : 0;
}

bool log_was_given(const struct verdict_request *req)
{
	return req->event_log.data || req->systemd_log.data;
}

int held_add_model(struct verdict *v, enum measure_mode mode, const struct model_digests *digests)
{
	struct held_model *more = reallocarray(v->models, v->model_count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	v->models = more;
	more[v->model_count++] = (struct held_model){.mode = mode,
						     .measured = mode_kinds(mode),
						     .kinds = mode_kinds(mode),
						     .digests = *digests};
	return 0;
}

int held_add_start(struct verdict *v, char *text)
{
	char **more = reallocarray(v->starts, v->start_count + 1, sizeof(*more));

	if (!more) {
		free(text);
		return -ENOMEM;
	}
	v->starts = more;
	more[v->start_count++] = text;
	return 0;
}

static bool is_asked(const struct judging *j, enum verdict_step step)
{
	const struct verdict_request *req = j->req;

	switch (step) {
	case STEP_FRESHNESS:
		return req->nonce.data || req->has_max_age;
	case STEP_TLS:
		return req->tls_key;
	case STEP_BOOT:
		return req->boot_count > 0;
	case STEP_LOG:
		return log_was_given(req);
	case STEP_MODEL:
		return req->model_count > 0 || req->modes || req->member_count > 0;
	case STEP_OWNER:
		return owner_keys_count(req->owners) > 0;
	default:
		return true;
	}
}

static int fail_rest(struct judging *j, enum verdict_step from, enum verdict_step because)
{
	int r = 0;

	for (enum verdict_step s = from; r == 0 && s < STEP_COUNT; s++)
		if (is_asked(j, s))
			r = step_fail(j->v, s, "not checked: %s failed", step_names[because]);
	return r;
}

/* 1: there is a document. */
static int decode(struct judging *j)
{
	const char *field = NULL;
	struct error detail = {0};
	int r = document_parse_by_rule(j->req->document.data, j->req->document.size,
				       &j->v->document, &field, &detail);

	if (r == -ENOMEM)
		return r;
	if (r == 0) {
		step_pass(j->v, STEP_DECODE);
		step_pass(j->v, STEP_FIELDS);
		return 1;
	}
	if (!field) {
		static const char prefix[] = "attestation document: ";
		bool has = strncmp(detail.message, prefix, sizeof(prefix) - 1) == 0;

		r = step_fail(j->v, STEP_DECODE, "the document cannot be decoded: %s",
			      detail.message + (has ? sizeof(prefix) - 1 : 0));
		return r < 0 ? r : fail_rest(j, STEP_FIELDS, STEP_DECODE);
	}
	step_pass(j->v, STEP_DECODE);
	r = step_fail(j->v, STEP_FIELDS, "the document breaks the rule for %s", field);
	return r < 0 ? r : fail_rest(j, STEP_CHAIN, STEP_FIELDS);
}

static int judge_content(struct judging *j)
{
	bool has_log = is_asked(j, STEP_LOG);
	int r = has_log ? step_log(j) : 0;

	if (r < 0)
		return r;
	if (j->v->steps[STEP_LOG].status == STATUS_FAILED)
		return fail_rest(j, STEP_MODEL, STEP_LOG);
	if (!has_log)
		r = find_by_models(j);
	if (r == 0)
		r = complete_models(j);
	if (r == 0 && is_asked(j, STEP_MODEL))
		r = step_model(j);
	if (r == 0 && is_asked(j, STEP_OWNER))
		r = step_owner(j);
	return r;
}

static int judge_document(struct judging *j)
{
	const struct attest_doc *d = j->v->document;
	int64_t ms = j->req->time_s * 1000 - (int64_t)d->timestamp_ms;
	int r;

	j->v->age_s = ms >= 0 ? ms / 1000 : -((999 - ms) / 1000);
	if (d->pcrs[j->req->pcr].present)
		j->pcr = d->pcrs[j->req->pcr].value;
	r = step_chain(j);
	if (r == 0)
		r = step_signature(j);
	if (r == 0 && is_asked(j, STEP_FRESHNESS))
		r = step_freshness(j);
	if (r == 0 && is_asked(j, STEP_TLS))
		r = step_tls(j);
	if (r == 0)
		r = step_boot(j);
	return r < 0 ? r : judge_content(j);
}

static void set_exit_code(struct verdict *v)
{
	static const bool authentic[STEP_COUNT] = {
		[STEP_DECODE] = true,	 [STEP_FIELDS] = true, [STEP_CHAIN] = true,
		[STEP_SIGNATURE] = true, [STEP_OWNER] = true,
	};

	v->exit_code = EXIT_CODE_OK;
	for (size_t i = 0; i < STEP_COUNT && v->exit_code == EXIT_CODE_OK; i++)
		if (v->steps[i].status == STATUS_FAILED)
			v->exit_code = authentic[i] ? EXIT_CODE_NOT_AUTHENTIC : EXIT_CODE_REFUSED;
}

static int check_request(const struct judging *j, struct error *err)
{
	const struct verdict_request *req = j->req;
	struct certificate_info info;

	if (!pcr_is_allowed(req->pcr))
		return error_set(err, -EINVAL, "PCR %u cannot hold a model; 0 to 15 can", req->pcr);
	if ((is_asked(j, STEP_MODEL) || is_asked(j, STEP_OWNER)) && !log_was_given(req) &&
	    req->model_count == 0) {
		error_hint(err, "give the machine's event log, or the models that are expected");
		return error_set(err, -EINVAL,
				 "nothing was given that tells which models PCR %u holds",
				 req->pcr);
	}
	if (certificate_describe(j->root.data, j->root.size, &info, NULL) < 0)
		return error_set(err, -EINVAL, "the root is not an X.509 certificate");
	return 0;
}

int verdict_judge(const struct verdict_request *req, struct verdict **ret, struct error *err)
{
	_cleanup_(verdict_freep) struct verdict *v = calloc(1, sizeof(*v));
	struct judging j = {
		.req = req,
		.v = v,
		.root = req->root.data
				? req->root
				: (struct bytes_view){verdict_aws_root, verdict_aws_root_size},
	};
	int r = v ? check_request(&j, err) : -ENOMEM;

	if (r == 0)
		r = decode(&j);
	if (r > 0)
		r = judge_document(&j);
	if (r == 0)
		r = make_sentence(&j);
	if (r < 0)
		return error_set(err, r, "cannot judge the document: %s", strerror(-r));
	set_exit_code(v);
	*ret = steal_ptr(v);
	return 0;
}

void verdict_free(struct verdict *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < STEP_COUNT; i++)
		free(v->steps[i].reason);
	for (size_t i = 0; i < v->model_count; i++)
		free(v->models[i].name);
	for (size_t i = 0; i < v->start_count; i++)
		free(v->starts[i]);
	for (size_t i = 0; i < v->member_count; i++)
		free(v->members[i].path);
	free(v->members);
	free(v->models);
	free(v->starts);
	free(v->sentence);
	document_free(v->document);
	free(v);
}
