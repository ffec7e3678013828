/* fs/aws/retry: what is tried again, how soon, and when it ends. */
#include "fs/aws/retry.h"

#include "crypto/base/cleanup.h"
#include "tests/unit/test.h"

#include <errno.h>

static void answers_by_code_and_status(void **state)
{
	static const struct {
		int status;
		const char *code;
		enum retry_class class;
	} cases[] = {
		{503, "SlowDown", RETRY_THROTTLED},
		{503, "", RETRY_THROTTLED},
		{429, "", RETRY_THROTTLED},
		{509, "BandwidthLimitExceeded", RETRY_THROTTLED},
		{400, "ThrottlingException", RETRY_THROTTLED},
		{500, "InternalError", RETRY_TRANSIENT},
		{200, "InternalError", RETRY_TRANSIENT},
		{500, "KMSInternalException", RETRY_TRANSIENT},
		{400, "DependencyTimeoutException", RETRY_TRANSIENT},
		{500, "unheard of", RETRY_TRANSIENT},
		{502, "", RETRY_TRANSIENT},
		{504, "", RETRY_TRANSIENT},
		{408, "", RETRY_TRANSIENT},
		{400, "RequestTimeout", RETRY_TRANSIENT},
		{400, "BadDigest", RETRY_TRANSIENT},
		{400, "ExpiredToken", RETRY_CREDENTIALS},
		{400, "ExpiredTokenException", RETRY_CREDENTIALS},
		{400, "InvalidToken", RETRY_CREDENTIALS},
		{403, "InvalidAccessKeyId", RETRY_CREDENTIALS},
		{400, "UnrecognizedClientException", RETRY_CREDENTIALS},
		{403, "RequestTimeTooSkewed", RETRY_SKEW},
		{400, "InvalidSignatureException", RETRY_SKEW},
		{301, "PermanentRedirect", RETRY_REGION},
		{307, "TemporaryRedirect", RETRY_REGION},
		{301, "", RETRY_REGION},
		{400, "AuthorizationHeaderMalformed", RETRY_REGION},
		{403, "AccessDenied", RETRY_FATAL},
		{403, "SignatureDoesNotMatch", RETRY_SKEW},
		{404, "NoSuchKey", RETRY_FATAL},
		{412, "PreconditionFailed", RETRY_FATAL},
		{416, "InvalidRange", RETRY_FATAL},
		{400, "AccessDeniedException", RETRY_FATAL},
		{400, "InvalidCiphertextException", RETRY_FATAL},
		{400, "IncorrectKeyException", RETRY_FATAL},
		{400, "ValidationException", RETRY_FATAL},
		{400, "", RETRY_FATAL},
		{501, "NotImplemented", RETRY_FATAL},
		{304, "", RETRY_FATAL},
		{0, "", RETRY_FATAL},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (retry_class_answer(cases[i].status, cases[i].code) != cases[i].class)
			print_message("%d %s\n", cases[i].status, cases[i].code);
		assert_int_equal(retry_class_answer(cases[i].status, cases[i].code),
				 cases[i].class);
	}
}

static void network_errors(void **state)
{
	static const int transient[] = {ETIMEDOUT,   ECONNRESET, ECONNREFUSED, EHOSTUNREACH,
					ENETUNREACH, EPROTO,	 EIO};
	static const int final[] = {ECANCELED, ENOMEM, EINVAL, E2BIG};

	for (size_t i = 0; i < ARRAY_LEN(transient); i++)
		assert_int_equal(retry_class_network(-transient[i]), RETRY_TRANSIENT);
	for (size_t i = 0; i < ARRAY_LEN(final); i++)
		assert_int_equal(retry_class_network(-final[i]), RETRY_FATAL);
	assert_true(retry_network_cap(-EIO) < retry_network_cap(-ECONNREFUSED));
	assert_int_equal(retry_network_cap(-ECONNRESET), 0);
}

