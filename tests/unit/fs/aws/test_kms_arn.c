/* fs/aws/kms_arn: which texts name a KMS key, and which pins let it through. */
#include "fs/aws/kms_arn.h"

#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define UUID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define MRK "mrk-1234abcd12ab34cd56ef1234567890ab"
#define ARN "arn:aws:kms:eu-west-1:111122223333:key/" UUID

static void test_keys_of_every_partition(void **state)
{
	static const char *const good[] = {
		ARN,
		"arn:aws:kms:us-east-1:111122223333:key/" MRK,
		"arn:aws-cn:kms:cn-north-1:111122223333:key/" UUID,
		"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/" UUID,
		"arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/" UUID,
		"arn:aws-iso:kms:us-iso-east-1:111122223333:key/" UUID,
		"arn:aws-iso-b:kms:us-isob-east-1:111122223333:key/" UUID,
		"arn:aws-iso-e:kms:eu-isoe-west-1:111122223333:key/" UUID,
		"arn:aws-iso-f:kms:us-isof-south-1:111122223333:key/" UUID,
	};
	struct kms_arn arn;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (kms_arn_parse(good[i], &arn) < 0)
			fail_msg("refused: %s", good[i]);
		assert_int_equal(kms_pin_check(good[i], NULL), 0);
	}
	assert_int_equal(kms_arn_parse(ARN, &arn), 0);
	assert_string_equal(arn.partition, "aws");
	assert_string_equal(arn.region, "eu-west-1");
	assert_string_equal(arn.account, "111122223333");
}

static void test_related_keys(void **state)
{
	static const char home[] = "arn:aws:kms:us-east-1:111122223333:key/" MRK;
	static const char there[] = "arn:aws:kms:eu-west-1:111122223333:key/" MRK;
	char out[sizeof(home)], small[sizeof(home) - 1];
	struct kms_arn arn;

	assert_int_equal(kms_arn_parse(ARN, &arn), 0);
	assert_false(arn.multi_region);
	assert_int_equal(kms_arn_parse(home, &arn), 0);
	assert_true(arn.multi_region);
	assert_int_equal(kms_arn_in_region(home, "eu-west-1", out, sizeof(out)), 0);
	assert_string_equal(out, there);
	assert_int_equal(kms_arn_in_region(home, "eu-west-1", small, sizeof(small)), -EINVAL);
	assert_int_equal(kms_arn_in_region("alias/models", "eu-west-1", out, sizeof(out)), -EINVAL);
}

static void test_everything_else_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"arn",
		UUID,
		"alias/models",
		"arn:aws:kms:eu-west-1:111122223333:alias/models",
		/* partition and region do not belong together */
		"arn:aws-cn:kms:eu-west-1:111122223333:key/" UUID,
		"arn:aws:kms:cn-north-1:111122223333:key/" UUID,
		"arn:aws-x:kms:eu-west-1:111122223333:key/" UUID,
		"arn::kms:eu-west-1:111122223333:key/" UUID,
		"ARN:aws:kms:eu-west-1:111122223333:key/" UUID,
		"arn:aws:s3:eu-west-1:111122223333:key/" UUID,
		"arn:aws:kms::111122223333:key/" UUID,
		"arn:aws:kms:evil.example.com:111122223333:key/" UUID,
		"arn:aws:kms:eu-west-1/@evil:111122223333:key/" UUID,
		"arn:aws:kms:eu-west-1:11112222333:key/" UUID,
		"arn:aws:kms:eu-west-1:1111222233334:key/" UUID,
		"arn:aws:kms:eu-west-1:11112222333x:key/" UUID,
		"arn:aws:kms:eu-west-1::key/" UUID,
		"arn:aws:kms:eu-west-1:111122223333:key/",
		"arn:aws:kms:eu-west-1:111122223333:key/" UUID "0",
		"arn:aws:kms:eu-west-1:111122223333:key/" UUID ":x",
		"arn:aws:kms:eu-west-1:111122223333:key/" UUID "\n",
		"arn:aws:kms:eu-west-1:111122223333:key/1234ABCD-12AB-34CD-56EF-1234567890AB",
		"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef_1234567890ab",
		"arn:aws:kms:eu-west-1:111122223333:key/mrk-" UUID,
		"arn:aws:kms:eu-west-1:111122223333:KEY/" UUID,
		"arn:aws:kms:eu-west-1:111122223333:grant/" UUID,
		" " ARN,
		ARN " ",
		"account/",
		"account/11112222333",
		"account/1111222233334",
		"account/11112222333x",
		"account/111122223333/",
		"account/111122223333/EU",
		"account/111122223333/eu/x",
		"account/111122223333/eu west-1",
		"Account/111122223333",
		"111122223333",
		"account/*",
		"*",
	};
	struct kms_arn arn;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct error err = {0};

		assert_int_equal(kms_arn_parse(bad[i], &arn), -EINVAL);
		if (kms_pin_check(bad[i], &err) == 0)
			fail_msg("taken as a pin: %s", bad[i]);
		assert_int_equal(err.code, -EINVAL);
	}
}

static bool matches(const char *pin, const char *text)
{
	struct kms_arn arn;

	assert_int_equal(kms_arn_parse(text, &arn), 0);
	assert_int_equal(kms_pin_check(pin, NULL), 0);
	return kms_pin_matches(pin, text, &arn);
}

static void test_pins(void **state)
{
	assert_true(matches(ARN, ARN));
	assert_false(matches(ARN, "arn:aws:kms:eu-west-2:111122223333:key/" UUID));
	assert_false(matches(ARN, "arn:aws:kms:eu-west-1:111122223334:key/" UUID));
	assert_false(matches(ARN, "arn:aws:kms:eu-west-1:111122223333:key/" MRK));
	assert_true(matches("account/111122223333", ARN));
	assert_true(matches("account/111122223333", "arn:aws:kms:us-east-1:111122223333:key/" MRK));
	assert_false(matches("account/111122223334", ARN));
	assert_true(matches("account/111122223333/eu-west-1", ARN));
	assert_false(matches("account/111122223333/eu-west-2", ARN));
}

static void test_an_alias_has_its_own_words(void **state)
{
	struct error err = {0};

	assert_int_equal(kms_pin_check("arn:aws:kms:eu-west-1:111122223333:alias/m", &err),
			 -EINVAL);
	assert_non_null(strstr(err.message, "alias"));
	assert_non_null(strstr(err.hint, "describe-key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_every_partition),
		cmocka_unit_test(test_related_keys),
		cmocka_unit_test(test_everything_else_is_refused),
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_an_alias_has_its_own_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
