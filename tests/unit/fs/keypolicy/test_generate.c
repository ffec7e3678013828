/*
 * Made policies: what they decide, that they have no hole, and what is refused. Explanations: which
 * PCR does not fit.
 */
#include "tests/unit/fs/keypolicy/vectors.h"

#include "crypto/base/encode.h"
#include "fs/keypolicy/explain.h"
#include "fs/keypolicy/generate.h"
#include "fs/keypolicy/lint.h"

#define OWNER "arn:aws:iam::111122223333:role/owner"
#define SEALER "arn:aws:iam::111122223333:role/sealer"
#define ROLE "arn:aws:iam::444455556666:role/runtime"
#define SESSION "arn:aws:sts::444455556666:assumed-role/runtime/i-1"

static const char *const owner[] = {OWNER}, *const sealer[] = {SEALER};
static const char *const roles[] = {ROLE, "arn:aws-cn:iam::444455556666:user/x/y"};

/* 96 digits, all the same. */
static json_t *value(char digit)
{
	char text[97];

	memset(text, digit, 96);
	text[96] = '\0';
	return json_string(text);
}

static struct keypolicy_recipe recipe(json_t *pcrs, bool enclave)
{
	return (struct keypolicy_recipe){.owners = {owner, 1},
					 .sealers = {sealer, 1},
					 .roles = {roles, 2},
					 .enclave = enclave,
					 .pcrs = pcrs};
}

static json_t *nitrotpm_pcrs(void)
{
	return json_pack("{s:[o, o, o], s:[o], s:o}", "4", value('a'), value('b'), value('a'), "7",
			 value('c'), "12", value('0'));
}

static json_t *enclave_pcrs(void)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "0", value('a'), "1", value('b'), "2", value('c'),
			 "8", value('d'));
}

static struct keypolicy *make(const struct keypolicy_recipe *r)
{
	_cleanup_free_ char *text = NULL;
	struct keypolicy *p = NULL;
	struct keypolicy_holes holes;

	assert_int_equal(keypolicy_generate(r, &text, NULL), 0);
	assert_int_equal(keypolicy_parse(text, strlen(text), "made", &p, NULL), 0);
	assert_int_equal(keypolicy_lint(p, &holes, NULL), 0);
	assert_int_equal(holes.count, 0);
	return p;
}

static json_t *document(bool enclave, const char *digits)
{
	static const unsigned machine[] = {4, 7, 12}, inside[] = {0, 1, 2, 8};
	json_t *context = json_object();

	for (size_t i = 0; digits[i]; i++) {
		uint8_t pcr[48];
		char pair[3] = {digits[i], digits[i], '\0'};

		assert_int_equal(hex_decode(pair, pcr, 1), 0);
		memset(pcr, pcr[0], sizeof(pcr));
		assert_int_equal(explain_put_pcr(context, enclave, enclave ? inside[i] : machine[i],
						 pcr, sizeof(pcr)),
				 0);
	}
	return context;
}

/* digits: of the document's PCRs, "" for none. */
static void assert_decision(const struct keypolicy *p, const char *principal, const char *action,
			    bool enclave, const char *digits, enum keypolicy_decision expect)
{
	_cleanup_json_ json_t *context = document(enclave, digits);
	const struct keypolicy_request request = {
		.principal = principal, .action = action, .context = context};
	enum keypolicy_decision got = keypolicy_decide(p, &request, NULL);

	if (got != expect)
		fail_msg("%s %s %s: %s", principal, action, digits, keypolicy_decision_name(got));
}

