/* fs/oms/oms_key: signatures that another program made, and keys of other kinds. */
#include "fs/oms/oms_key.h"

#include "fs/formats/oms.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
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

/* A copy that belongs to who runs the test, as keys must. */
static struct oms_key *load_key(const char *name)
{
	char from[512], to[512], command[2048];
	struct error err = {0};
	struct oms_key *k = NULL;

	(void)snprintf(from, sizeof(from), REFERENCE "%s", name);
	(void)snprintf(to, sizeof(to), "%s/%s", dir, name);
	(void)snprintf(command, sizeof(command), "install -m 0644 '%s' '%s'", from, to);
	assert_int_equal(system(command), 0); /* NOLINT: names of this test's own */
	if (oms_key_load_public(to, &k, &err) < 0)
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

static void make(const char *name, const char *options)
{
	char command[1024];

	(void)snprintf(command, sizeof(command),
		       "umask 077 && openssl genpkey -out '%s/%s' %s >/dev/null 2>&1", dir, name,
		       options);
	assert_int_equal(system(command), 0); /* NOLINT */
}

static void test_what_one_signs_the_other_verifies(void **state)
{
	static const char *const curves[] = {"P-256", "P-384", "P-521"};

	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		_cleanup_(oms_key_freep) struct oms_key *private = NULL, *public = NULL;
		_cleanup_free_ uint8_t *signature = NULL;
		char path[512], pub[520], command[2048], options[128];
		size_t size;

		(void)snprintf(options, sizeof(options),
			       "-algorithm EC -pkeyopt ec_paramgen_curve:%s", curves[i]);
		make(curves[i], options);
		(void)snprintf(path, sizeof(path), "%s/%s", dir, curves[i]);
		(void)snprintf(pub, sizeof(pub), "%s.pub", path);
		(void)snprintf(command, sizeof(command), "openssl pkey -in '%s' -pubout -out '%s'",
			       path, pub);
		assert_int_equal(system(command), 0); /* NOLINT */
		assert_int_equal(oms_key_load_private(path, &private, NULL), 0);
		assert_int_equal(oms_key_load_public(pub, &public, NULL), 0);
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
	static const char *const others[][2] = {
		{"ed", "-algorithm ED25519"},
		{"rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"},
		{"k256", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1"},
		{"encrypted",
		 "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:x"},
	};
	char path[512];
	struct oms_key *k = NULL;
	struct error err = {0};

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		make(others[i][0], others[i][1]);
		(void)snprintf(path, sizeof(path), "%s/%s", dir, others[i][0]);
		err = (struct error){0};
		assert_int_equal(oms_key_load_private(path, &k, &err), -EINVAL);
		assert_non_null(strstr(err.message, "holds no private key"));
	}
	/* A private key where a public one is expected. */
	(void)snprintf(path, sizeof(path), "%s/P-256", dir);
	err = (struct error){0};
	assert_int_equal(oms_key_load_public(path, &k, &err), -EINVAL);
	assert_non_null(strstr(err.message, "holds no public key"));
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(oms_key_load_private(path, &k, NULL), -EINVAL);
	assert_null(k);
}

static int begin(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -r '%s'", dir);
	return system(command); /* NOLINT */
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
