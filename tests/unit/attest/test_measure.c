/*
 * The arithmetic of measuring: every line of the worked example in attest/PCRS.md, the value that
 * the AWS sample leaves, and what must be refused.
 */
#include "tests/unit/test.h"

#include "attest/start_event.h"
#include "crypto/base/encode.h"
#include "crypto/set.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const enum digest_alg banks[] = {DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512};

static struct model_digests example(void)
{
	static const char model[] = "GGUF worked example\n";
	struct set_member member = {.path = "model.gguf", .length = 20};
	struct model_digests d;

	assert_int_equal(hex_decode("99947def08ab1fcdc9e87e17d8989b4b9ebb839aabf0319867afb0828a7bc0"
				    "00",
				    d.verity, 32),
			 0);
	assert_int_equal(digest_buffer(DIGEST_SHA256, model, 20, d.sha256), 0);
	assert_int_equal(digest_buffer(DIGEST_SHA384, model, 20, d.sha384), 0);
	memcpy(member.verity, d.verity, sizeof(member.verity));
	assert_int_equal(set_content_digest(&member, 1, d.set), 0);
	return d;
}

static enum digest_alg bank_of(const char *name)
{
	for (size_t n = 0; n < ARRAY_LEN(banks); n++)
		if (strcmp(name, digest_name(banks[n])) == 0)
			return banks[n];
	return 0;
}

/* The example's owner: RFC 8032, 7.1, test 1, as SubjectPublicKeyInfo. */
static const char owner_pem[] = "-----BEGIN PUBLIC KEY-----\n"
				"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
				"-----END PUBLIC KEY-----\n";

static struct owner_keys *example_owners(void)
{
	char path[] = "/tmp/test_measure.XXXXXX";
	struct owner_keys *owners = NULL;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, owner_pem, sizeof(owner_pem) - 1), sizeof(owner_pem) - 1);
	close(fd);
	assert_int_equal(owner_keys_new(&owners), 0);
	assert_int_equal(owner_keys_add_file(owners, path, NULL), 0);
	assert_int_equal(unlink(path), 0);
	return owners;
}

static char *start_of(enum measure_mode mode)
{
	static char key[] = "arn:aws:kms:eu-central-1:111122223333:key/"
			    "1234abcd-12ab-34cd-56ef-1234567890ab";
	static char account[] = "account/444455556666";
	/* Not in order, and one of them twice. */
	static char *const kms_keys[] = {key, account, key};
	_cleanup_(owner_keys_freep) struct owner_keys *owners = example_owners();
	struct start_facts facts = {
		.measure = mode,
		.attest = "nitrotpm",
		.owners = owners,
		.kms_keys = kms_keys,
		.kms_key_count = ARRAY_LEN(kms_keys),
	};
	char *text = NULL;

	assert_int_equal(start_event_text(&facts, &text, NULL), 0);
	return text;
}

static void check_text(enum measure_mode mode, const char *what, const char *wanted)
{
	struct model_digests d = example();
	char text[MEASURE_TEXT_MAX];

	if (strcmp(what, "start") == 0) {
		_cleanup_free_ char *start = start_of(mode);

		assert_string_equal(start, wanted);
		return;
	}
	assert_string_equal(what, "text");
	assert_int_equal(measure_text(mode, &d, text), 0);
	assert_string_equal(text, wanted);
}

static void check_digest(enum measure_mode mode, enum digest_alg bank, const char *what,
			 const char *wanted)
{
	uint8_t start[DIGEST_SIZE_MAX], digest[DIGEST_SIZE_MAX], value[DIGEST_SIZE_MAX] = {0};
	struct model_digests d = example();
	char hex[2 * DIGEST_SIZE_MAX + 1];
	const uint8_t *found = digest;

	assert_int_equal(measure_bank_digest(mode, &d, bank, digest), 0);
	if (start_event_needed(mode)) {
		_cleanup_free_ char *text = start_of(mode);

		assert_int_equal(digest_buffer(bank, text, strlen(text), start), 0);
		assert_int_equal(pcr_extend_value(bank, value, start), 0);
	}
	assert_int_equal(pcr_extend_value(bank, value, digest), 0);
	if (strcmp(what, "PCR") == 0)
		found = value;
	else if (strcmp(what, "start") == 0)
		found = start;
	else
		assert_string_equal(what, "extends");
	hex_encode(found, digest_size(bank), hex);
	assert_string_equal(hex, wanted);
}

/* "MODE start|text TEXT" and "MODE BANK start|extends|PCR HEX" */
static void test_worked_example(void **state)
{
	_cleanup_fclose_ FILE *f = fopen(TEST_SOURCE_ROOT "/attest/PCRS.md", "r");
	char line[1024], word[4][512];
	enum measure_mode mode;
	unsigned texts = 0, digests = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		int words =
			sscanf(line, "%511s %511s %511s %511s", word[0], word[1], word[2], word[3]);

		if (words < 3 || measure_mode_parse(word[0], &mode) < 0)
			continue;
		if (words == 3) {
			check_text(mode, word[1], word[2]);
			texts++;
		} else if (bank_of(word[1])) {
			check_digest(mode, bank_of(word[1]), word[2], word[3]);
			digests++;
		}
	}
	assert_int_equal(texts, 5 + 3);
	assert_int_equal(digests, 5 * 4 * 2 + 3 * 4);
}

