/*
 * crypto/sign: Ed25519 by RFC 8032 section 7.1, through PEM files as users have them; and the
 * files that must be refused.
 */
#include "crypto/base/encode.h"
#include "crypto/key_io.h"
#include "crypto/sign.h"
#include "tests/unit/crypto/files.h"
#include "tests/unit/crypto/fixture.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* DER before the 32 bytes of a key: PKCS #8 and SubjectPublicKeyInfo of RFC 8410. */
#define PKCS8_PREFIX "302e020100300506032b657004220420"
#define SPKI_PREFIX "302a300506032b6570032100"
#define BYTES_MAX 128

#define BEGIN(label) "-----BEGIN " label "-----\n"
#define END(label) "-----END " label "-----\n"

static const char x25519_private[] =
	BEGIN("PRIVATE KEY") "MC4CAQAwBQYDK2VuBCIEIDBiLJczITjrzeq1QK0SqRCbDlg7L8qHqhJxzcx3VjJR\n" END(
		"PRIVATE KEY");
static const char x25519_public[] =
	BEGIN("PUBLIC KEY") "MCowBQYDK2VuAyEAL/jy+69MHdmL/+cIPv3SBkG5Eqxm3t7ciGmhg5rglEA=\n" END(
		"PUBLIC KEY");
static const char ed448_private[] =
	BEGIN("PRIVATE KEY") "MEcCAQAwBQYDK2VxBDsEOYRc8/oG84xhy0xPgf9GZKu5ygum972xo7rctiqm3R8V\n"
			     "5vQjwFwjAARAo4OhZwRSiFGrBjAFbnCXwQ==\n" END("PRIVATE KEY");
static const char ed448_public[] =
	BEGIN("PUBLIC KEY") "MEMwBQYDK2VxAzoAWIrVadistT64Ma+zaS/pfgPc2G5XZawLFnwteoTe7tfzNi8f\n"
			    "NmqjCKbCn6kaCrLXEUeIf4fw8WOA\n" END("PUBLIC KEY");
static const char ec_private[] =
	BEGIN("EC PRIVATE KEY") "MHcCAQEEILGgzlGkqrwRO4Of+9tsTYrrv6dj/TlY6JwbmzkOojYUoAoGCCqGSM49\n"
				"AwEHoUQDQgAE8XWB1Sedqi2qASxJpwTaEvd1UpGkyybk4ugspydnBcoywomO4HlQ\n"
				"TwaXsuzn5OWAZcWhb1HWPQTO5ccKATD0Hw==\n" END("EC PRIVATE KEY");
static const char encrypted_private[] = BEGIN(
	"ENCRYPTED PRIVATE KEY") "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgAeatQGkYAVAICCAAw\n"
				 "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKRZ4566c3FzeQAI23fym8oEQBRH\n"
				 "uixI6SxK6TGnGi7//Abi2v91M0423zNrSuCHxqVOTOYopMYA1xWJHPPkhQWEbn6c\n"
				 "y0+Mm1Puq1T4T2wWdCw=\n" END("ENCRYPTED PRIVATE KEY");
static const char garbage[] = "this is no key\n";
static const char cut_short[] = BEGIN("PUBLIC KEY") "MCowBQYDK2VwAyEA\n";
static const char bad_base64[] = BEGIN("PUBLIC KEY") "MCowBQYD*2Vw\n" END("PUBLIC KEY");
static const char not_der[] = BEGIN("PUBLIC KEY") "AAAA\n" END("PUBLIC KEY");
static const char private_not_der[] = BEGIN("PRIVATE KEY") "AAAA\n" END("PRIVATE KEY");

struct folder {
	char *dir, *path, *other;
};

static int enter(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->dir = temp_dir_new();
	f->path = path_join(f->dir, "key.pem");
	f->other = path_join(f->dir, "other.pem");
	*state = f;
	return 0;
}

static int leave(void **state)
{
	struct folder *f = *state;

	temp_dir_done(f->dir);
	free(f->path);
	free(f->other);
	free(f);
	return 0;
}

/* A PEM file of prefix and key, both hex. */
static char *pem(const char *label, const char *prefix, const char *key)
{
	uint8_t der[BYTES_MAX];
	size_t a = strlen(prefix) / 2, b = strlen(key) / 2;
	_cleanup_free_ char *text = NULL;
	char *out;

	assert_int_equal(hex_decode(prefix, der, a), 0);
	assert_int_equal(hex_decode(key, der + a, b), 0);
	text = base64_encode(der, a + b);
	assert_true(asprintf(&out, "-----BEGIN %s-----\n%s\n-----END %s-----\n", label, text,
			     label) > 0);
	return out;
}

static void store(const char *path, const char *text)
{
	blob_store(path, text, strlen(text), 0600);
}

