/* crypto/base/digest: the examples of FIPS 180 ("abc", 448 bits, a million a), pieces, reset. */
#include "crypto/base/digest.h"
#include "crypto/base/encode.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>

#define LONG_TEXT "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
#define MILLION 1000000

static const struct {
	enum digest_alg alg;
	const char *name, *empty, *abc, *long_text, *million_a;
} kats[] = {
	{DIGEST_SHA1, "sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
	 "a9993e364706816aba3e25717850c26c9cd0d89d", "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
	 "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
	{DIGEST_SHA256, "sha256",
	 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
	 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
	{DIGEST_SHA384, "sha384",
	 "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f1"
	 "4898b95b",
	 "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca1"
	 "34c825a7",
	 "3391fdddfc8dc7393707a65b1b4709397cf8b1d162af05abfe8f450de5f36bc6b0455a8520bc4e6f5fe95b1f"
	 "e3c8452b",
	 "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4ebae97ddd8"
	 "7f3d8985"},
	{DIGEST_SHA512, "sha512",
	 "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2"
	 "877eec2f63b931bd47417a81a538327af927da3e",
	 "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23"
	 "a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	 "204a8fc6dda82f0a0ced7beb8e08a41657c16ef468b228a8279be331a703c33596fd15c13b1b07f9aa1d3bea"
	 "57789ca031ad85c7a71dd70354ec631238ca3445",
	 "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432c"
	 "e577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
};

static void expect(const uint8_t *actual, enum digest_alg alg, const char *expected)
{
	char hex[2 * DIGEST_SIZE_MAX + 1];

	hex_encode(actual, digest_size(alg), hex);
	assert_string_equal(hex, expected);
}

static void known_answers(void **state)
{
	_cleanup_free_ char *a = malloc(MILLION);
	uint8_t out[DIGEST_SIZE_MAX];

	assert_non_null(a);
	memset(a, 'a', MILLION);
	for (size_t i = 0; i < ARRAY_LEN(kats); i++) {
		enum digest_alg alg = kats[i].alg;

		assert_int_equal(digest_size(alg), strlen(kats[i].empty) / 2);
		assert_string_equal(digest_name(alg), kats[i].name);
		assert_int_equal(digest_buffer(alg, "", 0, out), 0);
		expect(out, alg, kats[i].empty);
		assert_int_equal(digest_buffer(alg, "abc", 3, out), 0);
		expect(out, alg, kats[i].abc);
		assert_int_equal(digest_buffer(alg, LONG_TEXT, strlen(LONG_TEXT), out), 0);
		expect(out, alg, kats[i].long_text);
		assert_int_equal(digest_buffer(alg, a, MILLION, out), 0);
		expect(out, alg, kats[i].million_a);
	}
}

static void pieces_and_reset(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(kats); i++) {
		_cleanup_digest_ struct digest *d = NULL;
		uint8_t out[DIGEST_SIZE_MAX];

		assert_int_equal(digest_new(kats[i].alg, &d), 0);
		for (int round = 0; round < 3; round++) {
			assert_int_equal(digest_update(d, "a", 1), 0);
			assert_int_equal(digest_update(d, "", 0), 0);
			assert_int_equal(digest_update(d, "bc", 2), 0);
			assert_int_equal(digest_final(d, out), 0);
			expect(out, kats[i].alg, kats[i].abc);
			assert_int_equal(digest_reset(d), 0);
		}
		/* A reset in the middle of a message forgets it. */
		assert_int_equal(digest_update(d, "xyz", 3), 0);
		assert_int_equal(digest_reset(d), 0);
		assert_int_equal(digest_final(d, out), 0);
		expect(out, kats[i].alg, kats[i].empty);
	}
}

static void unknown_algorithms_are_refused(void **state)
{
	struct digest *d = NULL;
	uint8_t out[DIGEST_SIZE_MAX];

	assert_int_equal(digest_new((enum digest_alg)0x0012, &d), -ENOTSUP);
	assert_null(d);
	assert_int_equal(digest_buffer((enum digest_alg)0, "", 0, out), -ENOTSUP);
	assert_int_equal(digest_size((enum digest_alg)0x0012), 0);
	assert_null(digest_name((enum digest_alg)0x0012));
	digest_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(pieces_and_reset),
		cmocka_unit_test(unknown_algorithms_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
