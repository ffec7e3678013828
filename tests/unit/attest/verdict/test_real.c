/*
 * Documents that hardware made: each verifies at its own time with the pinned root and states what
 * tests/vectors/attestation-docs/README.md lists; the root is AWS's; requests that cannot be
 * judged.
 */
#include "tests/unit/attest/verdict/documents.h"

#include "crypto/base/digest.h"

#include <errno.h>

static struct owner_keys *owners;

static struct verdict *judge(const struct verdict_request *req)
{
	struct verdict *v = NULL;
	struct error err = {0};

	assert_int_equal(verdict_judge(req, &v, &err), 0);
	return v;
}

static void test_root(void **state)
{
	uint8_t found[SHA256_SIZE], wanted[SHA256_SIZE];

	(void)state;
	/* As AWS publishes it. */
	assert_int_equal(
		hex_decode("641A0321A3E244EFE456463195D606317ED7CDCC3C1756E09893F3C68F79BB5B",
			   wanted, sizeof(wanted)),
		0);
	assert_int_equal(
		digest_buffer(DIGEST_SHA256, verdict_aws_root, verdict_aws_root_size, found), 0);
	assert_memory_equal(found, wanted, sizeof(found));
}

static void test_genuine(void **state)
{
	static const char *const sentences[] = {
		"The document is genuine; boot image not checked; document of "
		"2022-11-09T22:52:00Z.",
		"The document is genuine; boot image not checked; document of "
		"2024-09-07T14:37:39Z.",
		"The document is genuine; boot image not checked; document of "
		"2026-02-03T10:12:02Z.",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(real_documents); i++) {
		uint8_t buf[DOCUMENT_SIZE_MAX];
		size_t size = load_document(real_documents[i].file, buf);
		struct verdict_request req = plain_request(buf, size, 1800000000, owners);
		struct verdict *v = judge(&req);

		assert_string_equal(v->sentence, sentences[i]);
		assert_true(verdict_ok(v));
		for (enum verdict_step s = 0; s < STEP_COUNT; s++)
			assert_int_equal(v->steps[s].status,
					 s <= STEP_SIGNATURE ? STATUS_PASSED : STATUS_NOT_ASKED);
		assert_int_equal(v->document->timestamp_ms, real_documents[i].timestamp_ms);
		verdict_free(v);
	}
}

/* Years later they are too old, and nothing else. */
static void test_old(void **state)
{
	uint8_t buf[DOCUMENT_SIZE_MAX];
	size_t size = load_document(real_documents[2].file, buf);
	struct verdict_request req = plain_request(buf, size, 1770113522 + 301, owners);
	struct verdict *v;

	(void)state;
	req.has_max_age = true;
	req.max_age_s = VERDICT_MAX_AGE_S;
	v = judge(&req);
	/* 300.563 s, rounded down. */
	assert_string_equal(v->sentence, "The document is genuine; boot image not checked; "
					 "document 300 s old (no nonce).");
	verdict_free(v);
	req.time_s++;
	v = judge(&req);
	assert_int_equal(v->exit_code, EXIT_CODE_REFUSED);
	assert_string_equal(v->sentence,
			    "Not verified: the document is 301 s old, older than 300 s.");
	verdict_free(v);
}

static void test_wrong_use(void **state)
{
	uint8_t buf[DOCUMENT_SIZE_MAX];
	size_t size = load_document(real_documents[2].file, buf);
	struct verdict_request req = plain_request(buf, size, 1770113522, owners);
	struct verdict *v = NULL;
	struct error err = {0};

	(void)state;
	req.modes = 1U << MEASURE_VERITY;
	assert_int_equal(verdict_judge(&req, &v, &err), -EINVAL);
	req.modes = 0;
	req.pcr = 16;
	assert_int_equal(verdict_judge(&req, &v, NULL), -EINVAL);
	req.pcr = 15;
	req.root = (struct bytes_view){buf, 100};
	assert_int_equal(verdict_judge(&req, &v, NULL), -EINVAL);
	assert_null(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_genuine),
		cmocka_unit_test(test_old),
		cmocka_unit_test(test_wrong_use),
	};

	if (owner_keys_new(&owners) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
