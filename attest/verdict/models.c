/*
 * The models that a PCR must hold, against those that it holds. Job: exactly those, in their order,
 * in a mode that the caller accepts; else the one reason that says most.
 */
#include "attest/verdict/verdict_internal.h"

#include <errno.h>

static int fail_count(struct judging *j)
{
	size_t has = j->v->model_count;

	return step_fail(j->v, STEP_MODEL, "PCR %u holds %zu %s, not %zu", j->req->pcr, has,
			 has == 1 ? "model" : "models", j->req->model_count);
}

static bool in_order(const struct judging *j)
{
	for (size_t i = 0; i < j->v->model_count; i++)
		if (!model_is(&j->req->models[i], &j->v->models[i]))
			return false;
	return true;
}

/* The same models, each once, in whatever order. 1, 0, -ENOMEM. */
static int in_any_order(const struct judging *j)
{
	size_t count = j->v->model_count, found = 0;
	_cleanup_free_ bool *used = calloc(count + 1, sizeof(*used));

	if (!used)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < count; k++)
			if (!used[k] && model_is(&j->req->models[i], &j->v->models[k])) {
				used[k] = true;
				found++;
				break;
			}
	return found == count;
}

static bool is_any(const struct judging *j, const struct held_model *m)
{
	for (size_t i = 0; i < j->req->model_count; i++)
		if (model_is(&j->req->models[i], m))
			return true;
	return false;
}

static bool can_compare(const struct judging *j, const struct held_model *m)
{
	for (size_t i = 0; i < j->req->model_count; i++)
		if (j->req->models[i].kinds & m->kinds)
			return true;
	return false;
}

/* The model that is none of the expected ones, or else not the one of its place. */
static const struct held_model *find_other(const struct judging *j)
{
	const struct verdict *v = j->v;

	for (size_t i = 0; i < v->model_count; i++)
		if (!is_any(j, &v->models[i]))
			return &v->models[i];
	for (size_t i = 0; i < v->model_count; i++)
		if (!model_is(&j->req->models[i], &v->models[i]))
			return &v->models[i];
	return &v->models[0];
}

static int fail_other(struct judging *j)
{
	const struct held_model *m = find_other(j);

	if (!can_compare(j, m))
		return step_fail(j->v, STEP_MODEL,
				 "PCR %u holds %s, which cannot be compared with the digests that "
				 "were given",
				 j->req->pcr, m->name);
	return step_fail(j->v, STEP_MODEL, "PCR %u holds another model: %s", j->req->pcr, m->name);
}

static int judge_modes(struct judging *j)
{
	const struct verdict *v = j->v;

	for (size_t i = 0; j->req->modes && i < v->model_count; i++)
		if (!(j->req->modes & (1U << v->models[i].mode)))
			return step_fail(j->v, STEP_MODEL,
					 "PCR %u holds %s, but it was measured as %s", j->req->pcr,
					 v->models[i].name, measure_mode_name(v->models[i].mode));
	return judge_members(j);
}

int step_model(struct judging *j)
{
	const struct verdict *v = j->v;
	unsigned pcr = j->req->pcr;
	int r;

	if (!j->pcr)
		return step_fail(j->v, STEP_MODEL, "the document has no PCR %u", pcr);
	if (!v->holds_known)
		return step_fail(j->v, STEP_MODEL,
				 "PCR %u does not have the value that the expected models lead to",
				 pcr);
	if (v->unknown_count > 0)
		return step_fail(j->v, STEP_MODEL, "something unknown was extended into PCR %u too",
				 pcr);
	if (v->model_count == 0)
		return step_fail(j->v, STEP_MODEL, "PCR %u holds no model", pcr);
	if (j->req->model_count == 0)
		return judge_modes(j);
	if (v->model_count != j->req->model_count)
		return fail_count(j);
	if (in_order(j))
		return judge_modes(j);
	r = in_any_order(j);
	if (r < 0)
		return r;
	return r ? step_fail(j->v, STEP_MODEL, "PCR %u holds the expected models in another order",
			     pcr)
		 : fail_other(j);
}
