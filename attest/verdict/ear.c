/*
 * EAT Attestation Results. Job: express the verdict in the terms of the standard. Must never give a
 * better tier than the worst claim, nor affirm what was not asked.
 */
#include "attest/verdict/ear.h"

#include "crypto/base/encode.h"
#include "crypto/base/json.h"

#include <string.h>

#define PROFILE_2026 "tag:ietf.org,2026:rats/ear#03"
#define PROFILE_DOTTED "tag:github.com,2023:veraison/ear"
#define DEVELOPER "sealedfs"
#define BUILD "sealctl " SEALEDFS_VERSION
#define NONCE_MIN 8 /* bytes that the standard allows */
#define NONCE_MAX 64

/* AR4SI, section 2.3: what a claim's value means. */
enum {
	CLAIM_NONE = 0,
	CLAIM_AFFIRMED = 2,    /* genuine, recognized, approved */
	CLAIM_BOOT_IMAGE = 3,  /* executables: recognized ones were loaded at boot */
	CLAIM_WARNING = 32,    /* also configuration: exposes known vulnerabilities */
	CLAIM_DENIED = 96,     /* not what the policy accepts */
	CLAIM_UNKNOWN = 97,    /* instance identity: not the one that was asked */
	CLAIM_NOT_PROVEN = 99, /* a cryptographic check of the evidence failed */
};

struct claim_names {
	const char *profile, *verifier, *status, *vector;
};

static const struct claim_names all_names[] = {
	[EAR_NAMES_2026] = {PROFILE_2026, "ear_verifier_id", "ear_status",
			    "ear_trustworthiness_vector"},
	[EAR_NAMES_DOTTED] = {PROFILE_DOTTED, "ear.verifier-id", "ear.status",
			      "ear.trustworthiness-vector"},
};

static bool failed(const struct verdict *v, enum verdict_step step)
{
	return v->steps[step].status == STATUS_FAILED;
}

static bool passed(const struct verdict *v, enum verdict_step step)
{
	return v->steps[step].status == STATUS_PASSED;
}

static bool is_genuine(const struct verdict *v)
{
	return passed(v, STEP_FIELDS) && passed(v, STEP_CHAIN) && passed(v, STEP_SIGNATURE);
}

/* Zero is left out: nothing is claimed. */
static int claim(json_t *vector, const char *name, int value)
{
	return value == CLAIM_NONE ? 0 : json_object_set_new(vector, name, json_integer(value));
}

static int boot_claim(const struct verdict *v)
{
	if (failed(v, STEP_BOOT))
		return CLAIM_DENIED;
	return passed(v, STEP_BOOT) ? CLAIM_BOOT_IMAGE : CLAIM_NONE;
}

static json_t *platform_vector(const struct verdict *v)
{
	json_t *vector = json_object();
	int bad = 0;

	if (!is_genuine(v)) {
		bad |= claim(vector, "instance-identity", CLAIM_NOT_PROVEN);
		bad |= claim(vector, "hardware", CLAIM_NOT_PROVEN);
	} else {
		bool other = failed(v, STEP_FRESHNESS) || failed(v, STEP_TLS);

		bad |= claim(vector, "instance-identity", other ? CLAIM_UNKNOWN : CLAIM_AFFIRMED);
		bad |= claim(vector, "hardware", CLAIM_AFFIRMED);
		bad |= claim(vector, "executables", boot_claim(v));
		/* Accepted by whoever asked; its console shows what it does. */
		if (verdict_is_debug(v->document))
			bad |= claim(vector, "configuration", CLAIM_WARNING);
	}
	if (!bad)
		return vector;
	json_decref(vector);
	return NULL;
}

/* Of the files that the model PCR speaks of. */
static int files_claim(const struct verdict *v)
{
	if (failed(v, STEP_LOG) || failed(v, STEP_MODEL))
		return is_genuine(v) ? CLAIM_DENIED : CLAIM_NOT_PROVEN;
	if (v->unknown_count > 0)
		return CLAIM_WARNING;
	if (!is_genuine(v) || !passed(v, STEP_MODEL))
		return CLAIM_NONE;
	/* Only where every byte was checked are the files known to be the approved ones. */
	for (size_t i = 0; i < v->model_count; i++)
		if (v->models[i].mode != MEASURE_VERITY && v->models[i].mode != MEASURE_SET)
			return CLAIM_WARNING;
	return CLAIM_AFFIRMED;
}

