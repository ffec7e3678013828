/*
 * Files of measurements: what nitro-tpm-pcr-compute and nitro-cli print, and one refusal for each
 * rule.
 */
#include "tests/unit/test.h"

#include "attest/measurements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEX_A                                              \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B                                              \
	"BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB" \
	"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_0                                              \
	"000000000000000000000000000000000000000000000000" \
	"000000000000000000000000000000000000000000000000"

static int parse(const char *text, struct measurements *ret, struct error *err)
{
	return measurements_parse(text, strlen(text), "m.json", ret, err);
}

static void test_nitrotpm(void **state)
{
	struct measurements m;
	struct error err = {0};

	(void)state;
	assert_int_equal(
		parse("{\"Measurements\": {\"HashAlgorithm\": \"SHA384\",\"PCR4\": \"" HEX_A
		      "\",\"PCR7\":\"" HEX_B "\",\"PCR12\":\"" HEX_0 "\"}}",
		      &m, &err),
		0);
	for (unsigned i = 0; i < MEASUREMENTS_PCRS; i++)
		assert_int_equal(m.present[i], i == 4 || i == 7 || i == 12);
	assert_int_equal(m.value[4][0], 0xaa);
	assert_int_equal(m.value[7][0], 0xbb);
	assert_int_equal(m.value[7][47], 0xbb);
	assert_int_equal(m.value[12][47], 0);
}

static void test_enclave(void **state)
{
	struct measurements m;

	(void)state;
	assert_int_equal(parse("{\"EifVersion\":4,\"Measurements\":{\"HashAlgorithm\":"
			       "\"Sha384 { ... }\",\"PCR0\":\"" HEX_A "\",\"PCR31\":\"" HEX_B
			       "\"},\"IsSigned\":false}",
			       &m, NULL),
			 0);
	assert_true(m.present[0] && m.present[31] && !m.present[1]);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"Measurements\":[]}",
		"{\"Measurements\":{\"PCR4\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA256\",\"PCR4\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA3840\",\"PCR4\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR4\":\"aa\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR4\":\"" HEX_A "a\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR4\":4}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR32\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR04\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR00\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR4\":\"" HEX_A
		"\",\"PCR4\":\"" HEX_A "\"}}",
		"{\"Measurements\":{\"HashAlgorithm\":\"SHA384\",\"PCR4\":\"" HEX_A
		"\",\"RTMR0\":\"" HEX_A "\"}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct measurements m = {.present = {[9] = true}};
		struct error err = {0};

		if (parse(bad[i], &m, &err) != -EPROTO)
			fail_msg("not refused: %s", bad[i]);
		assert_true(m.present[9]);
		assert_non_null(strstr(err.message, "m.json"));
	}
}

/* A file one byte over the limit is refused by its size, one at the limit by its content. */
static void test_size(void **state)
{
	char path[] = "/tmp/measurements.XXXXXX", block[4096];
	struct measurements m;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	memset(block, ' ', sizeof(block));
	for (int i = 0; i < MEASUREMENTS_SIZE_MAX / 4096; i++)
		assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
	assert_int_equal(measurements_read(path, &m, NULL), -EPROTO);
	assert_int_equal(write(fd, block, 1), 1);
	assert_int_equal(measurements_read(path, &m, NULL), -EFBIG);
	close(fd);
	unlink(path);
	assert_int_equal(measurements_read(path, &m, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nitrotpm),
		cmocka_unit_test(test_enclave),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
