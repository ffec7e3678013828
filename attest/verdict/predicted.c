/*
 * What the PCR holds when there is no log: the value is computed for each mode from the expected
 * models and the mount's configuration, and compared. Pure arithmetic of PCRS.md.
 */
#include "attest/verdict/verdict_internal.h"

#include <errno.h>
#include <string.h>

/* The strongest first. */
static const struct {
	enum measure_mode mode;
	unsigned kinds; /* that it measures */
} modes[] = {{MEASURE_VERITY, DIGEST_OF_VERITY},
	     {MEASURE_DECLARED, DIGEST_OF_SHA256 | DIGEST_OF_SHA384},
	     {MEASURE_SET, DIGEST_OF_SET},
	     {MEASURE_SHA384, DIGEST_OF_SHA384},
	     {MEASURE_SHA256, DIGEST_OF_SHA256}};

unsigned mode_kinds(enum measure_mode mode)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (modes[i].mode == mode)
			return modes[i].kinds;
	return 0;
}

/* start: NULL for a bare mode. */
static int value_of(const struct verdict_request *req, enum measure_mode mode, const char *start,
		    uint8_t value[DIGEST_SIZE_MAX])
{
	uint8_t digest[DIGEST_SIZE_MAX];
	int r = 0;

	memset(value, 0, DIGEST_SIZE_MAX);
	if (start)
		r = digest_buffer(DIGEST_SHA384, start, strlen(start), digest);
	if (r == 0 && start)
		r = pcr_extend_value(DIGEST_SHA384, value, digest);
	for (size_t i = 0; r == 0 && i < req->model_count; i++) {
		r = measure_bank_digest(mode, &req->models[i].digests, DIGEST_SHA384, digest);
		if (r == 0)
			r = pcr_extend_value(DIGEST_SHA384, value, digest);
	}
	return r;
}

static bool can_compute(const struct verdict_request *req, unsigned kinds)
{
	for (size_t i = 0; i < req->model_count; i++)
		if ((req->models[i].kinds & kinds) != kinds)
			return false;
	return true;
}

/* 1: the PCR has this mode's value. */
static int try_mode(struct judging *j, enum measure_mode mode)
{
	const struct verdict_request *req = j->req;
	struct start_facts facts = {.measure = mode,
				    .attest = req->attest,
				    .owners = req->owners,
				    .kms_keys = req->kms_keys,
				    .kms_key_count = req->kms_key_count};
	_cleanup_free_ char *start = NULL;
	uint8_t value[DIGEST_SIZE_MAX] = {0};
	int r = 0;

	if (start_event_needed(mode))
		r = start_event_text(&facts, &start, NULL);
	if (r == 0)
		r = value_of(req, mode, start, value);
	if (r < 0 || memcmp(value, j->pcr, SHA384_SIZE) != 0)
		return r == -EINVAL ? 0 : r; /* no mount has such a configuration */
	if (start)
		r = held_add_start(j->v, steal_ptr(start));
	for (size_t i = 0; r == 0 && i < req->model_count; i++)
		r = held_add_model(j->v, mode, &req->models[i].digests);
	return r < 0 ? r : 1;
}

int find_by_models(struct judging *j)
{
	static const uint8_t zero[SHA384_SIZE];
	int r = 0;

	if (!j->pcr)
		return 0;
	if (memcmp(j->pcr, zero, sizeof(zero)) == 0) {
		j->v->holds_known = true;
		return 0;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(modes); i++)
		if (can_compute(j->req, modes[i].kinds))
			r = try_mode(j, modes[i].mode);
	j->v->holds_known = r > 0;
	return MIN(r, 0);
}