static int owner_claim(const struct verdict *v)
{
	if (failed(v, STEP_OWNER))
		return is_genuine(v) ? CLAIM_DENIED : CLAIM_NOT_PROVEN;
	return is_genuine(v) && passed(v, STEP_OWNER) && v->model_count > 0 ? CLAIM_AFFIRMED
									    : CLAIM_NONE;
}

static json_t *model_vector(const struct verdict *v)
{
	json_t *vector = json_object();
	int bad = claim(vector, "file-system", files_claim(v));

	bad |= claim(vector, "sourced-data", owner_claim(v));
	/* A vector has at least one claim. */
	if (!bad && json_object_size(vector) == 0)
		bad = json_object_set_new(vector, "file-system", json_integer(CLAIM_NONE));
	if (!bad)
		return vector;
	json_decref(vector);
	return NULL;
}

/* The tier of a value: AR4SI, section 2.3.1. */
static int tier_of(int value)
{
	return value >= CLAIM_DENIED	 ? 96
	       : value >= CLAIM_WARNING	 ? 32
	       : value >= CLAIM_AFFIRMED ? 2
					 : 0;
}

/* No better than the worst claim; "none" where nothing is claimed. */
static int worst_tier(const json_t *vector)
{
	const char *name;
	json_t *value;
	int worst = 0;

	json_object_foreach ((json_t *)(uintptr_t)vector, name, value)
		worst = MAX(worst, tier_of((int)json_integer_value(value)));
	return worst;
}

static const char *tier_name(int tier)
{
	return tier >= 96   ? "contraindicated"
	       : tier >= 32 ? "warning"
	       : tier	    ? "affirming"
			    : "none";
}

static json_t *submodule(const struct claim_names *names, json_t *vector)
{
	int tier = worst_tier(vector);

	return json_pack("{s:s, s:o}", names->status, tier_name(tier), names->vector, vector);
}

static int add_nonce(json_t *submodule, const struct verdict *v)
{
	_cleanup_free_ char *text = NULL;

	if (!v->document || v->document->nonce.size < NONCE_MIN ||
	    v->document->nonce.size > NONCE_MAX)
		return 0;
	text = base64_encode(v->document->nonce.data, v->document->nonce.size);
	return text ? json_object_set_new(submodule, "eat_nonce", json_string(text)) : -1;
}

/* A token that the whole of which is no better than its parts, and not affirming unless all that
 * was asked passed. */
static const char *whole_status(const struct verdict *v, const json_t *platform,
				const json_t *model)
{
	int worst = MAX(worst_tier(platform), worst_tier(model));

	if (!verdict_ok(v))
		worst = 96;
	return tier_name(worst);
}

json_t *ear_claims(const struct verdict *v, int64_t issued_s, enum ear_names which)
{
	const struct claim_names *names = &all_names[which];
	json_t *platform = platform_vector(v), *model = model_vector(v);
	_cleanup_json_ json_t *claims =
		json_pack("{s:s, s:I, s:{s:s, s:s}, s:{s:o, s:i}}", "eat_profile", names->profile,
			  "iat", (json_int_t)issued_s, names->verifier, "developer", DEVELOPER,
			  "build", BUILD, "sealedfs_verdict", "sentence",
			  json_outside_text(v->sentence), "exit_code", (int)v->exit_code);
	json_t *submods = json_object();
	int bad = !claims || !platform || !model;

	/* Older readers know no status of the whole. */
	if (!bad && which == EAR_NAMES_2026)
		bad = json_object_set_new(claims, names->status,
					  json_string(whole_status(v, platform, model)));
	bad |= json_object_set_new(submods, "platform", submodule(names, platform));
	bad |= json_object_set_new(submods, "model", submodule(names, model));
	bad = bad || add_nonce(json_object_get(submods, "platform"), v);
	bad |= json_object_set_new(claims, "submods", submods);
	return bad ? NULL : steal_ptr(claims);
}
