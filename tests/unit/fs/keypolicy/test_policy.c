/*
 * Key policies: documents that are none, and every decision of tests/vectors/policy/decisions.json,
 * which the emulator's own evaluation makes, too.
 */
#include "tests/unit/fs/keypolicy/vectors.h"

#include <stdlib.h>

#define S "\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kms:*\",\"Resource\":\"*\""

static int parse(const char *text)
{
	struct keypolicy *p = NULL;
	struct error err = {0};
	int r = keypolicy_parse(text, strlen(text), "p.json", &p, &err);

	assert_true(r == 0 || (err.code == r && strstr(err.message, "p.json")));
	assert_true((r == 0) == (p != NULL));
	keypolicy_free(p);
	return r;
}

static void test_accepted(void **state)
{
	static const char *const good[] = {
		"{\"Statement\":{" S "}}",
		"{\"Version\":\"2008-10-17\",\"Id\":\"x\",\"Statement\":[{" S ",\"Sid\":\"y\"}]}",
		"{\"Statement\":[{" S ",\"Condition\":{}}]}",
		"{\"Statement\":[{" S ",\"Condition\":{\"Bool\":{\"a\":true,\"b\":[1,\"x\"]}}}]}",
		"{\"Policy\":\"{\\\"Statement\\\":{\\\"Effect\\\":\\\"Deny\\\",\\\"Principal\\\":"
		"{\\\"AWS\\\":[\\\"1\\\"]},\\\"NotAction\\\":[\\\"a\\\"],\\\"NotResource\\\":"
		"\\\"b\\\"}}\",\"PolicyName\":\"default\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (parse(good[i]) != 0)
			fail_msg("refused: %s", good[i]);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"Statement\":[]}",
		"{\"Statement\":\"x\"}",
		"{\"Statement\":[1]}",
		"{\"Version\":\"2013-10-17\",\"Statement\":{" S "}}",
		"{\"Version\":1,\"Statement\":{" S "}}",
		"{\"Statements\":[],\"Statement\":{" S "}}",
		"{\"Statement\":{" S ",\"effect\":\"Deny\"}}",
		"{\"Statement\":{" S ",\"Effect\":\"Deny\"}}",
		"{\"Statement\":{\"Effect\":\"allow\",\"Principal\":\"*\",\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Principal\":\"*\",\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{" S ",\"NotAction\":\"a\"}}",
		"{\"Statement\":{" S ",\"NotPrincipal\":{\"AWS\":\"1\"}}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"1\",\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":{},\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":{\"IAM\":\"1\"},\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":{\"AWS\":[]},\"Action\":\"a\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":[1],\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":[[\"a\"]],\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"a\\u0000b\",\"Resource\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"a\"}}",
		"{\"Statement\":{" S ",\"Condition\":[]}}",
		"{\"Statement\":{" S ",\"Condition\":{\"Bool\":[]}}}",
		"{\"Statement\":{" S ",\"Condition\":{\"Bool\":{}}}}",
		"{\"Statement\":{" S ",\"Condition\":{\"Bool\":{\"a\":[]}}}}",
		"{\"Statement\":{" S ",\"Condition\":{\"Bool\":{\"a\":null}}}}",
		"{\"Statement\":{" S ",\"Condition\":{\"Bool\":{\"a\":{\"b\":\"c\"}}}}}",
		"{\"Policy\":\"{}\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (parse(bad[i]) != -EPROTO)
			fail_msg("not refused: %s", bad[i]);
}

/* A document of KMS's size is read; one byte more is refused by its size. */
static void test_size(void **state)
{
	static const char text[] = "{\"Statement\":{" S "}}";
	_cleanup_free_ char *big = malloc(KEYPOLICY_SIZE_MAX + 2);

	(void)state;
	memset(big, ' ', KEYPOLICY_SIZE_MAX + 1);
	memcpy(big, text, sizeof(text) - 1);
	big[KEYPOLICY_SIZE_MAX] = '\0';
	assert_int_equal(parse(big), 0);
	big[KEYPOLICY_SIZE_MAX] = ' ';
	big[KEYPOLICY_SIZE_MAX + 1] = '\0';
	assert_int_equal(parse(big), -EFBIG);
}

static void test_decisions(void **state)
{
	_cleanup_json_ json_t *vectors = vectors_load("decisions.json");
	size_t i, n, wrong = 0;
	json_t *vector, *one;

	(void)state;
	json_array_foreach (vectors, i, vector) {
		_cleanup_(keypolicy_freep) struct keypolicy *p = vectors_policy(vector);

		json_array_foreach (json_object_get(vector, "requests"), n, one) {
			const struct keypolicy_request request = {
				.principal = json_text(one, "principal"),
				.action = json_text(one, "action"),
				.resource = json_text(one, "resource"),
				.context = json_object_get(one, "context")};
			const char *got =
				keypolicy_decision_name(keypolicy_decide(p, &request, NULL));

			if (strcmp(got, json_text(one, "expect")) == 0)
				continue;
			print_error("%s, request %zu: %s\n", json_text(vector, "name"), n, got);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

/* The decisive statement: the first of the strongest kind. */
static void test_statement(void **state)
{
	static const char text[] =
		"{\"Statement\":[{" S "},{" S "},{\"Sid\":\"no\",\"Effect\":\"Deny\","
		"\"Principal\":\"*\",\"Action\":\"kms:Sign\",\"Resource\":\"*\"}]}";
	_cleanup_(keypolicy_freep) struct keypolicy *p = NULL;
	struct keypolicy_request request = {.principal = "arn:aws:iam::1:root",
					    .action = "kms:Sign"};
	char label[KEYPOLICY_SID_MAX];
	size_t at;

	(void)state;
	assert_int_equal(keypolicy_parse(text, strlen(text), "p", &p, NULL), 0);
	assert_int_equal(keypolicy_decide(p, &request, &at), KEYPOLICY_DENIED);
	assert_int_equal(at, 2);
	assert_string_equal(keypolicy_label(p, at, label), "statement 3 (no)");
	request.action = "kms:Decrypt";
	assert_int_equal(keypolicy_decide(p, &request, &at), KEYPOLICY_ALLOWED);
	assert_int_equal(at, 0);
	assert_string_equal(keypolicy_label(p, at, label), "statement 1");
	request.action = "s3:GetObject";
	assert_int_equal(keypolicy_decide(p, &request, &at), KEYPOLICY_NOT_ALLOWED);
	assert_int_equal(at, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_size),	  cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_statement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