static void attempts_are_counted(void **state)
{
	struct retry r;

	retry_start(&r, 3, 1000000);
	assert_true(retry_next(&r, RETRY_TRANSIENT, 0, -1) >= 0);
	assert_true(retry_next(&r, RETRY_TRANSIENT, 0, -1) >= 0);
	assert_int_equal(r.attempt, 3);
	assert_int_equal(retry_next(&r, RETRY_TRANSIENT, 0, -1), -1);
	assert_false(r.deadline_hit);
	retry_start(&r, 10, 1000000);
	assert_true(retry_next(&r, RETRY_TRANSIENT, 2, -1) >= 0);
	assert_int_equal(retry_next(&r, RETRY_TRANSIENT, 2, -1), -1);
	retry_start(&r, 1, 1000000);
	assert_int_equal(retry_next(&r, RETRY_TRANSIENT, 0, -1), -1);
}

static void waits_grow_to_the_cap(void **state)
{
	int64_t longest[12] = {0}, shortest = INT64_MAX;

	for (int round = 0; round < 400; round++) {
		struct retry r;

		retry_start(&r, 13, UINT32_MAX / 2);
		for (int i = 0; i < 12; i++) {
			int64_t wait_ms = retry_next(&r, RETRY_TRANSIENT, 0, -1);

			assert_in_range(wait_ms, 0, 20000);
			longest[i] = MAX(longest[i], wait_ms);
			if (i == 11)
				shortest = MIN(shortest, wait_ms);
		}
	}
	assert_in_range(longest[0], 50, 100);
	assert_in_range(longest[3], 400, 800);
	assert_in_range(longest[11], 15000, 20000);
	/* Full jitter: short waits remain possible. */
	assert_in_range(shortest, 0, 2000);
}

static void throttling_waits_longer(void **state)
{
	int64_t longest = 0;

	for (int round = 0; round < 200; round++) {
		struct retry r;
		int64_t wait_ms;

		retry_start(&r, 2, 1000000);
		wait_ms = retry_next(&r, RETRY_THROTTLED, 0, -1);
		assert_true(wait_ms >= 0);
		longest = MAX(longest, wait_ms);
	}
	assert_in_range(longest, 500, 1000);
}

static void retry_after_is_honoured_up_to_the_cap(void **state)
{
	struct retry r;

	retry_start(&r, 5, 1000000);
	assert_in_range(retry_next(&r, RETRY_THROTTLED, 0, 3), 3000, 3999);
	assert_int_equal(retry_next(&r, RETRY_THROTTLED, 0, 999999), 20000);
	assert_int_equal(retry_parse_after("7"), 7);
	assert_int_equal(retry_parse_after("0"), 0);
	assert_int_equal(retry_parse_after(NULL), -1);
	assert_int_equal(retry_parse_after(""), -1);
	assert_int_equal(retry_parse_after("-1"), -1);
	assert_int_equal(retry_parse_after("1.5"), -1);
	assert_int_equal(retry_parse_after("99999999999999"), -1);
	assert_int_equal(retry_parse_after("Fri, 24 May 2013 00:00:00 GMT"), -1);
}

static void the_deadline_ends_it(void **state)
{
	struct retry r;

	retry_start(&r, 10, 5000);
	assert_in_range(retry_left_ms(&r), 1, 5000);
	assert_int_equal(retry_next(&r, RETRY_THROTTLED, 0, 10), -1);
	assert_true(r.deadline_hit);
	assert_int_equal(r.attempt, 1);
	r.deadline_ms = 0;
	assert_int_equal(retry_left_ms(&r), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_by_code_and_status),
		cmocka_unit_test(network_errors),
		cmocka_unit_test(attempts_are_counted),
		cmocka_unit_test(waits_grow_to_the_cap),
		cmocka_unit_test(throttling_waits_longer),
		cmocka_unit_test(retry_after_is_honoured_up_to_the_cap),
		cmocka_unit_test(the_deadline_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
