/* fs/oms/oms_key: signatures that another program made, and keys of other kinds. */
#include "fs/oms/oms_key.h"

#include "fs/formats/oms.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

#define REFERENCE TEST_SOURCE_ROOT "/tests/vectors/oms/reference/"

static char dir[] = "/tmp/sealedfs-oms-XXXXXX";

static struct oms_bundle *load_bundle(const char *name)
{
	struct oms_bundle *b = NULL;
	char path[512], text[16384];
	size_t size;
	FILE *f;

	(void)snprintf(path, sizeof(path), REFERENCE "%s", name);
	f = fopen(path, "re");
	assert_non_null(f);
	size = fread(text, 1, sizeof(text), f);
	fclose(f);
	assert_int_equal(oms_bundle_parse(name, text, size, &b, NULL), 0);
	return b;
}

static const char *in_dir(const char *name)
{
	static char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static FILE *create(const char *name, mode_t mode)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	return fdopen(fd, "w");
}

/* A copy that belongs to who runs the test, as keys must. */
static struct oms_key *load_key(const char *name)
{
	char from[512], text[4096];
	struct error err = {0};
	struct oms_key *k = NULL;
	size_t size;
	FILE *f;

	(void)snprintf(from, sizeof(from), REFERENCE "%s", name);
	f = fopen(from, "re");
	assert_non_null(f);
	size = fread(text, 1, sizeof(text), f);
	fclose(f);
	f = create(name, 0644);
	assert_int_equal(fwrite(text, 1, size, f), size);
	fclose(f);
	if (oms_key_load_public(in_dir(name), &k, &err) < 0)
		fail_msg("%s", err.message);
	return k;
}

static int verify(const char *key, const char *bundle)
{
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = load_bundle(bundle);
	_cleanup_(oms_key_freep) struct oms_key *k = load_key(key);
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size;

	assert_int_equal(oms_signed_bytes(b->payload, b->payload_size, &bytes, &size), 0);
	return oms_key_verify(k, bytes, size, b->signature, b->signature_size);
}

static void test_signatures_of_others(void **state)
{
	assert_int_equal(verify("key.pub", "v0.3.1-elliptic-key.sig"), 0);
	assert_int_equal(verify("key.pub", "v1.0.1-elliptic-key.sig"), 0);
	assert_int_equal(verify("key.pub", "v1.1.0-elliptic-key.sig"), 0);
	assert_int_equal(verify("key.pub", "v1.1.0-certificate.sig"), 0);
	assert_int_equal(verify("p256.pub", "p256.sig"), 0);
	assert_int_equal(verify("p256.pub", "v1.1.0-elliptic-key.sig"), -EBADMSG);
	assert_int_equal(verify("key.pub", "p256.sig"), -EBADMSG);
	assert_int_equal(verify("key.pub", "v1.1.0-sigstore.sig"), -EBADMSG);
}

static void test_the_hint(void **state)
{
	_cleanup_(oms_bundle_freep) struct oms_bundle *b = load_bundle("v1.1.0-elliptic-key.sig");
	_cleanup_(oms_bundle_freep) struct oms_bundle *c = load_bundle("p256.sig");
	_cleanup_(oms_key_freep) struct oms_key *k = load_key("key.pub"), *p = load_key("p256.pub");

	assert_string_equal(oms_key_hint(k), b->hint);
	assert_string_equal(oms_key_hint(p), c->hint);
}

static void write_pair(const char *name, EVP_PKEY *pkey, const char *phrase)
{
	char pub[64];
	FILE *f = create(name, 0600);

	assert_non_null(pkey);
	assert_int_equal(PEM_write_PKCS8PrivateKey(f, pkey, phrase ? EVP_aes_256_cbc() : NULL,
						   phrase, phrase ? (int)strlen(phrase) : 0, NULL,
						   NULL),
			 1);
	fclose(f);
	(void)snprintf(pub, sizeof(pub), "%s.pub", name);
	f = create(pub, 0644);
	assert_int_equal(PEM_write_PUBKEY(f, pkey), 1);
	fclose(f);
	EVP_PKEY_free(pkey);
}

static void test_what_one_signs_the_other_verifies(void **state)
{
	static const char *const curves[][2] = {
		{"P-256", "P-256.pub"}, {"P-384", "P-384.pub"}, {"P-521", "P-521.pub"}};

	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		_cleanup_(oms_key_freep) struct oms_key *private = NULL, *public = NULL;
		_cleanup_free_ uint8_t *signature = NULL;
		size_t size;

		write_pair(curves[i][0], EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[i][0]), NULL);
		assert_int_equal(oms_key_load_private(in_dir(curves[i][0]), &private, NULL), 0);
		assert_int_equal(oms_key_load_public(in_dir(curves[i][1]), &public, NULL), 0);
		assert_string_equal(oms_key_hint(private), oms_key_hint(public));
		assert_int_equal(oms_key_sign(private, "text", 4, &signature, &size), 0);
		assert_int_equal(oms_key_verify(public, "text", 4, signature, size), 0);
		assert_int_equal(oms_key_verify(public, "texT", 4, signature, size), -EBADMSG);
		assert_int_equal(oms_key_verify(public, "text", 4, signature, size - 1), -EBADMSG);
		signature[size - 1] ^= 1;
		assert_int_equal(oms_key_verify(public, "text", 4, signature, size), -EBADMSG);
	}
}

static void test_other_keys_are_refused(void **state)
{
	static const char *const others[] = {"ed", "rsa", "k256", "encrypted"};
	struct oms_key *k = NULL;
	struct error err = {0};

	write_pair("ed", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL);
	write_pair("rsa", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048), NULL);
	write_pair("k256", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1"), NULL);
	write_pair("encrypted", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), "phrase");
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		err = (struct error){0};
		assert_int_equal(oms_key_load_private(in_dir(others[i]), &k, &err), -EINVAL);
		assert_non_null(strstr(err.message, "holds no private key"));
	}
	/* A private key where a public one is expected. */
	write_pair("pair", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), NULL);
	err = (struct error){0};
	assert_int_equal(oms_key_load_public(in_dir("pair"), &k, &err), -EINVAL);
	assert_non_null(strstr(err.message, "holds no public key"));
	assert_int_equal(chmod(in_dir("pair"), 0644), 0);
	assert_int_equal(oms_key_load_private(in_dir("pair"), &k, NULL), -EINVAL);
	assert_null(k);
}

static int begin(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static int end(void **state)
{
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signatures_of_others),
		cmocka_unit_test(test_the_hint),
		cmocka_unit_test(test_what_one_signs_the_other_verifies),
		cmocka_unit_test(test_other_keys_are_refused),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
