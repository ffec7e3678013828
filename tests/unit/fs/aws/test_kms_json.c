/* fs/aws/kms_json: bodies to KMS and from it, and hostile ones. */
#include "fs/aws/kms_json.h"

#include "fs/aws/call.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define ARN "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define KEY_B64 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static const uint8_t file_id[32] = {0xab, 0xcd};
#define CONTEXT                                        \
	"\"EncryptionContext\":{\"sealedfs:file-id\":" \
	"\"abcd000000000000000000000000000000000000000000000000000000000000\"}"

static void writes_requests(void **state)
{
	static const uint8_t blob[] = {1, 2, 3}, document[] = {4, 5};
	_cleanup_secret_ struct secret *key = NULL;
	_cleanup_text_ struct text generate = {0}, encrypt = {0}, decrypt = {0};

	assert_int_equal(kms_json_request(&(struct kms_request){.key_id = "alias/models",
								.file_id = file_id,
								.key_spec = "AES_256"},
					  &generate),
			 0);
	assert_string_equal(generate.data,
			    "{\"KeyId\":\"alias/models\"," CONTEXT ",\"KeySpec\":\"AES_256\"}");
	assert_int_equal(secret_new_from("abc", 3, &key), 0);
	assert_int_equal(
		kms_json_request(
			&(struct kms_request){.key_id = ARN, .file_id = file_id, .plain = key},
			&encrypt),
		0);
	assert_string_equal(encrypt.data,
			    "{\"KeyId\":\"" ARN "\"," CONTEXT ",\"Plaintext\":\"YWJj\"}");
	assert_true(encrypt.secret);
	assert_int_equal(kms_json_request(&(struct kms_request){.key_id = ARN,
								.file_id = file_id,
								.blob = blob,
								.blob_size = sizeof(blob),
								.document = document,
								.document_size = sizeof(document)},
					  &decrypt),
			 0);
	assert_string_equal(decrypt.data,
			    "{\"KeyId\":\"" ARN "\"," CONTEXT ",\"CiphertextBlob\":\"AQID\","
			    "\"Recipient\":{\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\","
			    "\"AttestationDocument\":\"BAU=\"}}");
}

/* As other programs ask, who have neither a key's name nor an encryption context. */
static void writes_requests_without_a_key(void **state)
{
	_cleanup_(text_clear) struct text t = {0};

	assert_int_equal(
		kms_json_request(
			&(struct kms_request){.blob = (const uint8_t *)"blob", .blob_size = 4}, &t),
		0);
	assert_string_equal(t.data, "{\"CiphertextBlob\":\"YmxvYg==\"}");
}

static void refuses_key_ids(void **state)
{
	static const char *const bad[] = {"", "a\"b", "a\\b", "a b", "a\nb", "caf\xc3\xa9", "{}"};
	_cleanup_free_ char *long_id = malloc(KMS_ARN_MAX + 2);

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_text_ struct text t = {0};

		assert_int_equal(
			kms_json_request(
				&(struct kms_request){.key_id = bad[i], .file_id = file_id}, &t),
			-EINVAL);
	}
	memset(long_id, 'a', KMS_ARN_MAX + 1);
	long_id[KMS_ARN_MAX + 1] = '\0';
	assert_int_equal(
		kms_json_request(&(struct kms_request){.key_id = long_id, .file_id = file_id},
				 &(struct text){0}),
		-EINVAL);
}

static int answer(const char *json, struct kms_answer *ret)
{
	*ret = (struct kms_answer){0};
	return kms_json_answer(json, strlen(json), ret);
}

static void reads_answers(void **state)
{
	_cleanup_(kms_answer_clear) struct kms_answer a, b;

	assert_int_equal(answer("{\"KeyId\":\"" ARN
				"\",\"CiphertextBlob\":\"AQID\",\"Plaintext\":\"" KEY_B64
				"\",\"KeyMaterialId\":\"x\"}",
				&a),
			 0);
	assert_string_equal(a.key_id, ARN);
	assert_int_equal(a.blob_size, 3);
	assert_memory_equal(a.blob, "\1\2\3", 3);
	assert_int_equal(secret_size(a.plain), 32);
	assert_int_equal(secret_data(a.plain)[31], 31);
	assert_null(a.recipient);
	assert_int_equal(answer("{\"KeyId\":\"" ARN "\",\"Plaintext\":null,"
				"\"CiphertextForRecipient\":\"MIAG\"}",
				&b),
			 0);
	assert_null(b.plain);
	assert_int_equal(b.recipient_size, 3);
}

