/*
 * Members of a set that a PCR holds. Job: find those that were asked for in a member table whose
 * content digest is the one in the PCR. Must never show a digest that neither the PCR binds nor an
 * expected owner signed.
 */
#include "attest/verdict/verdict_internal.h"

#include <errno.h>
#include <string.h>

/* The set whose members are known and signed by an expected owner, or else known. */
static const struct set *known_set(const struct verdict_request *req, const struct held_model *m)
{
	const struct set *known = NULL;

	for (const struct set *s = set_of(req, m, NULL); s; s = set_of(req, m, s)) {
		if (!set_member(s, 0))
			continue;
		if (set_owner(req, s))
			return s;
		if (!known)
			known = s;
	}
	return known;
}

static int add(struct judging *j, const struct set *s, const struct set_member *m)
{
	struct held_member *to = &j->v->members[j->v->member_count];

	*to = (struct held_member){.path = strdup(m->path),
				   .length = m->length,
				   .is_stated = set_owner(j->req, s) != NULL};
	memcpy(to->verity, m->verity, sizeof(to->verity));
	memcpy(to->sha256, m->sha256, sizeof(to->sha256));
	memcpy(to->sha384, m->sha384, sizeof(to->sha384));
	if (!to->path)
		return -ENOMEM;
	j->v->member_count++;
	return 0;
}

/* 1: it was found. *ret_first: the first model whose members are known. */
static int find(struct judging *j, const char *path, const struct held_model **ret_first)
{
	for (size_t i = 0; i < j->v->model_count; i++) {
		const struct held_model *held = &j->v->models[i];
		const struct set *s = known_set(j->req, held);
		const struct set_member *m = s ? set_find(s, path) : NULL;
		int r;

		if (s && !*ret_first)
			*ret_first = held;
		if (!m)
			continue;
		r = add(j, s, m);
		return r < 0 ? r : 1;
	}
	return 0;
}

int judge_members(struct judging *j)
{
	const struct verdict_request *req = j->req;
	const struct held_model *first = NULL;

	j->v->members = calloc(req->member_count + 1, sizeof(*j->v->members));
	if (!j->v->members)
		return -ENOMEM;
	for (size_t i = 0; i < req->member_count; i++) {
		int r = find(j, req->members[i], &first);

		if (r < 0)
			return r;
		if (r == 0 && first)
			return step_fail(j->v, STEP_MODEL, "%s has no member \"%s\"", first->name,
					 req->members[i]);
		if (r == 0)
			return step_fail(j->v, STEP_MODEL,
					 "no set was given whose members PCR %u holds", req->pcr);
	}
	return step_pass(j->v, STEP_MODEL);
}
