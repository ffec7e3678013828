/*
 * Unlocking: which slot is chosen, what is asked of TPM and KMS, and what is said when nothing
 * opens. The test plays attest_document(), kms_decrypt() and kms_decrypt_attested(); everything
 * else is the product.
 */
#include "tests/unit/base/test.h"

#include "attest/document.h"
#include "crypto/seal_writer.h"
#include "fs/net/kms.h"
#include "fs/unlock/unlock.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CMS_MAX_FOR_TEST 6144
#define ARN_A "arn:aws:kms:eu-central-1:111122223333:key/aaaaaaaa-0000-0000-0000-000000000000"
#define ARN_B "arn:aws:kms:us-east-1:111122223333:key/bbbbbbbb-0000-0000-0000-000000000000"
#define PCR4 "1a1f166e1995c1e1bfdf1c1d13b1ebc9d5d4e44397501655c911a2062d92063483ca9e17f0264efe"
#define PCR7 "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661"

/* What the world outside does, and what it was asked. */
static struct {
	struct {
		int code; /* 0: returns key */
		const char *says, *hint;
	} kms[2]; /* by ARN */
	uint8_t key[32];
	bool malformed;
	int attest_code;
	unsigned attested, attested_decrypts, plain_decrypts;
	uint8_t nonce[32], spki[512], file_id[32];
	size_t spki_size;
} world;

static size_t load(const char *name, uint8_t *out, size_t max)
{
	char path[512];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), TEST_SOURCE_ROOT "/tests/vectors/%s", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	n = fread(out, 1, max, f);
	fclose(f);
	return n;
}

int attest_document(struct attest_provider *p, const struct attest_request *req, uint8_t **ret,
		    size_t *ret_size, struct error *err)
{
	uint8_t *document = malloc(DOCUMENT_SIZE_MAX);

	assert_non_null(document);
	world.attested++;
	if (world.attest_code < 0) {
		free(document);
		return error_set(err, world.attest_code, "no attestation");
	}
	assert_null(req->user_data);
	assert_int_equal(req->nonce_size, 32);
	assert_memory_not_equal(req->nonce, world.nonce, 32);
	memcpy(world.nonce, req->nonce, 32);
	assert_in_range(req->public_key_size, 1, sizeof(world.spki));
	assert_false(req->public_key_size == world.spki_size &&
		     memcmp(req->public_key, world.spki, world.spki_size) == 0);
	memcpy(world.spki, req->public_key, req->public_key_size);
	world.spki_size = req->public_key_size;
	*ret_size = load("attestation-docs/nitrotpm-us-east-1-20260203.cose", document,
			 DOCUMENT_SIZE_MAX);
	*ret = document;
	return 0;
}

/* form-a.ber with another recipient and content. */
static size_t make_envelope(uint8_t *ber)
{
	static const uint8_t wrapped[] = {0x04, 0x82, 0x01, 0x00};
	size_t size = load("cms/form-a.ber", ber, CMS_MAX_FOR_TEST), outlen = 256;
	uint8_t cek[32], *at = memmem(ber, size, wrapped, sizeof(wrapped));
	const uint8_t *spki = world.spki;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &spki, (long)world.spki_size);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	EVP_CIPHER_CTX *aes = EVP_CIPHER_CTX_new();
	int n = 0, rest = 0;

	assert_non_null(at);
	assert_int_equal(EVP_PKEY_bits(key), 2048);
	assert_int_equal(RAND_bytes(cek, sizeof(cek)), 1);
	assert_true(EVP_PKEY_encrypt_init(c) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_rsa_oaep_md(c, EVP_sha256()) == 1 &&
		    EVP_PKEY_encrypt(c, at + 4, &outlen, cek, sizeof(cek)) == 1);
	/* … 04 10 IV(16) A0 80 04 30 CONTENT(48) and ten zeros */
	uint8_t *content = ber + size - 10 - 48, *iv = content - 4 - 16;

	assert_true(EVP_EncryptInit_ex(aes, EVP_aes_256_cbc(), NULL, cek, iv) == 1 &&
		    EVP_EncryptUpdate(aes, content, &n, world.key, 32) == 1 &&
		    EVP_EncryptFinal_ex(aes, content + n, &rest) == 1);
	assert_int_equal(n + rest, 48);
	EVP_CIPHER_CTX_free(aes);
	EVP_PKEY_CTX_free(c);
	EVP_PKEY_free(key);
	return size;
}

static int answer(const char *arn, struct error *err)
{
	int which = strcmp(arn, ARN_B) == 0;

	if (!which)
		assert_string_equal(arn, ARN_A);
	if (world.kms[which].hint)
		error_set(err, world.kms[which].code, "%s", world.kms[which].says);
	if (world.kms[which].hint && world.kms[which].hint[0])
		error_hint(err, "%s", world.kms[which].hint);
	return world.kms[which].code;
}

