/*
 * One bit of a genuine document is wrong: it is refused, or no field that is judged has changed.
 * Every bit of one document, and 2,000 of each other one. Where the signature itself refuses, the
 * whole verdict is asked for every 256th bit only: judging a chain takes four signatures.
 */
#include "tests/unit/attest/verdict/documents.h"

#include "attest/verdict/verdict_internal.h"

#include <errno.h>

#define SAMPLES 2000
#define WHOLE_EVERY 256

/* Under sanitizers, which look for other faults and take several times as long, every seventh bit:
 * all bits of a byte have their turn. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEP 7
#else
#define STEP 1
#endif

static struct owner_keys *owners;

static bool same_view(struct bytes_view a, struct bytes_view b)
{
	return a.size == b.size && !a.data == !b.data &&
	       (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool same_document(const struct attest_doc *a, const struct attest_doc *b)
{
	bool same = a->kind == b->kind && strcmp(a->module_id, b->module_id) == 0 &&
		    a->timestamp_ms == b->timestamp_ms &&
		    memcmp(a->pcrs, b->pcrs, sizeof(a->pcrs)) == 0 &&
		    same_view(a->certificate, b->certificate) &&
		    a->cabundle_count == b->cabundle_count &&
		    same_view(a->public_key, b->public_key) &&
		    same_view(a->user_data, b->user_data) && same_view(a->nonce, b->nonce);

	for (size_t i = 0; same && i < a->cabundle_count; i++)
		same = same_view(a->cabundle[i], b->cabundle[i]);
	return same;
}

static bool whole_is_refused(const uint8_t *bytes, size_t size, const struct attest_doc *original)
{
	struct verdict_request req = plain_request(bytes, size, 1800000000, owners);
	struct verdict *v = NULL;
	bool refused;

	assert_int_equal(verdict_judge(&req, &v, NULL), 0);
	refused = !verdict_ok(v) || same_document(v->document, original);
	assert_int_equal(verdict_ok(v), strncmp(v->sentence, "Not verified: ", 14) != 0);
	verdict_free(v);
	return refused;
}

static bool signature_refuses(const uint8_t *bytes, size_t size)
{
	struct verdict_request req = {.document = {bytes, size}};
	struct verdict v = {.document = NULL};
	struct judging j = {.req = &req, .v = &v};
	bool refused = document_parse(bytes, size, &v.document, NULL) < 0;

	if (!refused) {
		assert_int_equal(step_signature(&j), 0);
		refused = v.steps[STEP_SIGNATURE].status == STATUS_FAILED;
	}
	free(v.steps[STEP_SIGNATURE].reason);
	document_free(v.document);
	return refused;
}

static void test_every_bit(void **state)
{
	uint8_t buf[DOCUMENT_SIZE_MAX];
	size_t size = load_document(real_documents[0].file, buf);
	struct attest_doc *original = NULL;

	(void)state;
	assert_int_equal(document_parse(buf, size, &original, NULL), 0);
	for (size_t bit = 0; bit < 8 * size; bit += STEP) {
		buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (bit % WHOLE_EVERY == 0 || !signature_refuses(buf, size))
			assert_true(whole_is_refused(buf, size, original));
		buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	document_free(original);
}

static void test_sampled_bits(void **state)
{
	uint64_t random = 88172645463325252ULL; /* xorshift64, by Marsaglia */

	(void)state;
	for (size_t i = 1; i < ARRAY_LEN(real_documents); i++) {
		uint8_t buf[DOCUMENT_SIZE_MAX];
		size_t size = load_document(real_documents[i].file, buf);
		struct attest_doc *original = NULL;

		assert_int_equal(document_parse(buf, size, &original, NULL), 0);
		for (size_t n = 0; n < SAMPLES / STEP; n++) {
			size_t bit;

			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			bit = random % (8 * size);
			buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
			if (n % 16 == 0 || !signature_refuses(buf, size))
				assert_true(whole_is_refused(buf, size, original));
			buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
		document_free(original);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_sampled_bits),
	};

	if (owner_keys_new(&owners) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
