/*
 * The arithmetic of measuring: every line of the worked example in attest/PCRS.md, the value that
 * the AWS sample leaves, and what must be refused.
 */
#include "tests/unit/base/test.h"

#include "attest/pcr.h"
#include "crypto/base/encode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const enum digest_alg banks[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512};

static struct model_digests example(void)
{
	static const char model[] = "GGUF worked example\n";
	struct model_digests d;

	assert_int_equal(hex_decode("99947def08ab1fcdc9e87e17d8989b4b9ebb839aabf0319867afb0828a7bc0"
				    "00",
				    d.verity, 32),
			 0);
	assert_int_equal(digest_buffer(DIGEST_SHA256, model, 20, d.sha256), 0);
	assert_int_equal(digest_buffer(DIGEST_SHA384, model, 20, d.sha384), 0);
	return d;
}

static enum digest_alg bank_of(const char *name)
{
	for (size_t n = 0; n < ARRAY_LEN(banks); n++)
		if (strcmp(name, digest_name(banks[n])) == 0)
			return banks[n];
	return 0;
}

static void check_line(const char *mode_name, const char *bank_name, const char *what,
		       const char *hex)
{
	uint8_t digest[DIGEST_SIZE_MAX], value[DIGEST_SIZE_MAX] = {0};
	struct model_digests d = example();
	enum digest_alg bank = bank_of(bank_name);
	char text[2 * DIGEST_SIZE_MAX + 1];
	enum measure_mode mode;

	assert_int_equal(measure_mode_parse(mode_name, &mode), 0);
	assert_int_equal(measure_bank_digest(mode, &d, bank, digest), 0);
	assert_int_equal(pcr_extend_value(bank, value, digest), 0);
	hex_encode(strcmp(what, "PCR") == 0 ? value : digest, digest_size(bank), text);
	assert_string_equal(text, hex);
}

static void test_worked_example(void **state)
{
	_cleanup_fclose_ FILE *f = fopen(TEST_SOURCE_ROOT "/attest/PCRS.md", "r");
	char line[512], mode[16], bank[16], what[16], hex[160];
	unsigned lines = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%15s %15s %15s %159s", mode, bank, what, hex) != 4)
			continue;
		if (strcmp(what, "extends") != 0 && strcmp(what, "PCR") != 0)
			continue;
		if (!bank_of(bank))
			continue;
		check_line(mode, bank, what, hex);
		lines++;
	}
	assert_int_equal(lines, 3 * 4 * 2);
}

static void test_aws_sample(void **state)
{
	uint8_t joined[96] = {0}, wanted[48], value[48] = {0}, digest[64];
	struct model_digests d = example();

	memcpy(joined + 48, d.sha384, 48);
	assert_int_equal(digest_buffer(DIGEST_SHA384, joined, 96, wanted), 0);
	assert_int_equal(measure_bank_digest(MEASURE_SHA384, &d, DIGEST_SHA384, digest), 0);
	assert_int_equal(pcr_extend_value(DIGEST_SHA384, value, digest), 0);
	assert_memory_equal(value, wanted, 48);
}

static void test_declared_as_sha384(void **state)
{
	struct model_digests d = example();

	for (size_t n = 0; n < ARRAY_LEN(banks); n++) {
		uint8_t a[64], b[64], c[64];

		assert_int_equal(measure_bank_digest(MEASURE_DECLARED, &d, banks[n], a), 0);
		assert_int_equal(measure_bank_digest(MEASURE_SHA384, &d, banks[n], b), 0);
		assert_int_equal(measure_bank_digest(MEASURE_SHA256, &d, banks[n], c), 0);
		assert_memory_equal(a, b, digest_size(banks[n]));
		/* The flat modes share the sha256 bank and no other. */
		assert_int_equal(memcmp(b, c, digest_size(banks[n])) == 0,
				 banks[n] == DIGEST_SHA256);
	}
}

static void test_texts(void **state)
{
	struct model_digests d = example();
	char text[MEASURE_TEXT_MAX];

	assert_int_equal(measure_text(MEASURE_VERITY, &d, text), 0);
	assert_string_equal(text,
			    "sealedfs:verity:sha256:"
			    "99947def08ab1fcdc9e87e17d8989b4b9ebb839aabf0319867afb0828a7bc000");
	assert_int_equal(measure_text(MEASURE_SHA256, &d, text), 0);
	assert_string_equal(text,
			    "sealedfs:sha256:"
			    "6c65bbe036d653f4af72d79978af7d69584e2cee8f69b3fc61a2434aebfc9100");
}

static void test_refused(void **state)
{
	struct model_digests d = example();
	enum measure_mode mode = MEASURE_VERITY;
	char text[MEASURE_TEXT_MAX];
	uint8_t out[64] = {0};

	assert_int_equal(measure_bank_digest(MEASURE_NONE, &d, DIGEST_SHA256, out), -EINVAL);
	assert_int_equal(measure_text(MEASURE_NONE, &d, text), -EINVAL);
	assert_int_equal(measure_bank_digest(MEASURE_VERITY, &d, (enum digest_alg)0x12, out),
			 -EINVAL);
	assert_int_equal(pcr_extend_value((enum digest_alg)0x12, out, out), -EINVAL);
	assert_int_equal(measure_mode_parse("Verity", &mode), -EINVAL);
	assert_int_equal(measure_mode_parse("", &mode), -EINVAL);
	assert_int_equal(measure_mode_parse("sha3844", &mode), -EINVAL);
}

static void test_names_and_numbers(void **state)
{
	static const char *const names[] = {"verity", "sha384", "sha256", "declared", "none"};
	enum measure_mode mode;

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		assert_int_equal(measure_mode_parse(names[n], &mode), 0);
		assert_string_equal(measure_mode_name(mode), names[n]);
	}
	for (unsigned pcr = 0; pcr < 40; pcr++)
		assert_int_equal(pcr_is_allowed(pcr), pcr <= 15);
}

/* What is wrong with the request is said before a TPM is looked for. */
static void test_measure_checks_first(void **state)
{
	struct measure_options options = {.log_path = "/nonexistent/folder/log", .tcti = "none"};
	struct measure_event event = {.mode = MEASURE_VERITY, .digests = example(), .name = "m"};
	static const unsigned bad[] = {16, 17, 22, 23, 24, 4000};
	enum measure_outcome outcome;

	for (size_t n = 0; n < ARRAY_LEN(bad); n++) {
		struct error err = {0};

		event.pcr = bad[n];
		assert_int_equal(measure_model(&options, &event, &outcome, &err), -EINVAL);
		assert_non_null(strstr(err.message, "PCR"));
		assert_non_null(strstr(err.hint, "0 to 15"));
	}
	event.pcr = 15;
	event.mode = MEASURE_NONE;
	assert_int_equal(measure_model(&options, &event, &outcome, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worked_example),
		cmocka_unit_test(test_aws_sample),
		cmocka_unit_test(test_declared_as_sha384),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names_and_numbers),
		cmocka_unit_test(test_measure_checks_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