int kms_decrypt_attested(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
			 const uint8_t *blob, size_t blob_size, const uint8_t *document,
			 size_t document_size, uint8_t **ret, size_t *ret_size, struct error *err)
{
	int e = answer(key_arn, err);

	world.attested_decrypts++;
	memcpy(world.file_id, file_id, 32);
	assert_int_equal(blob_size, 4);
	assert_memory_equal(blob, "blob", 4);
	assert_int_equal(document_size, 4964);
	if (e < 0)
		return e;
	*ret = malloc(CMS_MAX_FOR_TEST);
	assert_non_null(*ret);
	*ret_size = make_envelope(*ret);
	if (world.malformed)
		(*ret_size)--;
	return 0;
}

int kms_decrypt(struct aws *aws, const char *key_arn, const uint8_t file_id[32],
		const uint8_t *blob, size_t blob_size, struct secret **ret_key, struct error *err)
{
	int e = answer(key_arn, err);

	world.plain_decrypts++;
	memcpy(world.file_id, file_id, 32);
	return e < 0 ? e : secret_new_from(world.key, 32, ret_key);
}

/* A place for key files, and a seal made for the test. */
struct fixture {
	char dir[64];
	char keyfile[2][96];
	struct secret *data_key;
	struct seal *seal;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	memset(&world, 0, sizeof(world));
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_unlock.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	for (int n = 0; n < 2; n++) {
		snprintf(f->keyfile[n], sizeof(f->keyfile[n]), "%s/%d.key", f->dir, n);
		assert_int_equal(keyfile_generate(f->keyfile[n], NULL), 0);
	}
	assert_int_equal(secret_new_random(32, &f->data_key), 0);
	memcpy(world.key, secret_data(f->data_key), 32);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (int n = 0; n < 2; n++)
		unlink(f->keyfile[n]);
	rmdir(f->dir);
	secret_free(f->data_key);
	seal_free(f->seal);
	free(f);
	return 0;
}

/* slots: 'a', 'b' KMS keys; '0', '1' key files; 'x' a key file's slot with another data key. */
static void make_seal(struct fixture *f, const char *slots)
{
	struct seal_slot made[SEAL_SLOTS_MAX];
	struct seal_finish finish = {.slots = made, .slot_count = (unsigned)strlen(slots)};
	struct seal_builder *b = NULL;
	uint8_t *object = NULL;
	size_t size = 0;

	assert_int_equal(seal_builder_new("m.gguf", &b, NULL), 0);
	assert_int_equal(seal_builder_start(b, 0, f->data_key, NULL), 0);
	for (unsigned n = 0; n < finish.slot_count; n++) {
		const uint8_t *id = seal_builder_file_id(b);
		struct secret *wrapped = f->data_key, *other = NULL;
		struct keyfile *k = NULL;

		if (slots[n] == 'a' || slots[n] == 'b') {
			assert_int_equal(slot_make_kms(slots[n] == 'a' ? ARN_A : ARN_B,
						       (const uint8_t *)"blob", 4, &made[n], NULL),
					 0);
			continue;
		}
		assert_int_equal(secret_new_random(32, &other), 0);
		if (slots[n] == 'x')
			wrapped = other;
		assert_int_equal(keyfile_load(f->keyfile[slots[n] == '1'], &k, NULL), 0);
		assert_int_equal(slot_make_keyfile(k, id, wrapped, &made[n]), 0);
		keyfile_free(k);
		secret_free(other);
	}
	assert_int_equal(seal_builder_finish(b, &finish, &object, &size, NULL), 0);
	assert_int_equal(seal_parse("m.gguf.seal", object, size, &f->seal, NULL), 0);
	free(object);
	seal_builder_free(b);
}

#define HAS_AWS 1
#define HAS_PROVIDER 2

static int open_it(struct fixture *f, unsigned means, const char *keyfile, struct error *err)
{
	static uint8_t somewhere; /* aws and provider are only handed through */
	struct unlock_options options = {.keyfiles = &keyfile, .keyfile_count = keyfile != NULL};
	struct secret *key = NULL;
	struct unlock *u = NULL;
	int e;

	if (means & HAS_AWS)
		options.aws = (struct aws *)&somewhere;
	if (means & HAS_PROVIDER)
		options.provider = (struct attest_provider *)&somewhere;
	assert_int_equal(unlock_new(&options, &u, NULL), 0);
	e = unlock_data_key(u, f->seal, "prod/m.gguf", &key, err);
	if (e == 0)
		assert_true(secret_size(key) == 32 &&
			    secret_equal(secret_data(key), secret_data(f->data_key), 32));
	else
		assert_null(key);
	secret_free(key);
	unlock_free(u);
	return e;
}

static void assert_says(const struct error *err, const char *what)
{
	if (!strstr(err->message, what))
		fail_msg("\"%s\" does not say \"%s\"", err->message, what);
}

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

#define WITH_FIXTURE(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_keyfile),
		WITH_FIXTURE(test_attested),
		WITH_FIXTURE(test_owner),
		WITH_FIXTURE(test_refused),
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
