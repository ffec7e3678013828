/*
 * Fuzz target: an attestation document, judged with everything that can be asked of it. Whatever it
 * is, a verdict comes out of it that holds the promises of verdict.h; a broken one aborts.
 */
#include "attest/verdict/ear.h"
#include "attest/verdict/verdict.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
	if (!kept)
		abort();
}

static void check_steps(const struct verdict *v)
{
	bool failed = false;

	for (enum verdict_step s = 0; s < STEP_COUNT; s++) {
		promise((v->steps[s].status == STATUS_FAILED) == (v->steps[s].reason != NULL));
		failed |= v->steps[s].status == STATUS_FAILED;
	}
	promise(verdict_ok(v) == !failed);
	promise(failed == (strncmp(v->sentence, "Not verified: ", 14) == 0));
	promise(v->sentence[strlen(v->sentence) - 1] == '.');
	promise(v->steps[STEP_FIELDS].status != STATUS_PASSED || v->document);
}

static void check_ear(const struct verdict *v, enum ear_names names, const char *status)
{
	json_t *claims = ear_claims(v, 1, names);
	const json_t *parts = json_object_get(claims, "submods");
	const char *platform =
		json_string_value(json_object_get(json_object_get(parts, "platform"), status));

	promise(platform && json_object_get(parts, "model"));
	promise(v->steps[STEP_SIGNATURE].status == STATUS_PASSED ||
		strcmp(platform, "contraindicated") == 0);
	json_decref(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t bytes[32] = {1};
	static struct owner_keys *nobody;
	const struct verdict_model model = {.kinds = DIGEST_OF_SHA256};
	const struct verdict_boot boot = {.pcr = 4};
	struct verdict_request req = {.document = {data, size},
				      .time_s = 1770113522,
				      .pcr = PCR_DEFAULT,
				      .attest = "nitrotpm"};
	struct verdict *v = NULL;

	if (!nobody)
		promise(owner_keys_new(&nobody) == 0);
	req.owners = nobody;
	promise(verdict_judge(&req, &v, NULL) == 0);
	check_steps(v);
	check_ear(v, EAR_NAMES_2026, "ear_status");
	verdict_free(v);

	req.nonce = (struct bytes_view){bytes, sizeof(bytes)};
	req.has_max_age = true;
	req.max_age_s = VERDICT_MAX_AGE_S;
	req.tls_key = bytes;
	req.boot = &boot;
	req.boot_count = 1;
	req.models = &model;
	req.model_count = 1;
	req.event_log = (struct bytes_view){bytes, 0};
	promise(verdict_judge(&req, &v, NULL) == 0);
	for (enum verdict_step s = 0; s < STEP_OWNER; s++)
		promise(v->steps[s].status != STATUS_NOT_ASKED);
	check_steps(v);
	check_ear(v, EAR_NAMES_DOTTED, "ear.status");
	verdict_free(v);
	return 0;
}
