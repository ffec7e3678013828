/* Unlocking: which slot is chosen, and what is said when nothing opens. */
#include "tests/unit/fs/unlock/world.h"

#include <errno.h>
#include <string.h>

#define PCR4 "1a1f166e1995c1e1bfdf1c1d13b1ebc9d5d4e44397501655c911a2062d92063483ca9e17f0264efe"
#define PCR7 "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661"

static void test_keyfile(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "a1");
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, f->keyfile[1], &err), 0);
	assert_int_equal(world.attested_decrypts, 0);
	/* The other key file does not fit; KMS does. */
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, f->keyfile[0], &err), 0);
	assert_int_equal(world.attested_decrypts, 1);
	assert_int_equal(err.code, 0);
}

static void test_attested(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "a");
	for (int n = 0; n < 2; n++) /* fresh nonce and RSA key each time: attest_document() looks */
		assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), 0);
	assert_int_equal(world.attested_decrypts, 2);
	assert_int_equal(world.plain_decrypts, 0);
	assert_int_equal(world.spki_size, 294);
	assert_memory_equal(world.file_id, seal_core(f->seal)->file_id, 32);
}

static void test_owner(void **state)
{
	struct fixture *f = *state;

	make_seal(f, "ab");
	assert_int_equal(open_it(f, HAS_AWS, NULL, NULL), 0);
	assert_int_equal(world.plain_decrypts, 1);
	assert_int_equal(world.attested, 0);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "a");
	world.kms[0].code = -EKEYREJECTED;
	world.kms[0].says = "KMS Decrypt: AccessDeniedException: no policy allows it";
	world.kms[0].hint = "";
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EKEYREJECTED);
	assert_int_equal(err.code, -EKEYREJECTED);
	assert_says(&err, "prod/m.gguf: slot 0 (" ARN_A ")");
	assert_says(&err, "AccessDeniedException: no policy allows it");
	assert_says(&err, "i-01cfb383223e42522-tpm0000000000000000");
	assert_says(&err, "PCR 4 = " PCR4);
	assert_says(&err, "PCR 7 = " PCR7);
	assert_says(&err, "PCR 12 = 000000");
	assert_non_null(strstr(err.hint, "NitroTPMPCR"));
	/* KMS's own hint, where there is one, says more. */
	error_clear(&err);
	world.kms[0].hint = "check the AWS keys";
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EKEYREJECTED);
	assert_string_equal(err.hint, "check the AWS keys");
}

/* A policy that wants PCR 4 as it is, and another PCR 12. */
#define POLICY                                                                                 \
	"{\"Statement\":{\"Sid\":\"Unlocks\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":"     \
	"\"arn:aws:iam::111122223333:role/r\"},\"Action\":\"kms:Decrypt\",\"Resource\":\"*\"," \
	"\"Condition\":{\"StringLike\":{\"kms:RecipientAttestation:NitroTPMPCR4\":\"" PCR4     \
	"*\",\"kms:RecipientAttestation:NitroTPMPCR12\":\"12ab\"}}}}"

static void assert_explained(const struct error *err)
{
	assert_says(err, "AccessDeniedException: no policy allows it");
	assert_says(err, "i-01cfb383223e42522-tpm0000000000000000");
	assert_says(err, "statement 1 (Unlocks): PCR 4 fits, PCR 12 = 000000");
	assert_says(err, "(wanted: 12ab)");
}

/* Where the policy can be had, the message has what it wants; KMS is asked once. */
static void test_refused_by_policy(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "ab");
	for (int i = 0; i < 2; i++) {
		world.kms[i].code = -EKEYREJECTED;
		world.kms[i].says = "KMS Decrypt: AccessDeniedException: no policy allows it";
		world.kms[i].hint = "";
	}
	world.policy = POLICY;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EKEYREJECTED);
	assert_explained(&err);
	assert_int_equal(world.policies_asked, 2); /* two keys */
	error_clear(&err);
	world.policy = "{\"Statement\":{}}";
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EKEYREJECTED);
	assert_says(&err, "PCR 4 = " PCR4);
}

static void test_refused_by_policy_of_file(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/policy.json", f->dir);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(POLICY, 1, strlen(POLICY), file), strlen(POLICY));
	fclose(file);
	make_seal(f, "a");
	world.kms[0].code = -EKEYREJECTED;
	world.kms[0].says = "KMS Decrypt: AccessDeniedException: no policy allows it";
	world.kms[0].hint = "";
	world.policy_file = path;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EKEYREJECTED);
	assert_explained(&err);
	assert_int_equal(world.policies_asked, 0);
	unlink(path);
}