static void test_nitrotpm(void **state)
{
	_cleanup_json_ json_t *pcrs = nitrotpm_pcrs();
	struct keypolicy_recipe r = recipe(pcrs, false);
	_cleanup_(keypolicy_freep) struct keypolicy *p = make(&r);
	static const char *const out[] = {"kms:ReEncryptFrom", "kms:CreateGrant",
					  "kms:ReplicateKey"};

	(void)state;
	assert_decision(p, SESSION, "kms:Decrypt", false, "ac0", KEYPOLICY_ALLOWED);
	assert_decision(p, SESSION, "kms:Decrypt", false, "bc0", KEYPOLICY_ALLOWED);
	assert_decision(p, SESSION, "kms:Decrypt", false, "cc0", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", false, "ab0", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", false, "ac1", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", false, "", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", true, "ac0", KEYPOLICY_DENIED);
	assert_decision(p, OWNER, "kms:Decrypt", false, "ac0", KEYPOLICY_NOT_ALLOWED);
	assert_decision(p, OWNER, "kms:PutKeyPolicy", false, "", KEYPOLICY_ALLOWED);
	assert_decision(p, OWNER, "kms:GenerateDataKey", false, "", KEYPOLICY_NOT_ALLOWED);
	assert_decision(p, SEALER, "kms:GenerateDataKey", false, "", KEYPOLICY_ALLOWED);
	assert_decision(p, SEALER, "kms:PutKeyPolicy", false, "", KEYPOLICY_NOT_ALLOWED);
	assert_decision(p, SESSION, "kms:PutKeyPolicy", false, "", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:GenerateDataKey", false, "", KEYPOLICY_DENIED);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		assert_decision(p, OWNER, out[i], false, "", KEYPOLICY_DENIED);
}

static void test_enclave(void **state)
{
	_cleanup_json_ json_t *pcrs = enclave_pcrs();
	struct keypolicy_recipe r = recipe(pcrs, true);
	_cleanup_(keypolicy_freep) struct keypolicy *p = make(&r);

	(void)state;
	assert_decision(p, SESSION, "kms:Decrypt", true, "abcd", KEYPOLICY_ALLOWED);
	assert_decision(p, SESSION, "kms:Decrypt", true, "abce", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", true, "bbcd", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", true, "0000", KEYPOLICY_DENIED);
	assert_decision(p, SESSION, "kms:Decrypt", true, "", KEYPOLICY_DENIED);
	json_object_del(pcrs, "8");
	keypolicy_free(p);
	p = make(&r);
	assert_decision(p, SESSION, "kms:Decrypt", true, "abce", KEYPOLICY_ALLOWED);
}

/* Without a sealer, the owner seals. */
static void test_no_sealer(void **state)
{
	_cleanup_json_ json_t *pcrs = nitrotpm_pcrs();
	struct keypolicy_recipe r = recipe(pcrs, false);
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;

	(void)state;
	r.sealers.count = 0;
	p = make(&r);
	assert_decision(p, OWNER, "kms:GenerateDataKey", false, "", KEYPOLICY_ALLOWED);
}

static void test_refused(void **state)
{
	static const char *const arns[] = {"",
					   "arn:aws:iam::111122223333:root",
					   "arn:aws:iam::11112222333:role/x",
					   "*",
					   "arn:aws:iam::111122223333:role/",
					   "arn:aws:iam::111122223333:role/*",
					   "arn::iam::111122223333:role/x",
					   SESSION,
					   "111122223333",
					   OWNER,
					   SEALER};
	_cleanup_json_ json_t *pcrs = nitrotpm_pcrs(), *inside = enclave_pcrs();
	struct keypolicy_recipe r = recipe(pcrs, false);
	char *text = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(arns); i++) {
		const char *one[] = {arns[i]};

		r.roles = (struct keypolicy_arns){one, 1};
		if (keypolicy_generate(&r, &text, NULL) != -EINVAL)
			fail_msg("not refused: %s", arns[i]);
	}
	r = recipe(inside, false);
	assert_int_equal(keypolicy_generate(&r, &text, NULL), -EINVAL);
	json_object_set_new(inside, "0", value('0'));
	r.enclave = true;
	assert_int_equal(keypolicy_generate(&r, &text, NULL), -EINVAL);
	r = recipe(pcrs, false);
	r.owners.count = 0;
	assert_int_equal(keypolicy_generate(&r, &text, NULL), -EINVAL);
	r = recipe(pcrs, false);
	json_object_del(pcrs, "12");
	assert_int_equal(keypolicy_generate(&r, &text, NULL), -EINVAL);
	assert_null(text);
}

static void test_too_large(void **state)
{
	_cleanup_json_ json_t *pcrs = nitrotpm_pcrs();
	struct keypolicy_recipe r = recipe(pcrs, false);
	char *text = NULL;
	json_t *many = json_object_get(pcrs, "4");

	(void)state;
	for (int i = 0; i < 400; i++) {
		char hex[97];

		(void)snprintf(hex, sizeof(hex), "%096x", (unsigned)i);
		json_array_append_new(many, json_string(hex));
	}
	assert_int_equal(keypolicy_generate(&r, &text, NULL), -E2BIG);
}

static void assert_summary(const struct keypolicy *p, const char *digits, bool refused,
			   const char *has, const char *has_not)
{
	_cleanup_json_ json_t *context = document(false, digits);
	struct explanation e;
	char text[600];

	keypolicy_explain(p, context, NULL, &e);
	explain_summary(p, &e, text, sizeof(text));
	assert_int_equal(e.refused, refused);
	if (!strstr(text, has) || strstr(text, has_not))
		fail_msg("%s: %s", digits, text);
}

static void test_explain(void **state)
{
	_cleanup_json_ json_t *pcrs = nitrotpm_pcrs();
	struct keypolicy_recipe r = recipe(pcrs, false);
	_cleanup_(keypolicy_freep) struct keypolicy *p = make(&r);
	struct explanation e;

	(void)state;
	assert_summary(
		p, "ac0", false,
		"statement 3 (ApprovedImageUnlocks): PCR 4 fits, PCR 7 fits, PCR 12 fits; the reason is",
		"wanted:");
	assert_summary(p, "ac1", true, "PCR 4 fits, PCR 7 fits, PCR 12 = 1111", "; the reason is");
	assert_summary(p, "ac1", true, "PCR 12 = 1111", "or others");
	assert_summary(p, "ac1", true, "(wanted: 0000", "PCR 12 = 0000");
	assert_summary(p, "dc0", true, " or others), PCR 7 fits", "absent");
	assert_summary(p, "", true, "PCR 7 = absent (wanted: ccc", "fits");
	keypolicy_explain(p, NULL, "arn:aws:iam::444455556666:role/another", &e);
	assert_true(e.refused);
	assert_int_equal(e.nearest, keypolicy_count(p));
	keypolicy_explain(p, NULL, SESSION, &e);
	assert_int_equal(e.nearest, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nitrotpm),  cmocka_unit_test(test_enclave),
		cmocka_unit_test(test_no_sealer), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_large), cmocka_unit_test(test_explain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
