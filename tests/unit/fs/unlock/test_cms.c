/*
 * CMS envelopes: the forms that KMS emits are opened, two real ones pass every check of form, and
 * each file of tests/vectors/cms/bad-* is refused.
 */
#include "tests/unit/test.h"

#include "fs/unlock/cms.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define DIR TEST_SOURCE_ROOT "/tests/vectors/cms/"

static size_t load(const char *name, uint8_t *out, size_t max)
{
	char path[512];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), DIR "%s.ber", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	n = fread(out, 1, max, f);
	fclose(f);
	assert_in_range(n, 1, max - 1);
	return n;
}

static EVP_PKEY *load_key(const char *name)
{
	char path[512];
	EVP_PKEY *key;
	FILE *f;

	snprintf(path, sizeof(path), DIR "%s.pem", name);
	f = fopen(path, "r");
	assert_non_null(f);
	key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(key);
	return key;
}

static void test_good(void **state)
{
	static const char *const names[] = {"form-a", "form-b", "form-split"};
	EVP_PKEY *key = load_key("key");
	uint8_t ber[4096];

	for (size_t n = 0; n < ARRAY_LEN(names); n++) {
		struct secret *plain = NULL;
		struct error err = {0};
		size_t size = load(names[n], ber, sizeof(ber));

		assert_int_equal(cms_open(ber, size, key, 32, &plain, &err), 0);
		assert_int_equal(err.code, 0);
		assert_int_equal(secret_size(plain), 32);
		for (unsigned i = 0; i < 32; i++)
			assert_int_equal(secret_data(plain)[i], i);
		secret_free(plain);
	}
	EVP_PKEY_free(key);
}

static void test_bad(void **state)
{
	static const struct {
		const char *name;
		int code;
		const char *says;
	} bad[] = {
		{"bad-trailing", -EPROTO, "bytes follow it"},
		{"bad-truncated", -EPROTO, "not CMS"},
		{"bad-data", -EPROTO, "not EnvelopedData"},
		{"bad-two-recipients", -EPROTO, "exactly one recipient"},
		{"bad-no-recipient", -EPROTO, "exactly one recipient"},
		{"bad-password", -EPROTO, "not an RSA key"},
		{"bad-pkcs1", -EPROTO, "RSAES-OAEP"},
		{"bad-oaep-sha1", -EPROTO, "RSAES-OAEP"},
		{"bad-mgf-sha1", -EPROTO, "RSAES-OAEP"},
		{"bad-16-bytes", -EBADMSG, "not 32 bytes"},
		{"bad-33-bytes", -EBADMSG, "not 32 bytes"},
		{"bad-48-bytes", -EBADMSG, "not 32 bytes"},
		{"bad-empty", -EBADMSG, "not 32 bytes"},
		{"bad-other-key", -EBADMSG, "the key that KMS returned"},
		{"bad-padding", -EBADMSG, "the key that KMS returned"},
		/* Real envelopes: nothing wrong but the key. */
		{"real-form-a", -EBADMSG, "the key that KMS returned"},
		{"real-form-b", -EBADMSG, "the key that KMS returned"},
	};
	EVP_PKEY *key = load_key("key");
	uint8_t ber[4096];

	for (size_t n = 0; n < ARRAY_LEN(bad); n++) {
		struct secret *plain = NULL;
		struct error err = {0};
		size_t size = load(bad[n].name, ber, sizeof(ber));
		int e = cms_open(ber, size, key, 32, &plain, &err);

		if (e != bad[n].code || !strstr(err.message, bad[n].says))
			fail_msg("%s: %d \"%s\"", bad[n].name, e, err.message);
		assert_null(plain);
	}
	EVP_PKEY_free(key);
}

static void test_wrong_key(void **state)
{
	EVP_PKEY *key = load_key("other-key");
	uint8_t ber[4096];
	size_t size = load("form-a", ber, sizeof(ber));

	/* OpenSSL "succeeds" with garbage about once in 256 tries; the length must catch it. */
	for (int n = 0; n < 1200; n++) {
		struct secret *plain = NULL;

		assert_int_equal(cms_open(ber, size, key, 32, &plain, NULL), -EBADMSG);
		assert_null(plain);
	}
	EVP_PKEY_free(key);
}

static void test_sizes(void **state)
{
	EVP_PKEY *key = load_key("key");
	uint8_t ber[CMS_SIZE_MAX + 1] = {0x30, 0x80};
	struct secret *plain = NULL;
	size_t size;

	assert_int_equal(cms_open(ber, 0, key, 32, &plain, NULL), -EPROTO);
	assert_int_equal(cms_open(ber, sizeof(ber), key, 32, &plain, NULL), -EPROTO);
	size = load("form-a", ber, sizeof(ber));
	for (size_t n = 1; n < size; n++) {
		uint8_t *exact = malloc(n);

		assert_non_null(exact);
		memcpy(exact, ber, n);
		assert_int_equal(cms_open(exact, n, key, 32, &plain, NULL), -EPROTO);
		free(exact);
	}
	assert_null(plain);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_wrong_key),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
