/* The world around unlocking: see world.h. */
#include "tests/unit/fs/unlock/world.h"

#include "attest/document.h"
#include "crypto/seal_writer.h"
#include "fs/aws/kms.h"
#include "fs/aws/kms_policy.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CMS_MAX_FOR_TEST 6144

struct world world;

int aws_partition(struct aws *aws, const char **ret)
{
	*ret = world.partition ? world.partition : "aws";
	return 0;
}

int aws_default_region(struct aws *aws, char ret[ENDPOINT_REGION_MAX], struct error *err)
{
	snprintf(ret, ENDPOINT_REGION_MAX, "%s", world.region ? world.region : "");
	return world.region ? 0 : -ENOENT;
}

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

int attest_seed(struct attest_provider *p, struct error *err)
{
	return 0;
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
	int which = strcmp(arn, ARN_B) == 0	    ? 1
		    : strcmp(arn, ARN_MULTI) == 0   ? 2
		    : strcmp(arn, ARN_REPLICA) == 0 ? 3
						    : 0;

	world.asked[world.asked_count++] = which == 3 ? 'R' : arn[strlen(arn) - 1];
	/* Of the other keys the last letter is enough to know. */
	if (which || strcmp(arn, ARN_A) == 0 || strncmp(arn, ARN_MANY, strlen(ARN_MANY)) == 0)
		;
	else
		fail_msg("asked: %s", arn);
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

int kms_get_key_policy(struct aws *aws, const char *key_arn, char **ret, size_t *ret_size,
		       struct error *err)
{
	world.policies_asked++;
	if (!world.policy)
		return error_set(err, -EKEYREJECTED, "no");
	*ret = strdup(world.policy);
	assert_non_null(*ret);
	*ret_size = strlen(world.policy);
	return 0;
}

int set_up(void **state)
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

int tear_down(void **state)
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

static void make_kms_slot(char which, struct seal_slot *ret)
{
	char many[] = ARN_MANY "?";
	const char *arn = which == 'a'	 ? ARN_A
			  : which == 'b' ? ARN_B
			  : which == 'm' ? ARN_MULTI
			  : which == 'C' ? ARN_CHINA
			  : which == 'A' ? ARN_ALIAS
					 : many;

	many[sizeof(many) - 2] = which;
	assert_int_equal(slot_make_kms(arn, (const uint8_t *)"blob", 4, ret, NULL), 0);
}

void make_seal(struct fixture *f, const char *slots)
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

		if (!strchr("01x", slots[n])) {
			make_kms_slot(slots[n], &made[n]);
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
	assert_int_equal(seal_parse_head("m.gguf.seal", object, size, size, &f->seal, NULL), 0);
	free(object);
	seal_builder_free(b);
}

int open_it(struct fixture *f, unsigned means, const char *keyfile, struct error *err)
{
	static uint8_t somewhere; /* aws and provider are only handed through */
	struct unlock_options options = {.keyfiles = &keyfile,
					 .keyfile_count = keyfile != NULL,
					 .kms_pins = world.pins,
					 .kms_pin_count = world.pin_count,
					 .kms_policy = world.policy_file};
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

void assert_says(const struct error *err, const char *what)
{
	if (!strstr(err->message, what))
		fail_msg("\"%s\" does not say \"%s\"", err->message, what);
}