static void refuses_answers(void **state)
{
	static const struct {
		const char *json;
		int code;
	} bad[] = {
		{"", -EPROTO},
		{"null", -EPROTO},
		{"[]", -EPROTO},
		{"\"" ARN "\"", -EPROTO},
		{"{}", -EPROTO},
		{"{\"KeyId\":1}", -EPROTO},
		{"{\"KeyId\":\"a b\"}", -EPROTO},
		{"{\"KeyId\":\"" ARN "\"", -EPROTO},
		{"{\"KeyId\":\"" ARN "\"} x", -EPROTO},
		{"{\"KeyId\":\"" ARN "\",\"KeyId\":\"" ARN "\"}", -EPROTO},
		{"{\"KeyId\":\"" ARN "\",\"Plaintext\":\"AQID\"}", -EPROTO},
		{"{\"KeyId\":\"" ARN "\",\"Plaintext\":\"" KEY_B64 "AAAA\"}", -EPROTO},
		{"{\"KeyId\":\"" ARN
		 "\",\"Plaintext\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
		 "\"}",
		 -EPROTO},
		{"{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"AQ ID\"}", -EPROTO},
		{"{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"AQI\"}", -EPROTO},
		{"{\"KeyId\":\"" ARN "\",\"CiphertextForRecipient\":\"AQ==AQ==\"}", -EPROTO},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(kms_answer_clear) struct kms_answer a;

		if (answer(bad[i].json, &a) != bad[i].code)
			print_message("%s\n", bad[i].json);
		kms_answer_clear(&a);
		assert_int_equal(answer(bad[i].json, &a), bad[i].code);
	}
}

static void blobs_are_bounded(void **state)
{
	_cleanup_text_ struct text fits = {0}, big = {0};
	_cleanup_(kms_answer_clear) struct kms_answer a, b;

	text_append(&fits, "{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"");
	for (int i = 0; i < KMS_BLOB_MAX / 3; i++)
		text_append(&fits, "AAAA");
	text_append(&big, fits.data);
	text_append(&fits, "\"}");
	text_append(&big, "AAAA\"}");
	assert_int_equal(answer(fits.data, &a), 0);
	assert_int_equal(a.blob_size, KMS_BLOB_MAX);
	assert_int_equal(answer(big.data, &b), -E2BIG);
}

static void deep_json_is_refused(void **state)
{
	_cleanup_text_ struct text t = {0};
	struct kms_answer a;

	text_append(&t, "{\"KeyId\":");
	for (int i = 0; i < 60000; i++)
		text_append(&t, "[");
	assert_int_equal(answer(t.data, &a), -EPROTO);
}

static void reads_failures(void **state)
{
	static const struct {
		const char *json, *type, *code, *message;
	} cases[] = {
		{"{\"__type\":\"AccessDeniedException\",\"Message\":\"no\"}", NULL,
		 "AccessDeniedException", "no"},
		{"{\"__type\":\"com.amazonaws.kms#DisabledException\",\"message\":\"off\"}", "x",
		 "DisabledException", "off"},
		{"{\"message\":\"m\"}", "NotFoundException:http://internal.amazon.com/", //
		 "NotFoundException", "m"},
		{"{\"__type\":7,\"message\":{}}", NULL, "", ""},
		{"<html>", "ThrottlingException", "ThrottlingException", ""},
		{"", NULL, "", ""},
		{"{\"__type\":\"A\\u0007B\",\"message\":\"a\\nb\"}", NULL, "A?B", "a?b"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct call_failure f = {0};

		kms_json_failure(cases[i].json, strlen(cases[i].json), cases[i].type, &f);
		assert_string_equal(f.code, cases[i].code);
		assert_string_equal(f.message, cases[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_requests),
		cmocka_unit_test(refuses_key_ids),
		cmocka_unit_test(reads_answers),
		cmocka_unit_test(refuses_answers),
		cmocka_unit_test(blobs_are_bounded),
		cmocka_unit_test(deep_json_is_refused),
		cmocka_unit_test(reads_failures),
		cmocka_unit_test(writes_requests_without_a_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
