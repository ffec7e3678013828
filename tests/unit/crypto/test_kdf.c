/*
 * crypto/kdf: HKDF-SHA-256 by RFC 5869 appendix A.1 to A.3, HMAC-SHA-256 by RFC 4231, and the
 * key schedule against the values that the second implementation worked out (index.json).
 */
#include "crypto/base/cursor.h"
#include "crypto/base/encode.h"
#include "crypto/kdf.h"
#include "crypto/seal_internal.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#define BYTES_MAX 160

static struct kdf_bytes unhex(const char *hex, uint8_t buf[BYTES_MAX])
{
	size_t size = strlen(hex) / 2;

	assert_true(size <= BYTES_MAX);
	assert_int_equal(hex_decode(hex, buf, size), 0);
	return (struct kdf_bytes){buf, size};
}

static void hkdf_rfc5869(void **state)
{
	static const struct {
		const char *ikm, *salt, *info, *okm;
	} kats[] = {
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
		 "f0f1f2f3f4f5f6f7f8f9",
		 "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
		{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728"
		 "292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
		 "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788"
		 "898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
		 "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8"
		 "d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
		 "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271"
		 "cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
		 "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96"
		 "c8"},
	};

	for (size_t i = 0; i < ARRAY_LEN(kats); i++) {
		uint8_t ikm[BYTES_MAX], salt[BYTES_MAX], info[BYTES_MAX], okm[BYTES_MAX];
		uint8_t out[BYTES_MAX];
		struct kdf_bytes expected = unhex(kats[i].okm, okm);

		assert_int_equal(kdf_hkdf_sha256(unhex(kats[i].ikm, ikm), unhex(kats[i].salt, salt),
						 unhex(kats[i].info, info), out, expected.size),
				 0);
		assert_memory_equal(out, okm, expected.size);
	}
}

static void hkdf_sizes_are_bounded(void **state)
{
	_cleanup_free_ uint8_t *out = malloc(KDF_HKDF_MAX + 1);
	struct kdf_bytes b = {"key", 3};

	assert_non_null(out);
	assert_int_equal(kdf_hkdf_sha256(b, b, b, out, 0), -EINVAL);
	assert_int_equal(kdf_hkdf_sha256(b, b, b, out, KDF_HKDF_MAX + 1), -EINVAL);
	assert_int_equal(kdf_hkdf_sha256(b, b, b, out, KDF_HKDF_MAX), 0);
}

static void hmac_rfc4231(void **state)
{
	uint8_t key[131], data[50], out[SHA256_SIZE], expected[BYTES_MAX];
	const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
	struct kdf_bytes halves[] = {{text, 10}, {text + 10, strlen(text) - 10}};
	struct kdf_bytes part = {"Hi There", 8};

	memset(key, 0x0b, 20);
	assert_int_equal(kdf_hmac_sha256((struct kdf_bytes){key, 20}, &part, 1, out), 0);
	unhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", expected);
	assert_memory_equal(out, expected, sizeof(out));
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	part = (struct kdf_bytes){data, sizeof(data)};
	assert_int_equal(kdf_hmac_sha256((struct kdf_bytes){key, 20}, &part, 1, out), 0);
	unhex("773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", expected);
	assert_memory_equal(out, expected, sizeof(out));
	assert_int_equal(kdf_hmac_sha256((struct kdf_bytes){key, sizeof(key)}, halves,
					 ARRAY_LEN(halves), out),
			 0);
	unhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", expected);
	assert_memory_equal(out, expected, sizeof(out));
}

static void expect_part(const json_t *one, const char *key, const struct secret *all, size_t at)
{
	uint8_t expected[BYTES_MAX];
	struct kdf_bytes b = unhex(json_string_value(json_object_get(one, key)), expected);

	assert_memory_equal(secret_data(all) + at, expected, b.size);
}

static void key_schedule_of_the_vectors(void **state)
{
	_cleanup_free_ char *path = vector_path("index.json");
	json_t *index = json_load_file(path, 0, NULL), *one;
	const json_t *list = json_object_get(json_object_get(index, "derivations"), "key_schedule");
	size_t i;

	assert_true(json_array_size(list) > 0);
	json_array_foreach (list, i, one) {
		const char *info = json_string_value(json_object_get(one, "info"));
		const char *key = json_string_value(json_object_get(one, "data_key"));
		uint8_t buf[BYTES_MAX], core[0x40] = SEAL_MAGIC;
		_cleanup_secret_ struct secret *data_key = NULL;
		_cleanup_secret_ struct secret *out = NULL;

		assert_int_equal(secret_new_from(unhex(key, buf).data, 32, &data_key), 0);
		/* info is the label, 11 bytes, and core[0x08..0x40]. */
		assert_int_equal(unhex(info, buf).size, 11 + 0x38);
		memcpy(core + 8, buf + 11, 0x38);
		assert_int_equal(kdf_seal_keys(data_key, core, &out), 0);
		expect_part(one, "payload_key", out, KDF_PAYLOAD_KEY_AT);
		expect_part(one, "base_nonce", out, KDF_BASE_NONCE_AT);
		expect_part(one, "commitment", out, KDF_COMMITMENT_AT);
		expect_part(one, "slot_mac_key", out, KDF_SLOT_MAC_KEY_AT);
	}
	json_decref(index);
}

static void every_bound_byte_changes_the_keys(void **state)
{
	_cleanup_secret_ struct secret *data_key = NULL;
	_cleanup_secret_ struct secret *first = NULL;
	uint8_t core[0x40] = {0};

	assert_int_equal(secret_new_random(SEAL_DATA_KEY_SIZE, &data_key), 0);
	assert_int_equal(kdf_seal_keys(data_key, core, &first), 0);
	for (size_t i = 8; i < sizeof(core); i++) {
		_cleanup_secret_ struct secret *other = NULL;

		core[i] ^= 1;
		assert_int_equal(kdf_seal_keys(data_key, core, &other), 0);
		core[i] ^= 1;
		assert_memory_not_equal(secret_data(first), secret_data(other), 32);
		assert_memory_not_equal(secret_data(first) + KDF_COMMITMENT_AT,
					secret_data(other) + KDF_COMMITMENT_AT, 32);
	}
}

static void a_data_key_of_another_size_is_refused(void **state)
{
	static const size_t sizes[] = {1, 16, 31, 33, 64};
	uint8_t core[0x40] = {0};
	struct secret *out = NULL;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		_cleanup_secret_ struct secret *key = NULL;

		assert_int_equal(secret_new_random(sizes[i], &key), 0);
		assert_int_equal(kdf_seal_keys(key, core, &out), -EINVAL);
		assert_null(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hkdf_rfc5869),
		cmocka_unit_test(hkdf_sizes_are_bounded),
		cmocka_unit_test(hmac_rfc4231),
		cmocka_unit_test(key_schedule_of_the_vectors),
		cmocka_unit_test(every_bound_byte_changes_the_keys),
		cmocka_unit_test(a_data_key_of_another_size_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
