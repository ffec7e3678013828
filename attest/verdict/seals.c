/*
 * Seals and owners of the models that a PCR holds. Job: which seal belongs to a model, who signed
 * it, and what the model is called. Must never take a name or another digest from a seal that none
 * of the expected owners signed: anyone can write one.
 */
#include "attest/verdict/verdict_internal.h"

#include "crypto/base/encode.h"

#include <errno.h>
#include <string.h>

#define NAME_SUFFIX ".gguf"
#define NAME_DIGITS 12

static bool same_digests(unsigned kinds, const struct model_digests *a,
			 const struct model_digests *b)
{
	return (!(kinds & DIGEST_OF_SHA256) ||
		memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0) &&
	       (!(kinds & DIGEST_OF_SHA384) ||
		memcmp(a->sha384, b->sha384, sizeof(a->sha384)) == 0) &&
	       (!(kinds & DIGEST_OF_VERITY) ||
		memcmp(a->verity, b->verity, sizeof(a->verity)) == 0) &&
	       (!(kinds & DIGEST_OF_SET) || memcmp(a->set, b->set, sizeof(a->set)) == 0);
}

bool model_is(const struct verdict_model *expected, const struct held_model *held)
{
	unsigned common = expected->kinds & held->kinds;

	return common && same_digests(common, &expected->digests, &held->digests);
}

static struct model_digests digests_of(const struct seal *s)
{
	const struct seal_core *core = seal_core(s);
	struct model_digests d = {0};

	memcpy(d.sha256, core->sha256, sizeof(d.sha256));
	memcpy(d.sha384, core->sha384, sizeof(d.sha384));
	memcpy(d.verity, core->verity, sizeof(d.verity));
	return d;
}

/* NULL: no expected owner. */
static const char *signer_of(const struct verdict_request *req, const struct seal *s)
{
	int owner;

	if (owner_keys_count(req->owners) == 0 || !seal_is_signed(s) ||
	    seal_check_owner(s, req->owners, NULL) < 0)
		return NULL;
	owner = owner_keys_owner(req->owners, seal_signer_id(s));
	return owner < 0 ? NULL : req->owner_names[owner];
}

const char *set_owner(const struct verdict_request *req, const struct set *s)
{
	const struct sealed_head *h = set_head(s);
	int owner;

	if (owner_keys_count(req->owners) == 0 || !sealed_head_is_signed(h) ||
	    set_check_owner(s, req->owners, NULL) < 0)
		return NULL;
	owner = owner_keys_owner(req->owners, h->signer_id);
	return owner < 0 ? NULL : req->owner_names[owner];
}

const struct set *set_of(const struct verdict_request *req, const struct held_model *m,
			 const struct set *after)
{
	bool begun = !after;

	for (size_t i = 0; m->mode == MEASURE_SET && i < req->set_count; i++) {
		const struct set *s = req->sets[i];

		if (begun &&
		    memcmp(set_header(s)->content, m->digests.set, sizeof(m->digests.set)) == 0)
			return s;
		begun = begun || s == after;
	}
	return NULL;
}

static char *copy_name(const char *name)
{
	size_t size = strlen(name), suffix = strlen(NAME_SUFFIX);

	if (size > suffix && strcmp(name + size - suffix, NAME_SUFFIX) == 0)
		size -= suffix;
	return strndup(name, size);
}

/* "verity:99947def08ab" */
static char *name_by_digest(const struct held_model *m)
{
	char digits[NAME_DIGITS + 1], *name = NULL;
	const char *kind = "sha256";
	const uint8_t *digest = m->digests.sha256;

	if (m->mode == MEASURE_VERITY) {
		kind = "verity";
		digest = m->digests.verity;
	} else if (m->mode == MEASURE_SET) {
		kind = "set";
		digest = m->digests.set;
	} else if (m->mode == MEASURE_SHA384) {
		kind = "sha384";
		digest = m->digests.sha384;
	}
	hex_encode(digest, NAME_DIGITS / 2, digits);
	return asprintf(&name, "%s:%s", kind, digits) < 0 ? NULL : name;
}

