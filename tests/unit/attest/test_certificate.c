/* attest/certificate: real certificates, and bytes that are none. */
#include "attest/certificate.h"
#include "attest/document.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

static struct attest_doc *load(void)
{
	static uint8_t bytes[DOCUMENT_SIZE_MAX];
	_cleanup_fclose_ FILE *f = fopen(TEST_SOURCE_ROOT "/tests/vectors/attestation-docs/"
							  "nitrotpm-us-east-1-20260203.cose",
					 "re");
	struct attest_doc *doc = NULL;

	assert_non_null(f);
	assert_int_equal(document_parse(bytes, fread(bytes, 1, sizeof(bytes), f), &doc, NULL), 0);
	return doc;
}

static void shows_the_root(void **state)
{
	static const uint8_t fingerprint[] = {0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef,
					      0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31,
					      0x7e, 0xd7, 0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0,
					      0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b};
	_cleanup_(document_freep) struct attest_doc *doc = load();
	struct certificate_info info;

	assert_int_equal(
		certificate_describe(doc->cabundle[0].data, doc->cabundle[0].size, &info, NULL), 0);
	assert_string_equal(info.subject, "CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US");
	assert_string_equal(info.issuer, info.subject);
	assert_string_equal(info.serial, "f93175681b90afe11d46ccb4e4e7f856");
	assert_string_equal(info.key, "EC P-384");
	assert_int_equal(info.not_before_s, 1572269285);
	assert_int_equal(info.not_after_s, 2519044085);
	assert_true(info.is_ca);
	assert_memory_equal(info.sha256, fingerprint, sizeof(fingerprint));
	assert_int_equal(
		certificate_describe(doc->certificate.data, doc->certificate.size, &info, NULL), 0);
	assert_false(info.is_ca);
}

static void refuses_what_is_none(void **state)
{
	_cleanup_(document_freep) struct attest_doc *doc = load();
	const uint8_t *der = doc->certificate.data;
	size_t size = doc->certificate.size;
	uint8_t longer[2048] = {0};
	struct certificate_info info;
	struct error err = {0};
	char key[32];

	memcpy(longer, der, size);
	assert_int_equal(certificate_describe(longer, size + 1, &info, &err), -EPROTO);
	assert_string_equal(err.message, "not an X.509 certificate");
	assert_int_equal(certificate_describe(der, 0, &info, NULL), -EPROTO);
	for (size_t n = 1; n < size; n += 13)
		assert_int_equal(certificate_describe(der, n, &info, NULL), -EPROTO);
	assert_int_equal(public_key_describe(der, size, key, sizeof(key)), -EPROTO);
	assert_int_equal(
		public_key_describe(doc->public_key.data, doc->public_key.size, key, sizeof(key)),
		-EPROTO); /* a bare point, as this document has it */
}

static void key_of_what_is_no_certificate(void **state)
{
	static const char *const texts[] = {
		"",
		"x",
		"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	};
	_cleanup_free_ char *large = calloc(1, CERTIFICATE_PEM_MAX + 1);
	uint8_t key[32];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(certificate_key_hash(texts[i], strlen(texts[i]), key, NULL),
				 -EPROTO);
	assert_int_equal(certificate_key_hash(large, CERTIFICATE_PEM_MAX + 1, key, NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_the_root),
		cmocka_unit_test(key_of_what_is_no_certificate),
		cmocka_unit_test(refuses_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