static void rfc8032(void **state)
{
	static const struct {
		const char *secret, *public, *message, *signature;
	} kats[] = {
		{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		 "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
		 "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		 "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
		 "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
		{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
		 "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
		 "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290"
		 "ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
	};
	const struct folder *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(kats); i++) {
		_cleanup_free_ char *private_pem = pem("PRIVATE KEY", PKCS8_PREFIX, kats[i].secret);
		_cleanup_free_ char *public_pem = pem("PUBLIC KEY", SPKI_PREFIX, kats[i].public);
		_cleanup_(signing_key_freep) struct signing_key *k = NULL;
		_cleanup_(owner_keys_freep) struct owner_keys *set = NULL;
		uint8_t message[BYTES_MAX], expected[SIGNATURE_SIZE], sig[SIGNATURE_SIZE];
		size_t size = strlen(kats[i].message) / 2;

		assert_int_equal(hex_decode(kats[i].message, message, size), 0);
		assert_int_equal(hex_decode(kats[i].signature, expected, sizeof(expected)), 0);
		store(f->path, private_pem);
		store(f->other, public_pem);
		assert_int_equal(signing_key_load(f->path, &k, NULL), 0);
		assert_int_equal(signing_key_sign(k, message, size, sig), 0);
		assert_memory_equal(sig, expected, sizeof(sig));
		assert_int_equal(owner_keys_new(&set), 0);
		assert_int_equal(owner_keys_add_file(set, f->other, NULL), 0);
		assert_true(owner_keys_contain(set, signing_key_id(k)));
		assert_int_equal(owner_keys_verify(set, signing_key_id(k), message, size, sig), 0);
	}
}

static void wrong_signatures_are_refused(void **state)
{
	_cleanup_(signing_key_freep) struct signing_key *k = fixture_signer();
	_cleanup_(owner_keys_freep) struct owner_keys *set = fixture_owner();
	_cleanup_(owner_keys_freep) struct owner_keys *empty = NULL;
	uint8_t sig[SIGNATURE_SIZE], stranger[SIGNER_ID_SIZE] = {0};
	const uint8_t *id = signing_key_id(k);

	assert_int_equal(signing_key_sign(k, "message", 7, sig), 0);
	assert_int_equal(owner_keys_verify(set, id, "message", 7, sig), 0);
	assert_int_equal(owner_keys_verify(set, id, "massage", 7, sig), -EBADMSG);
	assert_int_equal(owner_keys_verify(set, id, "message", 6, sig), -EBADMSG);
	for (size_t bit = 0; bit < sizeof(sig) * 8; bit++) {
		sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(owner_keys_verify(set, id, "message", 7, sig), -EBADMSG);
		sig[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(owner_keys_verify(set, stranger, "message", 7, sig), -ENOKEY);
	assert_int_equal(owner_keys_new(&empty), 0);
	assert_int_equal(owner_keys_count(empty), 0);
	assert_int_equal(owner_keys_verify(empty, id, "message", 7, sig), -ENOKEY);
}

static void signer_ids_are_the_vectors(void **state)
{
	_cleanup_(signing_key_freep) struct signing_key *k = fixture_signer();
	char hex[2 * SIGNER_ID_SIZE + 1];

	hex_encode(signing_key_id(k), SIGNER_ID_SIZE, hex);
	assert_string_equal(hex,
			    "0fa534f6091e275eea62694a882eaccda6d6eb0f2c812d4ae6113ef89e500af6");
}

static void generated_pairs_fit_and_are_never_overwritten(void **state)
{
	const struct folder *f = *state;
	_cleanup_(signing_key_freep) struct signing_key *k = NULL;
	_cleanup_(owner_keys_freep) struct owner_keys *set = NULL;
	_cleanup_free_ char *fresh = path_join(f->dir, "fresh.pem");
	struct error err = {0};
	struct stat st;

	assert_int_equal(signing_key_generate(f->path, f->other, &err), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(f->other, &st), 0);
	assert_int_equal(st.st_mode & 07133, 0);
	assert_int_equal(signing_key_load(f->path, &k, NULL), 0);
	assert_int_equal(owner_keys_new(&set), 0);
	assert_int_equal(owner_keys_add_file(set, f->other, NULL), 0);
	assert_true(owner_keys_contain(set, signing_key_id(k)));
	assert_int_equal(signing_key_generate(f->path, fresh, &err), -EEXIST);
	assert_non_null(strstr(err.message, f->path));
	assert_int_equal(access(fresh, F_OK), -1);
	/* The public file exists: the private one that was just made must go again. */
	assert_int_equal(signing_key_generate(fresh, f->other, NULL), -EEXIST);
	assert_int_equal(access(fresh, F_OK), -1);
	assert_int_equal(signing_key_generate("/nonexistent/dir/a", fresh, NULL), -ENOENT);
	assert_int_equal(access(fresh, F_OK), -1);
}

static void a_dangling_link_is_not_followed(void **state)
{
	const struct folder *f = *state;
	_cleanup_free_ char *target = path_join(f->dir, "target");

	assert_int_equal(symlink(target, f->path), 0);
	assert_int_equal(key_io_create(f->path, "x", 1, 0600, NULL), -EEXIST);
	assert_int_equal(access(target, F_OK), -1);
}

static void files_without_our_private_key(void **state)
{
	const struct folder *f = *state;
	_cleanup_free_ char *public_pem =
		pem("PUBLIC KEY", SPKI_PREFIX,
		    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
	_cleanup_free_ char *trailing =
		pem("PRIVATE KEY", PKCS8_PREFIX,
		    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6000");
	const char *bad[] = {"",	 garbage,	    x25519_private, ed448_private,
			     ec_private, public_pem,	    trailing,	    cut_short,
			     bad_base64, encrypted_private, private_not_der};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct signing_key *k = NULL;
		struct error err = {0};

		store(f->path, bad[i]);
		assert_int_equal(signing_key_load(f->path, &k, &err), -EINVAL);
		assert_non_null(strstr(err.message, f->path));
		assert_null(k);
		if (bad[i] == encrypted_private)
			assert_non_null(strstr(err.message, "encrypted"));
	}
	assert_int_equal(signing_key_load("/nonexistent", NULL, NULL), -ENOENT);
}

static void files_without_owner_keys(void **state)
{
	const struct folder *f = *state;
	_cleanup_free_ char *private_pem =
		pem("PRIVATE KEY", PKCS8_PREFIX,
		    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
	const char *bad[] = {"",	  garbage,    x25519_public, ed448_public,
			     private_pem, ec_private, cut_short,     encrypted_private,
			     bad_base64,  not_der,    x25519_private};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_(owner_keys_freep) struct owner_keys *set = NULL;
		struct error err = {0};

		assert_int_equal(owner_keys_new(&set), 0);
		store(f->path, bad[i]);
		assert_int_equal(owner_keys_add_file(set, f->path, &err), -EINVAL);
		assert_non_null(strstr(err.message, f->path));
		assert_int_equal(owner_keys_count(set), 0);
		if (bad[i] == private_pem || bad[i] == encrypted_private || bad[i] == ec_private)
			assert_non_null(strstr(err.message, "private key"));
	}
}

static void every_public_key_of_a_file_is_pinned_once(void **state)
{
	const struct folder *f = *state;
	_cleanup_free_ char *a =
		pem("PUBLIC KEY", SPKI_PREFIX,
		    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
	_cleanup_free_ char *b =
		pem("PUBLIC KEY", SPKI_PREFIX,
		    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
	_cleanup_free_ char *both = NULL, *broken = NULL;
	_cleanup_(owner_keys_freep) struct owner_keys *set = NULL;

	assert_true(asprintf(&both, "# owners\n%s\nthe second\n%s%s", a, b, a) > 0);
	assert_true(asprintf(&broken, "%s%s", a, cut_short) > 0);
	assert_int_equal(owner_keys_new(&set), 0);
	store(f->path, both);
	assert_int_equal(owner_keys_add_file(set, f->path, NULL), 0);
	assert_int_equal(owner_keys_count(set), 2);
	assert_int_equal(owner_keys_add_file(set, f->path, NULL), 0);
	assert_int_equal(owner_keys_count(set), 2);
	store(f->other, broken);
	assert_int_equal(owner_keys_add_file(set, f->other, NULL), -EINVAL);
}

static void the_set_is_bounded(void **state)
{
	const struct folder *f = *state;
	_cleanup_(owner_keys_freep) struct owner_keys *set = NULL;
	int r = 0;

	assert_int_equal(owner_keys_new(&set), 0);
	for (int i = 0; i < 65 && r == 0; i++) {
		assert_int_equal(signing_key_generate(f->path, f->other, NULL), 0);
		r = owner_keys_add_file(set, f->other, NULL);
		assert_int_equal(unlink(f->path), 0);
		assert_int_equal(unlink(f->other), 0);
	}
	assert_int_equal(r, -EINVAL);
	assert_int_equal(owner_keys_count(set), 64);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rfc8032),
		cmocka_unit_test(wrong_signatures_are_refused),
		cmocka_unit_test(signer_ids_are_the_vectors),
		TEST(generated_pairs_fit_and_are_never_overwritten),
		TEST(a_dangling_link_is_not_followed),
		TEST(files_without_our_private_key),
		TEST(files_without_owner_keys),
		TEST(every_public_key_of_a_file_is_pinned_once),
		TEST(the_set_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
