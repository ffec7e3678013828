/*
 * The verdict in one sentence (VERDICT.md, "The sentence"). Must never sound better than the steps:
 * it states what was not asked, and after a failure only the failed step.
 */
#include "attest/verdict/verdict_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static const char *how(enum measure_mode mode)
{
	switch (mode) {
	case MEASURE_VERITY:
		return "every byte checked";
	case MEASURE_SET:
		return "every byte of its members checked";
	case MEASURE_DECLARED:
		return "hashes declared by the sealer, bytes not compared with them";
	default:
		return "mode not provable";
	}
}

static void add_models(FILE *to, const struct verdict *v)
{
	bool owner = v->steps[STEP_OWNER].status == STATUS_PASSED;

	for (size_t i = 0; i < v->model_count; i++) {
		const struct held_model *m = &v->models[i];

		if (i > 0)
			fprintf(to, i + 1 == v->model_count ? ", and " : ", ");
		fprintf(to, "%s", m->name);
		if (owner && m->owner && m->mode == MEASURE_SET)
			fprintf(to, " version %" PRIu64 " (set signed by %s)", m->version,
				m->owner);
		else if (owner && m->owner)
			fprintf(to, " (sealed by %s)", m->owner);
		fprintf(to, ", %s", how(m->mode));
	}
}

static const char *plural(size_t count)
{
	return count == 1 ? "" : "s";
}

static void add_holds(FILE *to, const struct judging *j)
{
	const struct verdict *v = j->v;

	if (!log_was_given(j->req) && j->req->model_count == 0) {
		fprintf(to, "The document is genuine");
		return;
	}
	fprintf(to, "PCR %u holds ", j->req->pcr);
	if (v->model_count == 0)
		fprintf(to, "no model");
	else if (v->model_count == 1)
		fprintf(to, v->unknown_count > 0 ? "one model: " : "exactly one model: ");
	else
		fprintf(to, "%zu models: ", v->model_count);
	add_models(to, v);
	if (v->systemd_count > 0)
		fprintf(to, ", after %zu event%s of systemd", v->systemd_count,
			plural(v->systemd_count));
	if (v->unknown_count > 0)
		fprintf(to, ", and %zu event%s that nobody explains", v->unknown_count,
			plural(v->unknown_count));
}

static void add_age(FILE *to, const struct judging *j)
{
	time_t seconds = (time_t)(j->v->document->timestamp_ms / 1000);
	char text[32];
	struct tm tm;

	if (j->req->has_max_age) {
		fprintf(to, "document %" PRId64 " s old%s", MAX(j->v->age_s, (int64_t)0),
			j->req->nonce.data ? "" : " (no nonce)");
		return;
	}
	if (!gmtime_r(&seconds, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(text, sizeof(text), "%lld", (long long)seconds);
	fprintf(to, "document of %s", text);
}

static const char *first_reason(const struct verdict *v)
{
	for (size_t i = 0; i < STEP_COUNT; i++)
		if (v->steps[i].status == STATUS_FAILED)
			return v->steps[i].reason;
	return NULL;
}

int make_sentence(struct judging *j)
{
	const char *reason = first_reason(j->v);
	size_t size = 0;
	FILE *to = open_memstream(&j->v->sentence, &size);

	if (!to)
		return -ENOMEM;
	if (reason) {
		fprintf(to, "Not verified: %s.", reason);
	} else {
		add_holds(to, j);
		fprintf(to, "; boot image %s; ",
			j->v->steps[STEP_BOOT].status == STATUS_PASSED ? "matches" : "not checked");
		add_age(to, j);
		fprintf(to, ".");
	}
	return fclose(to) == 0 && j->v->sentence ? 0 : -ENOMEM;
}