/* Two configurations never have one text: separators inside an item are escaped. */
static void test_start_text(void **state)
{
	static char odd[] = "a+b,c=d%\xc3\xa9\n~";
	static char empty[] = "";
	char *const one[] = {odd}, *const none[] = {empty};
	_cleanup_(owner_keys_freep) struct owner_keys *owners = NULL;
	_cleanup_free_ char *text = NULL, *bare = NULL;
	struct start_facts facts = {.measure = MEASURE_VERITY, .attest = "none"};
	_cleanup_free_ char *huge = malloc(START_TEXT_MAX + 1);
	char *many[1];
	struct error err = {0};

	assert_int_equal(owner_keys_new(&owners), 0);
	facts.owners = owners;
	assert_int_equal(start_event_text(&facts, &bare, NULL), 0);
	assert_string_equal(bare, "sealedfs:start:measure=verity,set=off,attest=none,owners=,kms=");
	facts.kms_keys = one;
	facts.kms_key_count = 1;
	assert_int_equal(start_event_text(&facts, &text, NULL), 0);
	assert_string_equal(text, "sealedfs:start:measure=verity,set=off,attest=none,owners=,"
				  "kms=a%2bb%2cc%3dd%25%c3%a9%0a%7e");
	free(steal_ptr(text));
	facts.kms_key_count = 0;
	facts.measure = MEASURE_SET;
	assert_int_equal(start_event_text(&facts, &text, NULL), 0);
	assert_string_equal(text, "sealedfs:start:measure=set,set=on,attest=none,owners=,kms=");
	facts.kms_key_count = 1;
	facts.kms_keys = none;
	assert_int_equal(start_event_text(&facts, &text, NULL), -EINVAL);
	memset(huge, 'a', START_TEXT_MAX);
	huge[START_TEXT_MAX] = '\0';
	many[0] = huge;
	facts.kms_keys = many;
	assert_int_equal(start_event_text(&facts, &text, &err), -EINVAL);
	assert_non_null(strstr(err.message, "16384 bytes"));
	facts.kms_key_count = 0;
	facts.measure = MEASURE_SHA384;
	assert_int_equal(start_event_text(&facts, &text, NULL), -EINVAL);
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

/* Every pair of modes differs in every bank, but for the sha256 bank of the bare modes. */
static void test_modes_differ(void **state)
{
	struct model_digests d = example();

	for (size_t n = 0; n < ARRAY_LEN(banks); n++)
		for (int one = MEASURE_VERITY; one < MEASURE_NONE; one++)
			for (int other = one + 1; other < MEASURE_NONE; other++) {
				uint8_t a[DIGEST_SIZE_MAX], b[DIGEST_SIZE_MAX];
				bool same = banks[n] == DIGEST_SHA256 &&
					    measure_mode_is_bare(one) &&
					    measure_mode_is_bare(other);

				assert_int_equal(measure_bank_digest(one, &d, banks[n], a), 0);
				assert_int_equal(measure_bank_digest(other, &d, banks[n], b), 0);
				assert_int_equal(memcmp(a, b, digest_size(banks[n])) == 0, same);
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
	memset(d.set, 0xa5, sizeof(d.set));
	assert_int_equal(measure_text(MEASURE_SET, &d, text), 0);
	assert_string_equal(text,
			    "sealedfs:set:sha256:"
			    "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
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
	static const char *const names[] = {"verity",	"sha384", "sha256",
					    "declared", "set",	  "none"};
	enum measure_mode mode;

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		assert_int_equal(measure_mode_parse(names[n], &mode), 0);
		assert_string_equal(measure_mode_name(mode), names[n]);
	}
	for (unsigned pcr = 0; pcr < 40; pcr++)
		assert_int_equal(pcr_is_allowed(pcr), pcr <= 15);
	for (unsigned pcr = 0; pcr < 40; pcr++)
		assert_int_equal(pcr_is_allowed_nsm(pcr), pcr >= 16 && pcr <= 31);
}

/* What is wrong with the request is said before a TPM is looked for. */
static void test_measure_checks_first(void **state)
{
	struct measure_options options = {.log_path = "/nonexistent/folder/log", .tcti = "none"};
	struct measure_event event = {.mode = MEASURE_VERITY, .digests = example(), .name = "m"};
	static const unsigned bad[] = {16, 17, 22, 23, 24, 4000};

	for (size_t n = 0; n < ARRAY_LEN(bad); n++) {
		struct error err = {0};

		options.pcr = bad[n];
		assert_int_equal(measure_models(&options, &event, 1, &err), -EINVAL);
		assert_non_null(strstr(err.message, "PCR"));
		assert_non_null(strstr(err.hint, "0 to 15"));
	}
	options.pcr = 15;
	event.mode = MEASURE_NONE;
	assert_int_equal(measure_models(&options, &event, 1, NULL), -EINVAL);
	/* A bare digest must be alone: it is what others extend, too. */
	event.mode = MEASURE_SHA384;
	options.start = "sealedfs:start:";
	assert_int_equal(measure_models(&options, &event, 1, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worked_example),
		cmocka_unit_test(test_aws_sample),
		cmocka_unit_test(test_modes_differ),
		cmocka_unit_test(test_start_text),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names_and_numbers),
		cmocka_unit_test(test_measure_checks_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