/* stated: what a signed seal or set calls it; NULL: none. */
static char *name_of(const struct verdict_request *req, const struct held_model *m,
		     const char *stated)
{
	for (size_t i = 0; i < req->model_count; i++)
		if (req->models[i].label && model_is(&req->models[i], m))
			return copy_name(req->models[i].label);
	return stated ? copy_name(stated) : name_by_digest(m);
}

static int complete_set(const struct verdict_request *req, struct held_model *m)
{
	const char *stated = NULL;

	for (const struct set *s = set_of(req, m, NULL); s && !stated; s = set_of(req, m, s)) {
		m->has_seal = true;
		m->owner = set_owner(req, s);
		if (!m->owner)
			continue;
		stated = set_header(s)->name;
		m->version = set_header(s)->version;
	}
	m->name = name_of(req, m, stated);
	return m->name ? 0 : -ENOMEM;
}

static int complete_model(const struct verdict_request *req, struct held_model *m)
{
	const struct seal *signed_seal = NULL;

	/* The seals of a set's members say nothing of the set. */
	if (m->mode == MEASURE_SET)
		return complete_set(req, m);
	for (size_t i = 0; i < req->seal_count && !signed_seal; i++) {
		struct model_digests d = digests_of(req->seals[i]);

		if (!same_digests(m->measured, &m->digests, &d))
			continue;
		m->has_seal = true;
		m->owner = signer_of(req, req->seals[i]);
		if (!m->owner)
			continue;
		signed_seal = req->seals[i];
		m->digests = d;
		m->kinds = DIGEST_OF_SHA256 | DIGEST_OF_SHA384 | DIGEST_OF_VERITY;
	}
	m->name = name_of(req, m, signed_seal ? seal_core(signed_seal)->path : NULL);
	return m->name ? 0 : -ENOMEM;
}

int complete_models(struct judging *j)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < j->v->model_count; i++)
		r = complete_model(j->req, &j->v->models[i]);
	return r;
}

static bool names_other(const struct judging *j, const char *text)
{
	struct start_claim claim;
	uint8_t id[SIGNER_ID_SIZE];

	if (start_event_read(text, &claim) < 0)
		return true;
	for (size_t i = 0; i < claim.owner_count; i++) {
		start_claim_owner(&claim, i, id);
		if (!owner_keys_contain(j->req->owners, id))
			return true;
	}
	return false;
}

static bool names_none(const char *text)
{
	struct start_claim claim;

	return start_event_read(text, &claim) < 0 || claim.owner_count == 0;
}

/* Reason by reason, as VERDICT.md orders them. */
int step_owner(struct judging *j)
{
	struct verdict *v = j->v;

	if (!v->holds_known)
		return step_fail(v, STEP_OWNER, "it is not known what PCR %u holds", j->req->pcr);
	if (v->unknown_count > 0)
		return step_fail(v, STEP_OWNER, "something unknown was extended into PCR %u too",
				 j->req->pcr);
	if (v->model_count == 0)
		return step_fail(v, STEP_OWNER, "PCR %u holds no model", j->req->pcr);
	for (size_t i = 0; i < v->model_count; i++)
		if (!v->models[i].has_seal && v->models[i].mode != MEASURE_SET)
			return step_fail(v, STEP_OWNER, "no seal was given for %s",
					 v->models[i].name);
	for (size_t i = 0; i < v->model_count; i++)
		if (!v->models[i].owner && v->models[i].mode != MEASURE_SET)
			return step_fail(v, STEP_OWNER,
					 "the seal of %s is not signed by an expected owner",
					 v->models[i].name);
	for (size_t i = 0; i < v->model_count; i++)
		if (!v->models[i].owner && v->models[i].has_seal)
			return step_fail(v, STEP_OWNER, "%s is a set that no expected owner signed",
					 v->models[i].name);
	for (size_t i = 0; i < v->start_count; i++)
		if (names_other(j, v->starts[i]))
			return step_fail(v, STEP_OWNER, "the start event names another owner");
	for (size_t i = 0; i < v->start_count; i++)
		if (names_none(v->starts[i]))
			return step_fail(v, STEP_OWNER, "the start event names no owner");
	return step_pass(v, STEP_OWNER);
}