static void test_long_refusal(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};
	char words[1000];

	make_seal(f, "a");
	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	world.kms[0].code = -EKEYREJECTED;
	world.kms[0].says = words;
	world.kms[0].hint = "";
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EKEYREJECTED);
	assert_says(&err, "PCR 4 = " PCR4);
	assert_says(&err, "PCR 7 = " PCR7);
}

static void test_second_slot(void **state)
{
	struct fixture *f = *state;

	make_seal(f, "ab");
	world.kms[0].code = -EKEYREJECTED;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, NULL), 0);
	assert_int_equal(world.attested_decrypts, 2);
}

static void test_which_failure(void **state)
{
	static const struct {
		int a, b, wanted;
	} cases[] = {
		{-EKEYREJECTED, -EKEYREJECTED, -EKEYREJECTED},
		{-EKEYREJECTED, -ETIMEDOUT, -ETIMEDOUT},
		{-ETIMEDOUT, -EKEYREJECTED, -ETIMEDOUT},
		{-ETIMEDOUT, -EBADMSG, -EBADMSG},
		{-EKEYREJECTED, -EBADMSG, -EBADMSG},
		{-EIO, -EKEYREJECTED, -EIO},
		{-EIO, -EAGAIN, -EAGAIN},
	};
	struct fixture *f = *state;

	make_seal(f, "ab");
	for (size_t n = 0; n < ARRAY_LEN(cases); n++) {
		struct error err = {0};

		world.kms[0].code = cases[n].a;
		world.kms[1].code = cases[n].b;
		assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), cases[n].wanted);
		assert_int_equal(err.code, cases[n].wanted);
		assert_true(err.message[0] != '\0');
	}
}

static void test_wrong_key(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "ax");
	world.key[31] ^= 1;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EBADMSG);
	assert_says(&err, "holds a key that is not this seal's");
	error_clear(&err);
	assert_int_equal(open_it(f, HAS_AWS, NULL, &err), -EBADMSG);
	assert_says(&err, "holds a key that is not this seal's");
	error_clear(&err);
	assert_int_equal(open_it(f, 0, f->keyfile[0], &err), -EBADMSG);
	assert_says(&err, "(key file) holds a key that is not this seal's");
}

static void test_malformed_envelope(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "a");
	world.malformed = true;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -EPROTO);
	assert_says(&err, "unknown envelope");
}

static void test_no_attestation(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "a");
	world.attest_code = -ENODEV;
	assert_int_equal(open_it(f, HAS_AWS | HAS_PROVIDER, NULL, &err), -ENODEV);
	assert_says(&err, "no attestation");
	/* Never a Decrypt without a document where attestation was asked for. */
	assert_int_equal(world.attested_decrypts + world.plain_decrypts, 0);
}

static void test_no_means(void **state)
{
	struct fixture *f = *state;
	struct error err = {0};

	make_seal(f, "a1");
	assert_int_equal(open_it(f, 0, f->keyfile[0], &err), -ENOKEY);
	assert_says(&err, "no recipient: it is sealed for");
	assert_says(&err, ARN_A);
	assert_says(&err, "key file ");
	assert_non_null(strstr(err.hint, "KMS"));
}

static void test_no_such_keyfile(void **state)
{
	const char *path = "/nonexistent/key";
	struct unlock_options options = {.keyfiles = &path, .keyfile_count = 1};
	struct unlock *u = NULL;
	struct error err = {0};

	assert_true(unlock_new(&options, &u, &err) < 0);
	assert_null(u);
	assert_says(&err, path);
	unlock_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_keyfile),
		WITH_FIXTURE(test_attested),
		WITH_FIXTURE(test_owner),
		WITH_FIXTURE(test_refused),
		WITH_FIXTURE(test_refused_by_policy),
		WITH_FIXTURE(test_refused_by_policy_of_file),
		WITH_FIXTURE(test_long_refusal),
		WITH_FIXTURE(test_second_slot),
		WITH_FIXTURE(test_which_failure),
		WITH_FIXTURE(test_wrong_key),
		WITH_FIXTURE(test_malformed_envelope),
		WITH_FIXTURE(test_no_attestation),
		WITH_FIXTURE(test_no_means),
		cmocka_unit_test(test_no_such_keyfile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
